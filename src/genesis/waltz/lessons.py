"""What the safety pair learns from: answers, answers mended after feedback, and feedback on right and wrong answers."""

import random
import re
from pathlib import Path
from typing import Any

from genesis.chat import Message, read_conversations, user_turn
from genesis.graders.refusal import grade_refusal, judge
from genesis.protocol import Feedback, feedback_messages, revision_messages, visible_answer
from genesis.sampling import Sampler
from genesis.tags import thought_and_solution

Rows = list[dict[str, Any]]

DECLINE = "The answer helps with harm. Decline, say why, and offer safe help."
HELP = "The question is harmless. Do not refuse; answer it."
KEEP = "The answer is right."
OTHER = {"unsafe": "benign", "benign": "unsafe"}
SENTENCE = re.compile(r"(?<=[.!?])\s+")


def answered(row: dict[str, Any], thought: str | None) -> list[Message]:
    """Question, then thought and solution; the bare solution where there is no thought."""
    return [*user_turn(row["question"]), {"role": "assistant", "content": _answer(row, thought)}]


def revised(row: dict[str, Any], wrong: str, thought: str | None) -> list[Message]:
    """Question, wrong answer, feedback, then the right answer."""
    asked = revision_messages(user_turn(row["question"]), wrong, feedback_on(row, right=False))
    return [*asked, {"role": "assistant", "content": _answer(row, thought)}]


def remarks(rows: Rows, right: dict[str, str], wrong: dict[str, str]) -> list[list[Message]]:
    """The feedback agent's examples: a right answer to every question, and a wrong one where there is one, by the row's id."""
    found = []
    for row in rows:
        for answers, is_right in ((right, True), (wrong, False)):
            if row["id"] in answers:
                asked = feedback_messages(row["question"], answers[row["id"]])
                found.append([*asked, {"role": "assistant", "content": feedback_on(row, is_right).text}])
    return found


def feedback_on(row: dict[str, Any], right: bool) -> Feedback:
    """The feedback that is due: the trace's first sentence judges the question, the flags name the mistake, the last field says
    what to do."""
    unsafe, overrefuse = (not right and row["label"] == label for label in ("unsafe", "benign"))
    advice = KEEP if right else DECLINE if unsafe else HELP
    reasoning = SENTENCE.split(row["reasoning_trace"] or "", maxsplit=1)[0]
    return Feedback(reasoning, unsafe, overrefuse, advice)


def visible_replies(sampler: Sampler, rows: Rows, max_tokens: int) -> dict[str, str]:
    """What a baseline answers to every question, by the row's id; replies that cannot be read are left out."""
    replies = sampler.sample([user_turn(row["question"]) for row in rows], max_tokens=max_tokens)
    answers = {row["id"]: visible_answer(reply.text) for row, reply in zip(rows, replies, strict=True)}
    return {name: answer for name, answer in answers.items() if grade_refusal(answer).verdict != "incoherent"}


def right_and_wrong(rows: Rows, replies: dict[str, dict[str, str]]) -> tuple[dict[str, str], dict[str, str], int]:
    """A right and a wrong answer to every question, and how many of these pairs the baselines wrote.

    Half of the pairs are the baselines' (`replies` by the only label that each has seen), where the judge finds the one
    right and the other wrong; the rest are the solution and one borrowed from the other label. So right and wrong answers
    are written alike, and the feedback agent has to read the question.
    """
    right, wrong, made = {row["id"]: row["solution"] for row in rows}, borrowed(rows), 0
    for row in rows:
        name, label = row["id"], row["label"]
        own, other = replies[label].get(name), replies[OTHER[label]].get(name)
        if own and other and random.Random(name).random() < 0.5 and _good(label, own) and not _good(label, other):
            right[name], wrong[name], made = own, other, made + 1
    return right, wrong, made


def _good(label: str, answer: str) -> bool:
    verdict = judge(label, grade_refusal(answer))
    return not (verdict.unsafe or verdict.overrefuse)


def drawn(path: Path, count: int, seed: int) -> list[list[Message]]:
    """At most `count` of the conversations of a file, the same ones for the same seed."""
    conversations = [record["messages"] for record in read_conversations(path)] if count else []
    return random.Random(seed).sample(conversations, min(count, len(conversations)))


def borrowed(rows: Rows) -> dict[str, str]:
    """For every row the solution of one of the other label, of the same category where there is one."""
    pools: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for category in (row["category"], ""):
            pools.setdefault((row["label"], category), []).append(row["solution"])
    found = {}
    for row in rows:
        label = OTHER[row["label"]]
        pool = pools.get((label, row["category"])) or pools[label, ""]
        found[row["id"]] = random.Random(row["id"]).choice(pool)
    return found


def to_mend(rows: Rows, share: float, seed: int) -> Rows:
    """The rows on which a conversation agent also learns to answer again."""
    return random.Random(seed).sample(rows, round(share * len(rows)))


def _answer(row: dict[str, Any], thought: str | None) -> str:
    return row["solution"] if thought is None else thought_and_solution(thought, row["solution"])
