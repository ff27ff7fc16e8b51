"""The safety pair's first agents: what each part learns from, what a kill costs, and one real run on a tiny model."""

import json
from types import SimpleNamespace

import pytest

from genesis.chat import user_turn
from genesis.errors import UserError
from genesis.models import load_model, load_tokenizer
from genesis.protocol import parse_feedback, visible_answer
from genesis.sampling import Completion
from genesis.training import Compute
from genesis.usage import Usage
from genesis.waltz import sft as module
from genesis.waltz.lessons import (
    DECLINE,
    HELP,
    KEEP,
    answered,
    borrowed,
    feedback_on,
    mistakes,
    remarks,
    revised,
    to_mend,
)
from genesis.waltz.sft import WaltzSft, lessons, waltz_sft

PARTS = ["before", "feedback", "overcautious", "rl", "sft", "solutions", "source"]
COMPLY = "Sure, here is how to do it: boil the water and pour it over the leaves."
REFUSE = "I cannot help with that, because it could hurt people."


def row(id, label, **changes):
    solution = {"benign": COMPLY, "unsafe": REFUSE}[label]
    return {
        "id": id,
        "question": f"{label} {id}?",
        "solution": solution,
        "reasoning_trace": f"Why {id}.",
        "label": label,
        "category": f"c{int(id) // 2 % 2}",
    } | changes


ROWS = [row(str(i), ("benign", "unsafe")[i % 2]) for i in range(8)]
UNSAFE, BENIGN = ROWS[1], ROWS[0]


class Says:
    """A sampler with one answer for all."""

    def __init__(self, text, finished=True):
        self.text, self.finished = text, finished

    def sample(self, conversations, **options):
        return [Completion(self.text, 1, self.finished, 0.0) for _ in conversations]


def test_an_answer_has_its_thought_or_is_bare():
    bare, thought = answered(BENIGN, None), answered(BENIGN, "Hm.")
    assert [turn["content"] for turn in bare] == ["benign 0?", COMPLY]
    assert thought[1]["content"] == (
        f"<|begin_of_thought|>\n\nHm.<|end_of_thought|>\n\n<|begin_of_solution|>{COMPLY}<|end_of_solution|>"
    )
    assert visible_answer(bare[1]["content"]) == visible_answer(thought[1]["content"]) == COMPLY


def test_feedback_flags_the_mistake_of_the_label_and_none_on_right_answers():
    for one, flags, advice in ((UNSAFE, (True, False), DECLINE), (BENIGN, (False, True), HELP)):
        wrong, right = feedback_on(one, right=False), feedback_on(one, right=True)
        assert (wrong.unsafe, wrong.overrefuse, wrong.feedback) == (*flags, advice)
        assert (right.unsafe, right.overrefuse, right.feedback) == (False, False, KEEP)
        assert wrong.reasoning == right.reasoning == one["reasoning_trace"]


def test_remarks_are_on_every_right_answer_and_on_the_wrong_ones():
    found = remarks([BENIGN, UNSAFE], {UNSAFE["id"]: COMPLY})
    said = [
        (COMPLY in turns[0]["content"], REFUSE in turns[0]["content"], parse_feedback(turns[1]["content"]))
        for turns in found
    ]
    assert [(comply, refuse, one.unsafe, one.overrefuse) for comply, refuse, one in said] == [
        (True, False, False, False),
        (False, True, False, False),
        (True, False, True, False),
    ]


def test_a_revision_shows_the_wrong_answer_and_the_feedback_and_ends_right():
    turns = revised(UNSAFE, COMPLY, "Harm.")
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert turns[1]["content"] == COMPLY and DECLINE in turns[2]["content"]
    assert turns[3] == answered(UNSAFE, "Harm.")[1]


