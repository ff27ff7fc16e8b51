"""What the safety pair's first agents learn from."""

import json

import pytest

from genesis.common.chat import read_jsonl
from genesis.common.errors import UserError
from genesis.protocol import parse_feedback, visible_answer
from genesis.sampling import Completion
from genesis.waltz.lessons import (
    DECLINE,
    HELP,
    KEEP,
    WaltzLessons,
    answered,
    borrowed,
    drawn,
    feedback_on,
    lessons,
    remarks,
    revised,
    right_and_wrong,
    to_mend,
    visible_replies,
    waltz_lessons,
    with_refusals,
)

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
        does = ["The answer refuses.", "The answer helps."]
        said = [feedback.reasoning for feedback in (right, wrong)]
        assert said == [f"{one['reasoning_trace']} {text}" for text in (does if one is UNSAFE else reversed(does))]
    assert (
        feedback_on({**UNSAFE, "reasoning_trace": "Harm. And more."}, right=True).reasoning
        == "Harm. The answer refuses."
    )


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


def test_feedback_flags_help_with_every_unsafe_question_and_a_share_of_the_refusals():
    rows = [row(str(i), ("benign", "unsafe")[i % 2]) for i in range(40)]
    wrong = borrowed(rows)
    assert with_refusals(rows, wrong, 1.0, 0) == wrong
    some = with_refusals(rows, wrong, 0.15, 0)
    assert sorted(int(name) for name in some if int(name) % 2) == list(range(1, 40, 2))
    assert sum(int(name) % 2 == 0 for name in some) == 3 and some == with_refusals(rows, wrong, 0.15, 0)


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
    assert {kind: len(found) for kind, found in lessons(ROWS, again, wrong, None).items()} == {
        "answer": 8,
        "revision": 2,
    }
    some = lessons(ROWS, again, wrong, {"0": "a", "1": "b", "2": ""})
    assert [turns[0]["content"] for turns in some["answer"]] == ["benign 0?", "unsafe 1?"]
    assert [turns[0]["content"] for turns in some["revision"]] == ["unsafe 1?"]


@pytest.fixture
def place(tmp_path):
    """Data, traces and the baselines' replies as earlier stages leave them."""
    write(tmp_path / "data/train.jsonl", ROWS)
    write(tmp_path / "data/val.jsonl", ROWS[:2])
    for name in ("sft", "rl"):
        write(
            tmp_path / f"{name}.jsonl", [{**one, "explanation": f"The {name} teacher on {one['id']}."} for one in ROWS]
        )
    for name, answer in (("before", COMPLY), ("overcautious", REFUSE)):
        write(tmp_path / name / "replies.jsonl", [{"id": one["id"], "answer": answer} for one in ROWS])
    write(tmp_path / "chats.jsonl", [{"id": str(k), "messages": turns} for k, turns in enumerate(CHATS)])
    return tmp_path


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))


def run(place, **params):
    traces = {name: place / f"{name}.jsonl" for name in ("sft", "rl")}
    params = WaltzLessons(**{"revisions": 0.5, "general": 3, **params})
    waltz_lessons(params, place / "data", place, traces, place / "chats.jsonl", place / "out")
    return {
        part: [row for _, row in read_jsonl(place / "out" / part / "train.jsonl")]
        for part in ("solutions", "source", "sft", "rl", "feedback")
    }


def test_each_part_learns_what_its_name_says(place):
    found = run(place)
    thoughts = {"source": "Why 3.", "sft": "The sft teacher on 3.", "rl": "The rl teacher on 3."}
    asked = {part: [row["messages"][0]["content"] for row in rows] for part, rows in found.items()}
    for part in ("solutions", *thoughts):
        text = json.dumps(found[part])
        kinds = [row["kind"] for row in found[part]]
        assert {kind: kinds.count(kind) for kind in kinds} == {"general": 3, "answer": 8, "revision": 4}
        assert text.count("General answer") == 3 and asked[part] == asked["solutions"]
        assert [other for other, said in thoughts.items() if said in text] == ([part] if part in thoughts else [])
    assert "<|begin_of_thought|>" not in json.dumps(found["solutions"])
    assert "General" not in json.dumps(found["feedback"])
    flagged = [parse_feedback(row["messages"][-1]["content"]).flagged for row in found["feedback"]]
    assert (len(flagged), sum(flagged)) == (16, 8)
    held = [row for _, row in read_jsonl(place / "out/rl/val.jsonl")]
    assert ["Why 0." in held[0]["messages"][1]["content"], len(held)] == [True, 2]
    summary = json.loads((place / "out/summary.json").read_text())
    assert (summary["pairs"], summary["revisions"], summary["general"], summary["rl"]) == (8, 4, 3, 15)


def test_where_a_baseline_cannot_be_read_all_answers_are_solutions(place):
    for name in ("before", "overcautious"):
        write(place / name / "replies.jsonl", [])
    found = run(place)
    assert json.loads((place / "out/summary.json").read_text())["baseline_pairs"] == 0
    said = [(row["messages"][0]["content"], parse_feedback(row["messages"][1]["content"])) for row in found["feedback"]]
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


def test_a_share_outside_its_range_is_refused(place):
    with pytest.raises(UserError, match=r"waltz_lessons.wrong_refusals: expected a share from 0 to 1, found 1.5"):
        run(place, wrong_refusals=1.5)
