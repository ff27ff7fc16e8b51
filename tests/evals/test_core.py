"""CORE against a slow scorer written from the protocol: one at a time, every option's whole prompt, full logits."""

import csv
import json
import math
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import log_softmax
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    NanoChatConfig,
    NanoChatForCausalLM,
    PreTrainedTokenizerFast,
)

from genesis.__main__ import main
from genesis.common.errors import UserError
from genesis.evals import core
from genesis.evals.core import Encoder, draw_shots, evaluate_core, render, shuffled
from genesis.evals.core_bundle import KINDS, OFFICIAL, Task, read_bundle
from genesis.evals.core_scoring import Scorer

ROOT = Path(__file__).parents[2]
MINI = ROOT / "data" / "seed" / "core_mini"
SHARED = Path(os.environ.get("GENESIS_SHARED_DATA", ROOT.parent / "shared" / "data")) / "core"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.3}
VOCABULARY = 500


@pytest.fixture(scope="module")
def tokenizer():
    text = [line for path in sorted(MINI.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines()]
    return wrapped(trained(text))


def trained(text):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=["<s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(text, trainer)
    return tokenizer


def wrapped(backend, **names):
    return PreTrainedTokenizerFast(tokenizer_object=backend, **(names or {"bos_token": "<s>"}))


def small_model(kind, limit=2048):
    torch.manual_seed(1)
    size = {**SIZES, "vocab_size": VOCABULARY, "max_position_embeddings": limit}
    wide = {**size, "intermediate_size": 64, "num_key_value_heads": 1}
    build = {
        "nanochat": lambda: NanoChatForCausalLM(NanoChatConfig(**wide)),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**wide)),
        "mistral": lambda: MistralForCausalLM(MistralConfig(**wide, sliding_window=200)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**size)),
        "bloom": lambda: BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=2)),
        "mamba": lambda: MambaForCausalLM(MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2)),
    }
    model = build[kind]()
    if kind in ("bloom", "mamba"):
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.1 * torch.randn_like(weight)
    return model.eval()


def slow_reference(model, tokenizer, task, most=None):
    """(chosen, correct, losses) of every example, written from the protocol alone."""
    rows = list(task.rows)
    random.Random(1337).shuffle(rows)
    rows = rows[:most]
    limit = getattr(model.config, "max_position_embeddings", None)
    return [reference_example(model, tokenizer, task, rows, index, limit) for index in range(len(rows))]


def reference_example(model, tokenizer, task, rows, index, limit):
    row, d, shots = rows[index], task.delimiter, []
    if task.shots:
        others = [position for position in range(len(rows)) if position != index]
        shots = [rows[position] for position in random.Random(1234 + index).sample(others, task.shots)]
    if task.kind == "multiple_choice":
        head = "".join(f"{s['query']}{d}{s['choices'][s['gold']]}\n\n" for s in shots)
        prompts = [f"{head}{row['query']}{d}{choice}" for choice in row["choices"]]
    elif task.kind == "schema":
        head = "".join(f"{s['context_options'][s['gold']]}{d}{s['continuation']}\n\n" for s in shots)
        prompts = [f"{head}{context}{d}{row['continuation']}" for context in row["context_options"]]
    else:
        head = "".join(f"{s['context'].strip()}{d}{s['continuation']}\n\n" for s in shots)
        base = f"{head}{row['context'].strip()}{d}"
        prompts = [base.strip(), base + row["continuation"]]
    tokens = [[tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)] for prompt in prompts]
    if task.kind == "language_modeling":
        starts, tokens = [len(tokens[0])], tokens[1:]
    elif task.kind == "multiple_choice":
        shortest = min(map(len, tokens))
        common = next((i for i in range(shortest) if len({t[i] for t in tokens}) > 1), shortest)
        starts = [common] * len(tokens)
    else:
        shortest = min(map(len, tokens))
        common = next((i for i in range(shortest) if len({t[-1 - i] for t in tokens}) > 1), shortest)
        starts = [len(t) - common for t in tokens]
    losses, greedy = [], False
    for sequence, first in zip(tokens, starts, strict=True):
        cut = max(0, len(sequence) - (limit or len(sequence)))
        sequence, first = sequence[cut:], first - cut
        with torch.no_grad():
            logits_TV = model(torch.tensor([sequence])).logits[0].float()
        wanted_T = torch.tensor(sequence[1:])
        losses_T = -log_softmax(logits_TV[:-1], dim=-1).gather(1, wanted_T[:, None])[:, 0]
        losses.append(losses_T[first - 1 :].mean().item() if first else math.nan)
        greedy = bool((logits_TV[:-1].argmax(-1) == wanted_T)[first - 1 :].all())
    if task.kind == "language_modeling":
        return None, greedy, losses
    chosen = losses.index(min(losses))
    return chosen, chosen == row["gold"], losses


