"""The safety pair's first agents: what each part learns from, what a kill costs, and one real run on a tiny model."""

import json
from types import SimpleNamespace

import pytest

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
    drawn,
    feedback_on,
    remarks,
    revised,
    right_and_wrong,
    to_mend,
    visible_replies,
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
        "category": "",
    } | changes


ROWS = [row(str(i), ("benign", "unsafe")[i % 2]) for i in range(8)]
UNSAFE, BENIGN = ROWS[1], ROWS[0]
CHATS = [
    [{"role": "user", "content": f"Chat {k}?"}, {"role": "assistant", "content": f"General answer {k}."}]
    for k in range(4)
]


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
    assert feedback_on({**UNSAFE, "reasoning_trace": "Harm. And more."}, right=True).reasoning == "Harm."


def test_remarks_are_on_every_right_answer_and_on_the_wrong_ones():
    right = {one["id"]: one["solution"] for one in (BENIGN, UNSAFE)}
    found = remarks([BENIGN, UNSAFE], right, {UNSAFE["id"]: COMPLY})
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


def test_a_baselines_replies_are_what_people_see_and_the_unreadable_are_left_out():
    thought = f"<|begin_of_thought|>I cannot.<|end_of_thought|><|begin_of_solution|>{COMPLY}"
    assert visible_replies(Says(thought), ROWS, 32) == {one["id"]: COMPLY for one in ROWS}
    assert visible_replies(Says(""), ROWS, 32) == {}


def test_right_and_wrong_answers_are_the_baselines_or_solutions_and_written_alike():
    rows = [row(str(i), ("benign", "unsafe")[i % 2]) for i in range(40)]
    help, refuse = COMPLY.replace("Sure", "Yes"), REFUSE.replace("cannot", "can't")
    replies = {"benign": dict.fromkeys(map(str, range(40)), help), "unsafe": dict.fromkeys(map(str, range(40)), refuse)}
    right, wrong, made = right_and_wrong(rows, replies)
    assert 8 < made < 32
    for one in rows:
        pair = (right[one["id"]], wrong[one["id"]])
        own, other = (
            ((help, refuse), (COMPLY, REFUSE)) if one["label"] == "benign" else ((refuse, help), (REFUSE, COMPLY))
        )
        assert pair in (own, other)
    assert sum(answer in (help, refuse) for answer in right.values()) == made
    assert sum(answer in (help, refuse) for answer in wrong.values()) == made


def test_a_baseline_that_answers_as_the_other_should_lends_nothing():
    both = {"benign": dict.fromkeys("01234567", REFUSE), "unsafe": dict.fromkeys("01234567", REFUSE)}
    right, wrong, made = right_and_wrong(ROWS, both)
    assert made == 0 and right == {one["id"]: one["solution"] for one in ROWS} and wrong == borrowed(ROWS)


def test_questions_to_mend_are_a_share():
    chosen = to_mend(ROWS, 0.5, seed=0)
    assert len(chosen) == 4 and chosen == to_mend(ROWS, 0.5, seed=0) != to_mend(ROWS, 0.5, seed=1)
    assert to_mend(ROWS, 0.0, seed=0) == []


def test_a_wrong_answer_is_borrowed_from_the_other_label_and_its_own_category():
    rows = [
        row("a", "unsafe", category="dose"),
        row("b", "benign", category="tea", solution="Tea."),
        row("c", "benign", category="dose", solution="Dose."),
    ]
    assert borrowed(rows) == {"a": "Dose.", "b": REFUSE, "c": REFUSE}


def test_general_conversations_are_drawn_once_for_a_seed(place):
    path = place / "chats.jsonl"
    two = drawn(path, 2, seed=0)
    assert len(two) == 2 and two == drawn(path, 2, seed=0) and all(one in CHATS for one in two)
    assert len(drawn(path, 9, seed=0)) == 4 and drawn(place / "none.jsonl", 0, seed=0) == []


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
    for name in ("sft", "rl"):
        write(
            tmp_path / f"{name}.jsonl", [{**one, "explanation": f"The {name} teacher on {one['id']}."} for one in ROWS]
        )
    write(tmp_path / "chats.jsonl", [{"id": str(k), "messages": turns} for k, turns in enumerate(CHATS)])
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))


def run(place, params=None):
    (place / "work").mkdir(exist_ok=True)
    usage = Usage(place / "work", "key")
    out = place / "out"
    out.mkdir(exist_ok=True)
    params = params or WaltzSft(start=str(place / "tiny"), revisions=0.5)
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
    run(place, WaltzSft(general=3, revisions=0.5, epochs=2, baseline_epochs=5, feedback_epochs=4))
    assert sorted(quick) == PARTS
    asked = {name: [turns[0]["content"] for turns in part.train] for name, part in quick.items()}
    assert all("benign" in text for text in asked["before"]) and len(asked["before"]) == 4
    assert all("unsafe" in text for text in asked["overcautious"]) and len(asked["overcautious"]) == 4
    thoughts = {"source": "Why 3.", "sft": "The sft teacher on 3.", "rl": "The rl teacher on 3."}
    ablation = {name: json.dumps(quick[name].train) for name in ("solutions", *thoughts)}
    for name, text in ablation.items():
        assert len(quick[name].train) == 15  # eight questions, half as many to answer again, three conversations
        assert text.count("General answer") == 3
        assert [other for other, said in thoughts.items() if said in text] == ([name] if name in thoughts else [])
        assert asked[name] == asked["solutions"]
    assert "<|begin_of_thought|>" not in ablation["solutions"]
    assert not any("General" in json.dumps(quick[name].train) for name in ("before", "overcautious", "feedback"))
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


def test_where_a_baseline_cannot_be_read_all_answers_are_solutions(place, quick, monkeypatch):
    monkeypatch.setattr(module.TransformersSampler, "load", lambda *args: Says("", finished=False))
    _, out = run(place)
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["baseline_pairs"], summary["pairs"], summary["revisions"]) == (0, 8, 4)
    said = [(turns[0]["content"], parse_feedback(turns[1]["content"])) for turns in quick["feedback"].train]
    flagged = [(asked, feedback) for asked, feedback in said if feedback.flagged]
    assert len(flagged) == 8
    for asked, feedback in flagged:
        assert (COMPLY in asked, REFUSE in asked) == (feedback.unsafe, feedback.overrefuse)


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
        general=2,
        epochs=1,
        feedback_epochs=1,
        baseline_epochs=40,
        batch=4,
        rows=4,
        lr=1e-2,
        revisions=0.5,
    )
    usage, out = run(place, params)
    summary = json.loads((out / "summary.json").read_text())
    assert sorted(summary["parts"]) == PARTS and summary["pairs"] == 8
    assert (summary["revisions"], summary["general"]) == (4, 2)
    for name in PARTS:
        load_model(out / name / "model", load_tokenizer(out / name / "model"))
        assert (out / name / "train.csv").stat().st_size and summary["parts"][name]["dropped_long"] == 0
        assert json.loads((out / name / "summary.json").read_text()) == summary["parts"][name]
    assert usage.attempt.tokens == sum(part["train_tokens"] for part in summary["parts"].values())
