"""Student, warm-up and traces: what is learnt from which rows, and which explanation is kept."""

import json

import pytest
import torch
from rlt_models import make_model

from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.models import load_model
from genesis.rlt import sft as warmup
from genesis.rlt import student as students
from genesis.rlt.cases import Case, Scored
from genesis.rlt.settings import Rlt
from genesis.rlt.sft import RltSft, rlt_sft
from genesis.rlt.student import Student, student, turns
from genesis.rlt.teacher import explain, load_teacher, make_reward, means
from genesis.rlt.traces import Traces, best_of, traces
from genesis.sampling import TransformersSampler
from genesis.sft import IGNORE, encode
from genesis.training import Compute

PLAIN = Rlt(teacher_system="", student_system="")
ROW = {
    "question": "How do I make tea?",
    "solution": "Boil water. é🙂",
    "reasoning_trace": "\n\nHarmless. 🙂\n\nSo help.",
}


def labelled(row, tokenizer):
    assert len(row["input_ids"]) == len(row["labels"])
    kept = [label for label in row["labels"] if label != IGNORE]
    first = next(i for i, label in enumerate(row["labels"]) if label != IGNORE)
    assert row["labels"][first:] == row["input_ids"][first:] == kept  # one block, to the end
    return tokenizer.decode(kept), tokenizer.decode(row["input_ids"][:first])


@pytest.mark.parametrize("system", [None, "Think first."])
def test_the_student_learns_thought_and_solution_only(tokenizer, system):
    learnt, given = labelled(encode(turns(ROW, system), tokenizer), tokenizer)
    trace, solution = ROW["reasoning_trace"], ROW["solution"]
    assert learnt == (
        f"<|begin_of_thought|>\n\n{trace}<|end_of_thought|>\n\n"
        f"<|begin_of_solution|>{solution}<|end_of_solution|><|assistant_end|>"
    )
    head = "" if system is None else "Think first.\n\n"
    assert given == f"<|bos|><|user_start|>{head}How do I make tea?<|user_end|><|assistant_start|>"


@pytest.mark.parametrize("kind", ["own", "gpt2", "gpt4"])
def test_the_teacher_learns_the_explanation_its_end_tag_and_the_end_only(tokenizers, kind):
    tokenizer = tokenizers[kind]
    row = ROW | {"reasoning_trace": "Harmless. 🙂\n\nSo help."}
    learnt, given = labelled(warmup.encode(row, tokenizer, "Explain."), tokenizer)
    assert learnt == "Harmless. 🙂\n\nSo help.<|end_of_explanation|>" + tokenizer.eos_token
    assert given.endswith("Boil water. é🙂<|end_of_solution|>\n\n<|begin_of_explanation|>\n\n") and "Explain." in given


@pytest.fixture
def place(tmp_path, tokenizers):
    """A chat model and data in which each part has a word of its own."""
    make_model(tokenizers["own"], 1, context=256).save_pretrained(tmp_path / "chat")
    tokenizers["own"].save_pretrained(tmp_path / "chat")
    (tmp_path / "data").mkdir()
    write(tmp_path / "data/train.jsonl", ["student", "teacher", "student", "teacher", "teacher", "teacher"])
    write(tmp_path / "data/val.jsonl", ["val", "val"])
    return tmp_path


def write(path, parts, **changes):
    rows = [
        {
            "id": str(i),
            "question": f"{part} {i}?",
            "solution": f"It is {i}.",
            "reasoning_trace": f"I see {part}.",
            "part": part,
        }
        for i, part in enumerate(parts)
    ]
    path.write_text("".join(json.dumps(row | changes) + "\n" for row in rows))


def usage_in(folder):
    folder.mkdir()
    return Usage(folder, "key")


