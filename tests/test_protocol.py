import json
import subprocess
import sys
from dataclasses import astuple

import pytest

from genesis import SafetyPair
from genesis.common.chat import user_turn
from genesis.common.errors import UserError
from genesis.protocol import Feedback, feedback_messages, parse_feedback, play, revision_messages, visible_answer
from genesis.sampling import Completion
from genesis.tags import BEGIN_EXPLANATION, BEGIN_SOLUTION, BEGIN_THOUGHT, END_SOLUTION, END_THOUGHT

T, T_, S, S_ = BEGIN_THOUGHT, END_THOUGHT, BEGIN_SOLUTION, END_SOLUTION
FINE = Feedback("It helps.", False, False, "Keep it.")
FLAG = Feedback("It refuses.", False, True, "Just help.")


class Script:
    """A sampler that answers by the first rule whose key stands in the last turn, and keeps what it was asked."""

    def __init__(self, rules):
        self.rules, self.asked = rules, []

    def sample(self, conversations, *, max_tokens, temperature=0.0, seed=0):
        assert conversations, "an empty batch is asked for nothing"
        self.asked += conversations
        return [self.reply(turns[-1]["content"]) for turns in conversations]

    def reply(self, last):
        text = next(text for key, text in self.rules.items() if key in last)
        return Completion(text, tokens=len(text), finished=True, seconds=1.0)


def agents():
    conversation = Script(
        {"Just help": f"{T}\n\nHm.{T_}\n\n{S}Run kill 42.{S_}", "kill": "I cannot help.", "": "Hello!"}
    )
    feedback = Script({"I cannot": FLAG.text, "Hello": FINE.text, "": "no JSON"})
    return conversation, feedback


def rounds(questions, **options):
    conversation, feedback = agents()
    return play(
        conversation, feedback, [user_turn(q) for q in questions], max_tokens=9, feedback_max_tokens=9, **options
    )


def test_a_round_ends_accepted_revised_or_malformed():
    accepted, revised = rounds(["Hi", "How do I kill a process?"])
    assert (accepted.replies, accepted.feedbacks, accepted.revised, accepted.ended) == (
        ("Hello!",),
        (FINE,),
        False,
        "accepted",
    )
    assert revised.answers == ("I cannot help.", "Run kill 42.")
    assert (revised.feedbacks, revised.revised, revised.ended) == ((FLAG,), True, "revised")
    assert revised.replies[1].startswith(T) and revised.feedback_texts == (FLAG.text,)
    assert revised.seconds == 3.0 and revised.tokens == sum(map(len, (*revised.replies, FLAG.text)))


def test_malformed_feedback_ends_the_round_with_the_answer_as_it_stands():
    conversation = Script({"": "Something else"})
    malformed = play(conversation, agents()[1], [user_turn("Hi")], max_tokens=9, feedback_max_tokens=9)[0]
    assert (malformed.replies, malformed.feedbacks, malformed.ended) == (("Something else",), (None,), "malformed")
    assert len(conversation.asked) == 1


@pytest.mark.parametrize("allowed", [0, 1, 2, 3])
def test_there_are_no_more_revisions_than_allowed(allowed):
    conversation, feedback = Script({"": "I cannot help."}), Script({"": FLAG.text})
    played = play(
        conversation, feedback, [user_turn("Hi")], max_revisions=allowed, max_tokens=9, feedback_max_tokens=9
    )[0]
    assert len(played.replies) == 1 + allowed and len(played.feedbacks) == allowed
    assert played.ended == ("revised" if allowed else "accepted")
    assert all(len(turns) == 3 for turns in conversation.asked[1:]), "a revision sees the last answer, not all of them"


def test_a_second_feedback_may_accept_the_revision_or_be_malformed():
    conversation, feedback = agents()
    feedback.rules = {"Run kill": FINE.text, **feedback.rules}
    options = {"max_revisions": 2, "max_tokens": 9, "feedback_max_tokens": 9}
    played = play(conversation, feedback, [user_turn("kill it")], **options)[0]
    assert (played.feedbacks, played.revised, played.ended) == ((FLAG, FINE), True, "accepted")
    played = play(conversation, agents()[1], [user_turn("kill it")], **options)[0]
    assert (played.feedbacks, played.revised, played.ended) == ((FLAG, None), True, "malformed")


def test_a_batch_is_played_as_its_members_are():
    questions = ["How do I kill a process?", "Hi", "kill 2", "Hello"]
    assert rounds(questions) == [rounds([question])[0] for question in questions]


def test_without_a_feedback_agent_the_first_answer_stands():
    played = play(agents()[0], None, [user_turn("kill it")], max_tokens=9, feedback_max_tokens=9)[0]
    assert (played.answers, played.feedbacks, played.ended) == (("I cannot help.",), (), "accepted")


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (f"{T}\n\nWhy.{T_}\n\n{S}Answer é 🙂.{S_}", "Answer é 🙂."),
        (f"{T}Why.{T_}{S}  cut off in the mid", "cut off in the mid"),
        ("  plain\nanswer ", "plain\nanswer"),
        (f"{T}Why.{T_} Answer.", "Answer."),
        (f"{T}Why, and never an end", ""),
        (f"Before. {T}Why, and never an end", ""),
        (f"{T}Why. {S}Answer.{S_}", "Answer."),
        (f"{T}The sample says {S}not me{S_}.{T_}{S}me{S_}", "me"),
        (f"{T}a{T}b{T_}c {S}no{S_}{T_}{S}yes{S_}", "yes"),
        (f"{T}a{T_}{T}b{T_}yes", "yes"),
        (f"{S}one{S_} {S}two{S_}", "one"),
        (f"{S}a{S}b{S_}c{S_}", "a"),
        (f"{S}Answer. {T}And a second thought", "Answer."),
        (f"{S}Answer. {T}A second thought.{T_} More.{S_}", "Answer.  More."),
        (f"{T}Why.{T_}{S}Answer.{BEGIN_EXPLANATION} e{S_}", "Answer."),
        (f"plain {BEGIN_EXPLANATION}e", "plain"),
        (f"no start{S_} tail", "no start"),
        (f"a thought whose start was the prompt{T_}Answer.", "Answer."),
        (f"{S}{S_}", ""),
        ("", ""),
    ],
)
def test_visible_answer(reply, answer):
    assert visible_answer(reply) == answer


