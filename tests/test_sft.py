import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from genesis.common.errors import BudgetError, UserError
from genesis.common.usage import Usage
from genesis.models import load_model, load_tokenizer
from genesis.nanochat.finetune import read_pairs
from genesis.sampling import TransformersSampler
from genesis.sft import IGNORE, Lora, Sft, add_completion_loss, encode, sft
from genesis.training import Compute

PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
QUESTIONS = {
    "Where is my parcel?": "shipping",
    "My card was charged twice.": "billing",
    "The app crashes.": "technical",
}


def turns(*contents):
    return [{"role": ("user", "assistant")[k % 2], "content": text} for k, text in enumerate(contents)]


@pytest.fixture
def pairs():
    return [turns(question, answer) for question, answer in QUESTIONS.items()]


@pytest.fixture
def usage(tmp_path):
    (tmp_path / "work").mkdir()
    return Usage(tmp_path / "work", "key")


@pytest.mark.parametrize("template", ["own", "plain"])
def test_labels_are_the_assistants_tokens_and_no_other(tokenizer, template):
    own = tokenizer.chat_template
    try:
        tokenizer.chat_template = own if template == "own" else PLAIN
        row = encode(turns("Refund, please", "Yes.", "When?", "Today, é 🙂"), tokenizer)
    finally:
        tokenizer.chat_template = own
    kept = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORE]
    end = "<|assistant_end|>" if template == "own" else "</assistant>"
    assert tokenizer.decode(kept) == f"Yes.{end}Today, é 🙂{end}"
    assert all(label in (IGNORE, token) for token, label in zip(row["input_ids"], row["labels"], strict=True))


def test_it_learns_every_weight_moves_and_answers_stop(tiny_folder, pairs, tmp_path, usage):
    params = Sft(epochs=150, batch=3, rows=3, lr=1e-2, max_length=64)
    summary = sft(params, Compute(), tiny_folder, pairs, pairs, tmp_path / "out", usage)
    assert summary["val_loss"] < 0.1 < summary["val_loss_start"]
    assert summary["train_tokens"] == usage.attempt.tokens > 0 and usage.attempt.flops > 0
    before, after = (AutoModelForCausalLM.from_pretrained(p) for p in (tiny_folder, tmp_path / "out/model"))
    for (name, old), (_, new) in zip(before.named_parameters(), after.named_parameters(), strict=True):
        assert not torch.equal(old, new), name
    sampler = TransformersSampler.load(tmp_path / "out/model")
    answers = sampler.sample([pair[:1] for pair in pairs], max_tokens=12)
    assert [answer.text for answer in answers] == list(QUESTIONS.values())
    assert all(answer.finished for answer in answers)


def test_lora_trains_adapters_only_and_loads_again(tiny_folder, pairs, tmp_path, usage):
    params = Sft(epochs=2, batch=3, rows=3, max_length=64, lora=Lora(rank=4))
    summary = sft(params, Compute(), tiny_folder, pairs, [], tmp_path / "out", usage)
    assert 0 < summary["trained_parameters"] < summary["parameters"] / 2
    model = load_model(tmp_path / "out/model", load_tokenizer(tmp_path / "out/model"))
    assert any("lora_" in name for name, _ in model.named_parameters())


def test_an_interrupted_run_continues_from_its_checkpoint(tiny_folder, pairs, tmp_path, usage, monkeypatch):
    params = Sft(epochs=6, batch=1, rows=1, max_length=64, log_every=1)
    whole = sft(params, Compute(), tiny_folder, pairs, pairs, tmp_path / "whole", usage)
    from genesis import training

    (tmp_path / "second").mkdir()
    first = Usage(tmp_path / "second", "key")
    real = training.check_loss
    monkeypatch.setattr(
        training, "check_loss", lambda loss, step, kept: real(loss if step < 9 else float("nan"), step, kept)
    )
    with pytest.raises(UserError, match="the last good checkpoint is kept"):
        sft(params, Compute(checkpoint_s=0.0), tiny_folder, pairs, pairs, tmp_path / "out", first)
    monkeypatch.setattr(training, "check_loss", real)
    second = Usage(tmp_path / "second", "key")
    resumed = sft(params, Compute(), tiny_folder, pairs, pairs, tmp_path / "out", second)
    assert second.resumed
    assert resumed["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-4)
    assert second.attempt.tokens < usage.attempt.tokens
    rows = (tmp_path / "out/train.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, 19))


def test_at_a_budget_cap_it_saves_a_checkpoint_and_a_raised_cap_goes_on(tiny_folder, pairs, tmp_path, usage):
    params = Sft(epochs=2, batch=1, rows=1, max_length=64, log_every=4)
    said = iter([None, None, "budget.agent_usd: $100.00 spent"])
    usage.cap_reached = lambda: next(said)
    with pytest.raises(BudgetError, match=r"stopped after step 3: budget.agent_usd: \$100.00 spent"):
        sft(params, Compute(), tiny_folder, pairs, [], tmp_path / "out", usage)
    spent = usage.attempt.tokens
    assert spent > 0 and not (tmp_path / "out").exists()
    second = Usage(usage.folder, "key")
    sft(params, Compute(), tiny_folder, pairs, [], tmp_path / "out", second)
    assert second.resumed
    lengths = [len(encode(pair, load_tokenizer(tiny_folder))["input_ids"]) for pair in pairs]
    assert spent + second.attempt.tokens == params.epochs * sum(lengths)
    rows = (tmp_path / "out/train.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == [3, 4]


def test_what_does_not_fit_is_counted_or_refused(tiny_folder, pairs, tmp_path, usage):
    long = turns("word " * 200, "no")
    params = Sft(epochs=1, batch=2, rows=2, max_length=64)
    assert sft(params, Compute(), tiny_folder, [*pairs, long], [], tmp_path / "a", usage)["dropped_long"] == 1
    with pytest.raises(UserError, match="none of 1 examples fits"):
        sft(params, Compute(), tiny_folder, [long], [], tmp_path / "b", usage)


def test_pairs_become_conversations(tmp_path):
    (tmp_path / "train.jsonl").write_text(json.dumps({"id": "1", "prompt": "a", "completion": "b"}) + "\n")
    assert read_pairs(tmp_path / "train.jsonl") == [turns("a", "b")]


def test_the_compact_loss_is_the_loss_over_labelled_tokens(tiny_model, tokenizer, pairs):
    rows = [encode(pair, tokenizer) for pair in pairs]
    longest = max(len(row["input_ids"]) for row in rows)
    pad = lambda values, filler: torch.tensor([v + [filler] * (longest - len(v)) for v in values])  # noqa: E731
    ids_BT, labels_BT = pad([r["input_ids"] for r in rows], 0), pad([r["labels"] for r in rows], IGNORE)
    logits = tiny_model(ids_BT).logits[:, :-1]
    wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels_BT[:, 1:].flatten(), reduction="sum")
    assert add_completion_loss(tiny_model)
    found = tiny_model(input_ids=ids_BT, labels=labels_BT, completion_loss=True)
    torch.testing.assert_close(found["loss"], wanted)
    assert found["labelled"] == (labels_BT != IGNORE).sum()
    assert tiny_model(ids_BT).logits.shape[1] == longest