@pytest.mark.parametrize(
    ("stage", "params", "module", "mine"),
    [(student, Student, students, "student"), (rlt_sft, RltSft, warmup, "teacher")],
)
def test_each_learns_from_its_own_families(place, monkeypatch, stage, params, module, mine):
    seen = {}
    real = module.sft

    def spy(own, compute, start, train, val, *rest):
        seen.update(train=json.dumps(train), val=json.dumps(val), n=len(train))
        return real(own, compute, start, train, val, *rest)

    monkeypatch.setattr(module, "sft", spy)
    section = params(start=str(place / "chat"), epochs=1, batch=2, rows=2, max_length=128, warmup=0.0)
    stage(section, PLAIN, Compute(), place / "data", place / "out", usage_in(place / "work"))
    other = {"student": "teacher", "teacher": "student"}[mine]
    questions = seen["train"].replace("<|", "")
    assert f"I see {mine}." in questions and f"I see {other}." not in questions and "I see val." in seen["val"]
    assert seen["n"] == {"student": 2, "teacher": 4}[mine]
    before, after = load_model(place / "chat"), load_model(place / "out/model")
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    assert json.loads((place / "out/summary.json").read_text())["val_loss"] > 0


@pytest.mark.parametrize(("stage", "params", "mine"), [(student, Student, "student"), (rlt_sft, RltSft, "teacher")])
def test_rows_without_a_trace_or_without_a_part_are_refused(place, stage, params, mine):
    call = (params(start=str(place / "chat")), PLAIN, Compute(), place / "data", place / "out", None)
    write(place / "data/train.jsonl", [mine, mine], reasoning_trace=None)
    with pytest.raises(UserError, match=r"train.jsonl:1: field 'reasoning_trace': expected text, found None"):
        stage(*call)
    write(place / "data/train.jsonl", ["neither"])
    with pytest.raises(UserError, match=f"no row with part '{mine}'"):
        stage(*call)


def test_the_best_of_the_scored_candidates_is_kept():
    cases = [Case(str(i), "q", "s", text) for i, text in enumerate(["low", " high \n<|end_of_explanation|> x", "none"])]
    scored = [Scored("0", reward=-2.0), Scored("1", reward=-1.0, r_ss=-0.5, malformed=False), Scored("2", error="long")]
    best = best_of(cases, scored)
    assert best["explanation"] == "high" and best["reward"] == -1.0 and best["r_ss"] == -0.5
    assert best["candidates"] == [-2.0, -1.0, None]
    assert best_of(cases[2:], scored[2:]) is None
    found = means(scored)
    assert found["reward"] == -1.5 and found["n"] == 3 and found["unscored"] == 1 and found["kl_mean"] is None


def test_traces_explain_every_pair_and_keep_the_best_by_reward(place, tokenizers):
    make_model(tokenizers["own"], 2, context=256).save_pretrained(place / "student")
    tokenizers["own"].save_pretrained(place / "student")
    params = Traces(samples=3, max_tokens=8, batch_size=32, seed=5)
    usage = usage_in(place / "work")
    traces(params, PLAIN, place / "chat", place / "student", place / "data", place / "out", usage)
    kept = [json.loads(line) for line in (place / "out/traces.jsonl").open()]
    source = [json.loads(line) for line in (place / "data/train.jsonl").open()]
    assert [{name: row[name] for name in source[0]} for row in kept] == source
    model, tokenizer = load_teacher(place / "chat")
    cases = explain(TransformersSampler(model, tokenizer, 32), source, PLAIN, samples=3, max_tokens=8, seed=5)
    scored = make_reward(PLAIN, model, tokenizer, place / "student").score(cases)
    for index, row in enumerate(kept):
        rewards = [one.reward for one in scored[3 * index : 3 * index + 3]]
        assert row["candidates"] == pytest.approx(rewards) and row["reward"] == pytest.approx(max(rewards))
        assert len(set(rewards)) > 1
    summary = json.loads((place / "out/summary.json").read_text())
    assert summary["n"] == 18 and summary["pairs"] == 6 and summary["best_reward"] > summary["reward"]
    assert usage.attempt.tokens > 0


def test_too_many_pairs_without_an_explanation_are_an_error(place, tokenizers):
    make_model(tokenizers["own"], 2, context=16).save_pretrained(place / "student")
    tokenizers["own"].save_pretrained(place / "student")
    with pytest.raises(UserError, match=r"6 of 6 pairs have no scored explanation.*student's context of 16 tokens"):
        traces(
            Traces(samples=1, max_tokens=8),
            PLAIN,
            place / "chat",
            place / "student",
            place / "data",
            place,
            usage_in(place / "w"),
        )
    assert not (place / "traces.jsonl").exists()