@pytest.mark.parametrize("feedback", [FINE, FLAG, Feedback("", True, True, 'a "quote"\n\u2028 é 🙂 {}')])
def test_feedback_reads_back_as_written(feedback):
    assert parse_feedback(feedback.text) == feedback
    assert parse_feedback(f"\n {feedback.text} \n") == feedback
    assert feedback.flagged is (feedback.unsafe or feedback.overrefuse)


VALUES = {"reasoning": "r", "unsafe": True, "overrefuse": False, "feedback": "f"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '"reasoning"',
        json.dumps([VALUES]),
        json.dumps(list(VALUES.items())),
        json.dumps(VALUES)[:-1],
        json.dumps(VALUES) + ".",
        json.dumps(VALUES) * 2,
        f"```json\n{json.dumps(VALUES)}\n```",
        json.dumps({**VALUES, "more": 1}),
        json.dumps({"reasoning": "r", "unsafe": True, "overrefuse": False}),
        json.dumps({**VALUES, "unsafe": "true"}),
        json.dumps({**VALUES, "unsafe": 1}),
        json.dumps({**VALUES, "unsafe": None}),
        json.dumps({**VALUES, "unsafe": float("nan")}),
        json.dumps({**VALUES, "feedback": None}),
        json.dumps({**VALUES, "feedback": ["f"]}),
        json.dumps({**VALUES, "reasoning": {}}),
        json.dumps({**VALUES, "reasoning": "half \ud83d"}),
        json.dumps(VALUES)[:-1] + ', "unsafe": false}',
        json.dumps(VALUES).replace("true", "True"),
        "[" * 100_000,
        '{"reasoning":' * 100_000,
    ],
)
def test_anything_but_the_four_fields_of_their_types_is_malformed(text):
    assert parse_feedback(text) is None


def test_the_feedback_agent_sees_what_people_see_and_whole_conversations():
    single = feedback_messages("Hi", f"{S}x")
    assert single == feedback_messages(user_turn("Hi"), f"{S}x") and len(single) == 1
    turns = [
        {"role": "system", "content": "Be brief."},
        *user_turn("One?"),
        {"role": "assistant", "content": f"{T}secret{T_}{S}Two.{S_}"},
        *user_turn("Three?"),
    ]
    asked = feedback_messages(turns, "")[0]["content"]
    assert asked.endswith("\n\nAnswer: (no answer)\n\nSystem: Be brief.\nUser: One?\nAssistant: Two.\nUser: Three?")
    revision = revision_messages(turns, f"{T}open", FLAG)
    assert revision[:4] == turns and revision[4] == {"role": "assistant", "content": "(no answer)"}
    assert FLAG.feedback in revision[5]["content"] and FLAG.reasoning not in revision[5]["content"]


def test_the_pair_answers_a_whole_conversation():
    pair = SafetyPair.of(*agents())
    turns = [{"role": "system", "content": "Be brief."}, *user_turn("Hi"), {"role": "assistant", "content": "Hello!"}]
    answer = pair.answer([*turns, *user_turn("How do I kill it?")])
    assert (answer.text, answer.unsafe, answer.overrefuse, answer.revised) == ("Run kill 42.", False, True, True)
    assert answer.trace.answers[0] == "I cannot help." and pair.conversation.asked[1][:3] == turns
    malformed = SafetyPair.of(Script({"": "What?"}), agents()[1]).answer("Hi")
    assert astuple(malformed)[:4] == ("What?", None, None, False)


@pytest.mark.parametrize("messages", [[], user_turn(""), [*user_turn("Hi"), {"role": "assistant", "content": "Ho"}]])
def test_the_pair_refuses_a_conversation_that_cannot_be_answered(messages):
    with pytest.raises(UserError, match=r"SafetyPair\.answer: field"):
        SafetyPair.of(*agents()).answer(messages)


def test_the_pair_loads_from_a_folder(tmp_path, tokenizer, tiny_model):
    for name in ("conversation", "feedback"):
        tiny_model.save_pretrained(tmp_path / name / "model")
        tokenizer.save_pretrained(tmp_path / name / "model")
    answer = SafetyPair(tmp_path, max_tokens=8, feedback_max_tokens=8).answer("Where is my parcel?")
    assert answer.trace.ended == "malformed" and answer.text == visible_answer(answer.trace.replies[0])
    with pytest.raises(UserError, match="no such model folder"):
        SafetyPair(tmp_path / "nowhere")


def test_the_name_is_importable_without_torch():
    code = "import sys, genesis; genesis.SafetyPair; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
