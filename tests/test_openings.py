"""First sentences beside whole answers: what is cut, what is drawn, and that they are learnt across an interruption."""

import pytest
import torch

from genesis import training
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.openings import IGNORE, Draws, Openings, opening
from genesis.sampling import TransformersSampler
from genesis.sft import Sft, encode, sft
from genesis.training import Compute

HARM, FINE = "No. It would hurt people, so ask a doctor.", "Yes. Boil the water and pour it over the leaves."


def turns(*contents):
    return [{"role": ("user", "assistant")[k % 2], "content": text} for k, text in enumerate(contents)]


def usage_at(folder):
    folder.mkdir()
    return Usage(folder, "key")


@pytest.mark.parametrize(("answer", "first"), [(HARM, "No."), ("no end at all", "no end at all<|assistant_end|>")])
def test_an_opening_ends_with_the_last_turns_first_sentence(tokenizer, answer, first):
    row = encode(turns("One?", "Two. Three.", "Four?", answer), tokenizer)
    cut = opening(row, tokenizer)
    assert row["input_ids"][: len(cut["input_ids"])] == cut["input_ids"] and len(cut["input_ids"]) == len(cut["labels"])
    labelled = [token for token in cut["labels"] if token != IGNORE]
    assert tokenizer.decode(labelled) == first and cut["input_ids"][-len(labelled) :] == labelled


def test_a_step_always_draws_the_same_and_another_step_another(tokenizer):
    rows = [opening(encode(turns(f"Number {k}?", FINE), tokenizer), tokenizer) for k in range(20)]
    draws, again = (Draws(rows, 4, 0, seed=1) for _ in range(2))
    one, same, other = draws.batch(7, 0, 0), again.batch(7, 0, 0), draws.batch(8, 0, 0)
    assert torch.equal(one["input_ids"], same["input_ids"]) and not torch.equal(one["input_ids"], other["input_ids"])
    assert all(len(part) == 4 for part in one.values()) and len(Draws(rows, 99, 0, 0).batch(0)["labels"]) == 20
    for ids, mask, labels in zip(*one.values(), strict=True):
        size = int(mask.sum())
        row = {"input_ids": ids[:size].tolist(), "labels": labels[:size].tolist()}
        assert row in rows and not mask[size:].any() and (labels[size:] == IGNORE).all()


def test_what_is_decided_in_the_opening_is_learnt_from_openings(tiny_folder, tmp_path):
    asked = {"How do I poison him?": HARM, "How do I make tea?": FINE}
    opened = [turns(question, answer) for question, answer in asked.items()]
    params = Sft(epochs=60, batch=1, rows=1, lr=5e-3, max_length=64)
    beside = [turns("Hello.", "Good morning.")]
    plain, helped = usage_at(tmp_path / "a"), usage_at(tmp_path / "b")
    sft(params, Compute(), tiny_folder, beside, [], tmp_path / "plain", plain)
    sft(params, Compute(), tiny_folder, beside, [], tmp_path / "helped", helped, None, Openings(2, 3.0), opened)
    assert helped.attempt.tokens > plain.attempt.tokens
    said = TransformersSampler.load(tmp_path / "helped/model").sample([pair[:1] for pair in opened], max_tokens=4)
    assert [text.text[:3] for text in said] == ["No.", "Yes"]


def test_openings_are_the_same_after_an_interruption(tiny_folder, tmp_path, monkeypatch):
    opened = [turns(f"Is {k} fine?", (HARM, FINE)[k % 2]) for k in range(6)]
    params = Sft(epochs=3, batch=2, rows=1, max_length=64, log_every=1)  # two micro-batches a step

    def run(out, usage):
        sft(params, Compute(checkpoint_s=0.0), tiny_folder, opened, [], out, usage, None, Openings(4, 3.0), opened)
        return TransformersSampler.load(out / "model").model.state_dict()

    whole = run(tmp_path / "whole", usage_at(tmp_path / "first"))
    real, where = training.check_loss, tmp_path / "second"
    stop = lambda loss, step, kept: real(loss if step < 5 else float("nan"), step, kept)  # noqa: E731
    monkeypatch.setattr(training, "check_loss", stop)
    with pytest.raises(UserError, match="the last good checkpoint is kept"):
        run(tmp_path / "out", usage_at(where))
    monkeypatch.setattr(training, "check_loss", real)
    resumed = run(tmp_path / "out", Usage(where, "key"))
    assert max(float((resumed[name] - value).abs().max()) for name, value in whole.items()) < 1e-6


def test_openings_of_nothing_are_refused(tiny_folder, tmp_path):
    with pytest.raises(UserError, match="no example whose opening"):
        params = Sft(epochs=1, batch=1, rows=1, max_length=64)
        sft(
            params,
            Compute(),
            tiny_folder,
            [turns("a", "b")],
            [],
            tmp_path / "out",
            usage_at(tmp_path / "w"),
            None,
            Openings(2),
        )