def assert_same(model, tokenizer, task, most=None, batch_tokens=None):
    outcome = evaluate_core(model, tokenizer, [task], max_per_task=most, batch_tokens=batch_tokens)
    expected = slow_reference(model, tokenizer, task, most)
    assert len(outcome["records"]) == len(expected)
    for record, (chosen, correct, losses) in zip(outcome["records"], expected, strict=True):
        assert record["failed"] is None
        assert (record["chosen"], record["correct"]) == (chosen, correct), record
        assert record["losses"] == pytest.approx([None if math.isnan(x) else x for x in losses], abs=1e-5)
    return outcome["results"][task.label]


@pytest.mark.parametrize("kind", ["nanochat", "gpt2", "llama"])
def test_every_task_kind_as_the_slow_reference(tokenizer, kind):
    model = small_model(kind)
    scorer = Scorer(model)
    assert scorer.shares and scorer.trims
    more = {"piqa", "commonsense_qa"} if kind == "nanochat" else set()
    for task in read_bundle(MINI, {"arc_easy", "winograd", "bigbench_operators"} | more):
        assert_same(model, tokenizer, task, most=11, batch_tokens=3000)


@pytest.mark.parametrize("kind", ["mistral", "bloom", "mamba"])
def test_models_that_cannot_share_long_prefixes_get_whole_prompts(tokenizer, kind):
    model = small_model(kind)
    scorer = Scorer(model)
    assert scorer.window == 200 if kind == "mistral" else not scorer.shares
    for task in read_bundle(MINI, {"arc_easy", "winograd"}):
        assert_same(model, tokenizer, replace(task, rows=task.rows[:5], shots=min(task.shots, 4)))


def test_greedy_continuations_are_right(tokenizer):
    model = small_model("nanochat")
    rows = []
    for context in ("the boats", "a green door", "Question: how", "red and blue", "1 2 3", "snow fell on", "my old"):
        ids = [tokenizer.bos_token_id, *tokenizer.encode(context)]
        greedy = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        for token in (greedy, (greedy + 1) % VOCABULARY):
            text = tokenizer.decode([token])
            if tokenizer.encode(context + text) == [*ids[1:], token]:
                rows.append({"context": context, "continuation": text})
    task = lm_task(rows, delimiter="")
    accuracy = assert_same(model, tokenizer, task, batch_tokens=16)["accuracy"]
    assert 0 < accuracy < 1


def test_overlong_prompts_keep_their_last_tokens(tokenizer):
    model = small_model("nanochat", limit=150)
    for task in read_bundle(MINI, {"arc_easy", "bigbench_operators", "coqa"}):
        result = assert_same(model, tokenizer, task, most=11)
        assert result["n_cropped"] > 0 and result["n_failed"] == 0
        assert result["n_cropped_options"] >= result["n_cropped"]
    tiny = small_model("nanochat", limit=16)
    row = {"context": "a b", "continuation": "one two three four five six seven eight nine ten eleven twelve"}
    result = evaluate_core(tiny, tokenizer, [lm_task([row])])["results"]["t"]
    assert result["n_failed"] == 1 and result["accuracy"] is None and "context" in result["first_failure"]


def lm_task(rows, delimiter=" ", shots=0):
    return Task("t", "language_modeling", shots, delimiter, 0.0, 0.0, Path("t.jsonl"), rows)


