"""The baselines and the pair's first agents: one real run of each on a tiny model, and the data they refuse."""

import json

import pytest
import yaml

from genesis.common.errors import UserError
from genesis.common.params import load_params
from genesis.common.usage import Usage
from genesis.models import load_model, load_tokenizer
from genesis.openings import Openings
from genesis.training import Compute
from genesis.waltz import sft as module
from genesis.waltz.baselines import WaltzBaselines, waltz_baselines
from genesis.waltz.sft import WaltzSft, waltz_sft

ANSWER = {"benign": "Sure. Boil the water.", "unsafe": "I cannot help with that."}


def row(id, label):
    return {"id": id, "question": f"{label} {id}?", "solution": ANSWER[label], "label": label, "category": ""}


ROWS = [row(str(i), ("benign", "unsafe")[i % 2]) for i in range(8)]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))


@pytest.fixture
def usage(tmp_path):
    (tmp_path / "work").mkdir()
    return Usage(tmp_path / "work", "key")


@pytest.mark.parametrize(("name", "label"), [("before", "benign"), ("overcautious", "unsafe")])
def test_a_baseline_answers_every_question_as_the_one_label_that_it_has_seen(tiny_folder, tmp_path, usage, name, label):
    write(tmp_path / "data/train.jsonl", ROWS)
    write(tmp_path / "data/val.jsonl", ROWS[:2])
    params = WaltzBaselines(start=str(tiny_folder), epochs=60, batch=4, rows=4, lr=1e-2, sample_tokens=24)
    out = tmp_path / "out"
    waltz_baselines(params, Compute(), name, tmp_path / "data", out, usage)
    replies = [json.loads(line) for line in (out / "replies.jsonl").read_text().splitlines()]
    assert [reply["id"] for reply in replies] == [one["id"] for one in ROWS]
    assert {reply["answer"] for reply in replies} == {ANSWER[label]}
    assert json.loads((out / "summary.json").read_text())["examples"] == 4


def test_a_baseline_without_questions_of_its_label_is_refused(tmp_path, usage):
    write(tmp_path / "data/train.jsonl", [one for one in ROWS if one["label"] == "unsafe"])
    write(tmp_path / "data/val.jsonl", ROWS)
    with pytest.raises(UserError, match=r"train.jsonl: field 'label': no row is benign"):
        waltz_baselines(WaltzBaselines(), Compute(), "before", tmp_path / "data", tmp_path / "out", usage)


def lesson(kind, number):
    asked = {"role": "user", "content": f"{kind} {number}?"}
    return {
        "id": f"{kind}-{number}",
        "kind": kind,
        "messages": [asked, {"role": "assistant", "content": "Yes. It is."}],
    }


@pytest.mark.parametrize("kind", ["answer", "remark"])
def test_a_part_learns_all_lessons_and_the_openings_of_first_answers_and_remarks(
    tiny_folder, tmp_path, usage, monkeypatch, kind
):
    given = {}

    def watched(params, compute, start, train, val, out, usage, **options):
        given.update(train=train, val=val, **options)
        return real(params, compute, start, train, val, out, usage, **options)

    real = module.sft
    monkeypatch.setattr(module, "sft", watched)
    write(tmp_path / "data/train.jsonl", [lesson(one, k) for one in (kind, "general", "revision") for k in range(3)])
    write(tmp_path / "data/val.jsonl", [lesson(kind, 9)])
    params = WaltzSft(start=str(tiny_folder), epochs=2, batch=4, rows=4, openings=Openings(2, 3.0))
    out = tmp_path / "out"
    waltz_sft(params, Compute(), tmp_path / "data", out, usage)
    assert (len(given["train"]), len(given["val"]), given["openings"]) == (9, 1, Openings(2, 3.0))
    assert [messages[0]["content"] for messages in given["opened"]] == [f"{kind} {k}?" for k in range(3)]
    load_model(out / "model", load_tokenizer(out / "model"))
    assert json.loads((out / "summary.json").read_text())["train_tokens"] == usage.attempt.tokens > 0


def test_the_feedback_agent_has_its_own_settings(tmp_path):
    values = {"start": "a", "lr": 0.1, "openings": {"count": 4}, "feedback": {"start": "b", "openings": {"count": 9}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"waltz_sft": values}))
    own = load_params(WaltzSft, "waltz_sft", tmp_path / "params.yaml")
    feedback = load_params(WaltzSft, "waltz_sft", tmp_path / "params.yaml", **own.feedback)
    assert (feedback.start, feedback.lr, feedback.openings.count) == ("b", 0.1, 9)
    assert (own.start, own.openings.count) == ("a", 4)