@pytest.mark.parametrize(
    ("text", "finished", "wrong"),
    [
        (COMPLY, True, {"1", "3", "5", "7"}),
        (REFUSE, True, {"0", "2", "4", "6"}),
        ("", True, set()),
        ("xq zzv kk", False, set()),  # incoherent is neither
        (f"<|begin_of_thought|>I cannot.<|end_of_thought|><|begin_of_solution|>{COMPLY}", True, {"1", "3", "5", "7"}),
    ],
)
def test_mistakes_are_what_the_judge_finds_wrong(text, finished, wrong):
    found = mistakes(Says(text, finished), ROWS, 32)
    assert found.keys() == wrong and set(found.values()) <= {visible_answer(text)}


def test_questions_to_mend_are_a_share_and_only_wrong_ones():
    wrong = {one["id"]: "x" for one in ROWS[:5]}
    chosen = to_mend(ROWS, wrong, 0.5, seed=0)
    assert len(chosen) == 4 and {one["id"] for one in chosen} < wrong.keys()
    assert chosen == to_mend(ROWS, wrong, 0.5, seed=0) != to_mend(ROWS, wrong, 0.5, seed=1)
    assert len(to_mend(ROWS, wrong, 1.0, seed=0)) == 5 and to_mend(ROWS, {}, 1.0, seed=0) == []


def test_questions_without_a_trace_are_left_out_of_that_part_only():
    wrong = {"1": COMPLY, "3": COMPLY}
    again = [ROWS[1], ROWS[3]]
    assert len(lessons(ROWS, again, wrong, None)) == 10
    some = lessons(ROWS, again, wrong, {"0": "a", "1": "b", "2": ""})
    assert [turns[0]["content"] for turns in some] == ["benign 0?", "unsafe 1?", "unsafe 1?"]


@pytest.fixture
def place(tmp_path, tiny_folder):
    """Data and traces as earlier stages leave them."""
    (tmp_path / "data").mkdir()
    write(tmp_path / "data/train.jsonl", ROWS)
    write(tmp_path / "data/val.jsonl", ROWS[:2])
    chats = [{"messages": [*user_turn(f"Hello {i}"), {"role": "assistant", "content": "Good day."}]} for i in range(3)]
    write(tmp_path / "chats.jsonl", chats)
    for name in ("sft", "rl"):
        write(
            tmp_path / f"{name}.jsonl", [{**one, "explanation": f"The {name} teacher on {one['id']}."} for one in ROWS]
        )
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))


def run(place, params=None):
    (place / "work").mkdir(exist_ok=True)
    usage = Usage(place / "work", "key")
    out = place / "out"
    out.mkdir(exist_ok=True)
    params = params or WaltzSft(start=str(place / "tiny"), revisions=0.5, general=2)
    traces = {name: place / f"{name}.jsonl" for name in ("sft", "rl")}
    waltz_sft(params, Compute(), place / "data", traces, place / "chats.jsonl", out, usage)
    return usage, out


@pytest.fixture
def quick(monkeypatch):
    """Fine-tunes that only note what they were given, and baselines that answer as they were taught."""
    trained = {}

    def sft(params, compute, start, train, val, folder, usage):
        name = folder.parent.name
        if name == trained.get("dies at"):
            raise KeyboardInterrupt
        trained[name] = SimpleNamespace(train=train, val=val, epochs=params.epochs)
        (folder / "model").mkdir(parents=True)
        (folder / "train.csv").touch()
        (folder / "summary.json").write_text("{}")
        return {}

    answers = {"before": COMPLY, "overcautious": REFUSE}
    load = lambda path, batch_size: Says(answers[path.parent.parent.name])  # noqa: E731
    monkeypatch.setattr(module, "sft", sft)
    monkeypatch.setattr(module.TransformersSampler, "load", load)
    return trained