def mc_task(*rows, delimiter=" "):
    rows = [{"query": query, "choices": choices, "gold": gold} for query, choices, gold in rows]
    return Task("t", "multiple_choice", 0, delimiter, 25.0, 25.0, Path("t.jsonl"), rows)


def test_ties_and_options_with_nothing_to_score(tokenizer):
    model = small_model("llama")
    task = mc_task(
        ("The door is", ["red", "green and old", "red"], 2),
        ("The sky", ["is", "is blue", "is grey"], 1),
        ("The sea", ["is wide", "is", "is deep"], 1),
        ("The sun", ["up", "up"], 1),
    )
    assert_same(model, tokenizer, task, batch_tokens=64)
    found = {task.rows[position]["query"]: position for position in range(4)}
    records = {}
    for record, row in zip(evaluate_core(model, tokenizer, [task])["records"], shuffled(task.rows), strict=True):
        records[found[row["query"]]] = record
    assert records[0]["losses"][0] == records[0]["losses"][2]
    assert records[0]["chosen"] != 2
    assert (records[1]["chosen"], records[1]["n_nan_options"]) == (0, 1)
    assert records[2]["losses"][1] is None and records[2]["chosen"] in (0, 2)
    assert (records[3]["chosen"], records[3]["n_nan_options"]) == (0, 2)
    torch.nn.init.zeros_(model.lm_head.weight)
    for record in evaluate_core(model, tokenizer, [mc_task(("The door is", ["r", "g", "t"], 1))])["records"]:
        assert record["chosen"] == 0 and len(set(record["losses"])) == 1


def test_shots_are_drawn_from_all_other_positions():
    assert draw_shots(0, 5, 2) == random.Random(1234).sample([1, 2, 3, 4], 2) == [4, 1]
    assert draw_shots(3, 12, 10) == random.Random(1237).sample([0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11], 10)
    for n, index in ((400, 399), (20321, 11), (20321, 20320)):
        others = [position for position in range(n) if position != index]
        assert draw_shots(index, n, 10) == random.Random(1234 + index).sample(others, 10)


def test_prompts_letter_by_letter():
    rows = [{"query": "Q1\n", "choices": ["a ", " b"], "gold": 1}, {"query": "Q2 ", "choices": ["c", "d"], "gold": 0}]
    task = Task("t", "multiple_choice", 1, "\nAnswer: ", 0.0, 0.0, Path("t"), rows)
    assert render(task, rows, 1) == ["Q1\n\nAnswer:  b\n\nQ2 \nAnswer: c", "Q1\n\nAnswer:  b\n\nQ2 \nAnswer: d"]
    rows = [{"context_options": ["x", "y "], "continuation": "z", "gold": 1}] * 2
    assert render(replace(task, kind="schema", delimiter="  "), rows, 0) == ["y   z\n\nx  z", "y   z\n\ny   z"]
    rows = [{"context": " c1\n", "continuation": " e "}, {"context": "\tc2", "continuation": "f"}]
    assert render(lm_task(rows, "  ", 1), rows, 1) == ["c1   e \n\nc2", "c1   e \n\nc2  f"]


def test_bos_stands_once_or_not_at_all(tokenizer):
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    adds = wrapped(backend)
    assert adds.encode("a")[0] == 0
    task = mc_task(("", ["red", "green"], 0), ("A", ["red", "green"], 0), delimiter="")
    examples = [Encoder(t, None).encode(task, task.rows, range(2)) for t in (adds, tokenizer)]
    assert examples[0] == examples[1]
    assert all(option.tokens.count(0) == 1 for example in examples[0] for option in example.options)
    bare = wrapped(tokenizer.backend_tokenizer, unk_token="a")
    failed, ran = Encoder(bare, None).encode(task, task.rows, range(2))
    assert "BOS" in failed.failed and ran.failed is None and ran.options[0].tokens[0] != 0
    lm = lm_task([{"context": "", "continuation": "red"}, {"context": "A", "continuation": "red"}])
    result = evaluate_core(small_model("llama"), bare, [lm])["results"]["t"]
    assert (result["n"], result["n_failed"], result["accuracy"]) == (2, 1, None)


def test_a_prompt_that_is_no_token_prefix_is_a_failure_with_a_reason(tokenizer):
    word = next(token for token in tokenizer.get_vocab() if token.isalpha() and token.isascii() and len(token) > 2)
    rows = [{"context": word[:-1], "continuation": word[-1]}]
    rows += [{"context": "the sea", "continuation": " is wide"}] * 19
    outcome = evaluate_core(small_model("llama"), tokenizer, [lm_task(rows, delimiter="")])
    assert outcome["results"]["t"]["n_failed"] == 1 and outcome["results"]["t"]["accuracy"] is not None
    (record,) = (record for record in outcome["records"] if record["failed"])
    assert "strict prefix" in record["failed"] and record["correct"] is None


def test_the_seed_bundle_has_every_task_and_its_mean_is_called_mini(tokenizer, monkeypatch):
    tasks = read_bundle(MINI)
    assert {task.label: task.shots for task in tasks} == {label: shots for label, (_, shots) in OFFICIAL.items()}
    assert all(len(task.rows) >= 12 for task in tasks)
    model = small_model("nanochat", limit=128)
    outcome = evaluate_core(model, tokenizer, tasks, max_per_task=11)
    assert outcome["core"] is None and outcome["core_v1"] is None
    centred = [result["centered"] for result in outcome["results"].values()]
    assert outcome["core_mini"] == pytest.approx(sum(centred) / 22)
    result = outcome["results"]["commonsense_qa"]
    assert result["centered"] == pytest.approx((result["accuracy"] - 0.403) / 0.597)
    assert result["centered_v1"] == pytest.approx((result["accuracy"] - 0.2) / 0.8)
    few = [task for task in tasks if task.shots == 0 and task.label != "coqa"]
    monkeypatch.setattr(core, "OFFICIAL", {task.label: (len(task.rows), 0) for task in few})
    whole = evaluate_core(model, tokenizer, few)
    assert whole["core"] is not None and whole["core_mini"] is None
    assert evaluate_core(model, tokenizer, few[1:])["core"] is None


def test_contaminated_examples_are_counted_and_left_out_of_the_clean_score(tokenizer):
    (task,) = read_bundle(MINI, ["copa"])
    outcome = evaluate_core(
        small_model("llama"), tokenizer, [task], contaminated=lambda text: text.endswith("got wet in the rain.")
    )
    clean = [record["correct"] for record in outcome["records"] if not record["contaminated"]]
    result = outcome["results"]["copa"]
    assert result["n_contaminated"] == 1 and len(clean) == result["n"] - 1
    assert result["clean_accuracy"] == pytest.approx(sum(clean) / len(clean))
    assert outcome["core_mini_clean"] == pytest.approx((result["clean_accuracy"] - 0.5) / 0.5)


def test_the_published_layout_gives_the_same_tasks(tmp_path):
    (tmp_path / "eval_data" / "sub").mkdir(parents=True)
    entries, meta = ["icl_tasks:"], ["Eval Task,Task Category,Random baseline"]
    with (MINI / "core_tasks.csv").open() as file:
        for row in csv.DictReader(file):
            shutil.copy(MINI / row["file"], tmp_path / "eval_data" / "sub")
            entries += ["-", f"  label: {row['label']}", f"  dataset_uri: sub/{row['file']}"]
            entries += [f"  num_fewshot: [{row['num_fewshot']}]", f"  icl_task_type: {row['icl_task_type']}"]
            if "\\n" in row["continuation_delimiter"]:
                entries.append(f'  continuation_delimiter: "{row["continuation_delimiter"]}"')
            meta.append(f"{row['label']},x,{row['random_baseline_v1']}")
    (tmp_path / "core.yaml").write_text("\n".join(entries))
    (tmp_path / "eval_meta_data.csv").write_text("\n".join(meta))
    for ours, published in zip(read_bundle(MINI), read_bundle(tmp_path), strict=True):
        assert replace(published, path=ours.path) == ours
    (tmp_path / "eval_meta_data.csv").write_text("\n".join(meta[:3]))
    with pytest.raises(UserError, match=r"eval_meta_data.csv: no row .* bigbench_qa_wikidata"):
        read_bundle(tmp_path)
    (tmp_path / "core.yaml").write_text("icl_tasks:\n- label: jeopardy\n  icl_task_type: guess\n")
    with pytest.raises(UserError, match=r"core.yaml:2: field 'icl_task_type'"):
        read_bundle(tmp_path)