def test_each_part_learns_what_its_name_says(place, quick):
    run(place, WaltzSft(revisions=0.5, general=2, epochs=2, baseline_epochs=5, feedback_epochs=4))
    assert sorted(quick) == PARTS
    asked = {name: [turns[0]["content"] for turns in part.train] for name, part in quick.items()}
    assert all("benign" in text for text in asked["before"]) and len(asked["before"]) == 4
    assert all("unsafe" in text for text in asked["overcautious"]) and len(asked["overcautious"]) == 4
    thoughts = {"source": "Why 3.", "sft": "The sft teacher on 3.", "rl": "The rl teacher on 3."}
    ablation = {name: json.dumps(quick[name].train) for name in ("solutions", *thoughts)}
    for name, text in ablation.items():
        assert len(quick[name].train) == 14  # two chats, eight questions, and half as many to answer again
        assert sum("Hello" in text for text in asked[name]) == 2
        assert [other for other, said in thoughts.items() if said in text] == ([name] if name in thoughts else [])
        assert asked[name] == asked["solutions"]
    assert "<|begin_of_thought|>" not in ablation["solutions"]
    flagged = [parse_feedback(turns[-1]["content"]).flagged for turns in quick["feedback"].train]
    assert (len(flagged), sum(flagged)) == (16, 8)
    epochs = {name: part.epochs for name, part in quick.items()}
    assert epochs["before"] == epochs["overcautious"] == 5 and epochs["feedback"] == 4 and epochs["rl"] == 2


def test_a_killed_stage_trains_only_what_was_not_finished(place, quick):
    quick["dies at"] = "sft"
    with pytest.raises(KeyboardInterrupt):
        run(place)
    assert sorted(quick) == ["before", "dies at", "overcautious", "solutions", "source"]
    quick.clear()
    usage, out = run(place)
    assert sorted(quick) == ["feedback", "rl", "sft"] and usage.resumed
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == PARTS


def test_questions_that_no_baseline_got_wrong_borrow_a_wrong_answer(place, quick, monkeypatch):
    monkeypatch.setattr(module.TransformersSampler, "load", lambda *args: Says("", finished=False))
    _, out = run(place)
    counts = json.loads((out / "summary.json").read_text())
    assert (counts["wrong_answers"], counts["borrowed_answers"], counts["revisions"]) == (0, 8, 4)
    rows = [
        row("0", "benign"),
        row("1", "unsafe", solution="no 1"),
        row("2", "benign"),
        row("3", "unsafe", solution="no 3"),
    ]
    found = borrowed(rows, {"1": "made"})
    assert found == {"0": "no 1", "2": "no 3", "3": COMPLY}  # of the same category, and only where none was made
    assert borrowed(rows[1:3], {}) == {"1": COMPLY, "2": "no 1"}  # of any category where it has none


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([one for one in ROWS if one["label"] == "benign"], "field 'label': no row is unsafe"),
        ([one for one in ROWS if one["label"] == "unsafe"], "field 'label': no row is benign"),
        ([*ROWS, row("9", "unsafe", reasoning_trace=None)], "1 rows lack one, 9 for one"),
    ],
)
def test_data_that_a_part_could_not_learn_from_is_refused(place, rows, said):
    write(place / "data/train.jsonl", rows)
    with pytest.raises(UserError, match=said):
        run(place)


def test_a_real_run_leaves_every_part_loadable(place):
    params = WaltzSft(
        start=str(place / "tiny"),
        epochs=1,
        feedback_epochs=1,
        baseline_epochs=40,
        batch=4,
        rows=4,
        lr=1e-2,
        revisions=0.5,
        general=2,
    )
    usage, out = run(place, params)
    summary = json.loads((out / "summary.json").read_text())
    assert sorted(summary["parts"]) == PARTS and summary["wrong_answers"] > 0 and summary["revisions"] == 4
    for name in PARTS:
        load_model(out / name / "model", load_tokenizer(out / name / "model"))
        assert (out / name / "train.csv").stat().st_size and summary["parts"][name]["dropped_long"] == 0
        assert json.loads((out / name / "summary.json").read_text()) == summary["parts"][name]
    assert usage.attempt.tokens == sum(part["train_tokens"] for part in summary["parts"].values())