HEADER = "label,file,icl_task_type,num_fewshot,continuation_delimiter,random_baseline,random_baseline_v1\n"
GOOD_ROW = {"query": "q", "choices": ["a", "b"], "gold": 0}


@pytest.mark.parametrize(
    ("line", "row", "message"),
    [
        ("t,f.jsonl,multiple_choice,0,,25,25", {**GOOD_ROW, "gold": 2}, r"f.jsonl:2: field 'gold'"),
        ("t,f.jsonl,multiple_choice,0,,25,25", {**GOOD_ROW, "gold": True}, r"f.jsonl:2: field 'gold'"),
        ("t,f.jsonl,multiple_choice,0,,25,25", {**GOOD_ROW, "choices": ["a"]}, r"f.jsonl:2: field 'choices'"),
        ("t,f.jsonl,multiple_choice,0,,25,25", {**GOOD_ROW, "query": None}, r"f.jsonl:2: field 'query'"),
        ("t,f.jsonl,schema,0,,25,25", GOOD_ROW, r"f.jsonl:1: field 'continuation'.*2 problems"),
        ("t,f.jsonl,multiple_choice,0,,100,25", GOOD_ROW, r"core_tasks.csv:2: field 'random_baseline'"),
        ("t,f.jsonl,multiple_choice,ten,,25,25", GOOD_ROW, r"core_tasks.csv:2: field 'num_fewshot'"),
        ("t,f.jsonl,quiz,0,,25,25", GOOD_ROW, r"core_tasks.csv:2: field 'icl_task_type'"),
        ("t,g.jsonl,multiple_choice,0,,25,25", GOOD_ROW, r"g.jsonl: no such file"),
    ],
)
def test_bad_bundles_name_file_line_and_field(tmp_path, line, row, message):
    (tmp_path / "core_tasks.csv").write_text(HEADER + line + "\n")
    (tmp_path / "f.jsonl").write_text(json.dumps(GOOD_ROW) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError, match=message):
        read_bundle(tmp_path)


def test_too_few_rows_and_unknown_labels_are_told(tokenizer):
    with pytest.raises(UserError, match="no task named arc"):
        read_bundle(MINI, ["arc"])
    with pytest.raises(UserError, match="arc_easy: 10 rows are too few for 10 shots"):
        evaluate_core(small_model("llama"), tokenizer, read_bundle(MINI, ["arc_easy"]), max_per_task=10)
    with pytest.raises(UserError, match="no CORE bundle"):
        read_bundle(MINI.parent)


def test_the_command_writes_every_verdict(tokenizer, tmp_path, capsys):
    small_model("nanochat").save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    out = tmp_path / "core.json"
    command = ["core", str(tmp_path / "m"), "--bundle", str(MINI), "--tasks", "copa,winograd", "--out", str(out)]
    assert main([*command, "--max-per-task", "5"]) == 0
    outcome = json.loads(out.read_text())
    assert [record["task"] for record in outcome["records"]] == ["copa"] * 5 + ["winograd"] * 5
    assert outcome["core"] is None and outcome["bundle"] == str(MINI) and outcome["device"] and outcome["seconds"] > 0
    assert "core_mini" in capsys.readouterr().out
    assert main(["core", str(tmp_path / "m"), "--bundle", str(tmp_path), "--out", str(out)]) == 1


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared CORE data is not here (GENESIS_SHARED_DATA)")
def test_the_full_files(tokenizer):
    tasks = read_bundle(SHARED)
    short = {task.label for task in tasks if len(task.rows) != OFFICIAL[task.label][0]}
    assert short == {"squad"} and {task.kind for task in tasks} == set(KINDS)
    model = small_model("nanochat", limit=512)
    for task in tasks:
        if task.label in ("copa", "winogrande", "bigbench_operators"):
            assert_same(model, tokenizer, task, most=11)
