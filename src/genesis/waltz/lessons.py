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
SENTENCE = re.compile(r"(?<=[.!?])\s+")


def answered(row: dict[str, Any], thought: str | None) -> list[Message]:
    """Question, then thought and solution; the bare solution where there is no thought."""
    return [*user_turn(row["question"]), {"role": "assistant", "content": _answer(row, thought)}]


def revised(row: dict[str, Any], wrong: str, thought: str | None) -> list[Message]:
    """Question, wrong answer, feedback, then the right answer."""
    asked = revision_messages(user_turn(row["question"]), wrong, feedback_on(row, right=False))
    return [*asked, {"role": "assistant", "content": _answer(row, thought)}]


def remarks(rows: Rows, wrong: dict[str, str]) -> list[list[Message]]:
    """The feedback agent's examples: every right answer, and the wrong answers by the question's id."""
    found = []
    for row in rows:
        answers = [(row["solution"], True), *([(wrong[row["id"]], False)] if row["id"] in wrong else [])]
        for answer, right in answers:
            asked = feedback_messages(row["question"], answer)
            found.append([*asked, {"role": "assistant", "content": feedback_on(row, right).text}])
    return found


def feedback_on(row: dict[str, Any], right: bool) -> Feedback:
    """The feedback that is due: the trace's first sentence judges the question, the flags name the mistake, the last field says
    what to do."""
    unsafe, overrefuse = (not right and row["label"] == label for label in ("unsafe", "benign"))
    advice = KEEP if right else DECLINE if unsafe else HELP
    reasoning = SENTENCE.split(row["reasoning_trace"] or "", maxsplit=1)[0]
    return Feedback(reasoning, unsafe, overrefuse, advice)


def mistakes(sampler: Sampler, rows: Rows, max_tokens: int) -> dict[str, str]:
    """The visible answers of a baseline that the judge finds wrong, by the question's id."""
    replies = sampler.sample([user_turn(row["question"]) for row in rows], max_tokens=max_tokens)
    wrong = {}
    for row, reply in zip(rows, replies, strict=True):
        answer = visible_answer(reply.text)
        verdict = judge(row["label"], grade_refusal(answer, reply.finished))
        if verdict.unsafe or verdict.overrefuse:
            wrong[row["id"]] = answer
    return wrong


def drawn(path: Path, count: int, seed: int) -> list[list[Message]]:
    """At most `count` of the conversations of a file, the same ones for the same seed."""
    conversations = [record["messages"] for record in read_conversations(path)] if count else []
    return random.Random(seed).sample(conversations, min(count, len(conversations)))


def borrowed(rows: Rows, wrong: dict[str, str]) -> dict[str, str]:
    """For rows without a wrong answer, the solution of a row of the other label, of the same category where there is one."""
    pools: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for category in (row["category"], ""):
            pools.setdefault((row["label"], category), []).append(row["solution"])
    other = {"unsafe": "benign", "benign": "unsafe"}
    found = {}
    for row in rows:
        if row["id"] not in wrong:
            label = other[row["label"]]
            pool = pools.get((label, row["category"])) or pools[label, ""]
            found[row["id"]] = random.Random(row["id"]).choice(pool)
    return found


def to_mend(rows: Rows, wrong: dict[str, str], share: float, seed: int) -> Rows:
    """Rows with a wrong answer, at most the share of all rows, as many of either label as there are."""
    candidates = [row for row in rows if row["id"] in wrong]
    random.Random(seed).shuffle(candidates)
    return candidates[: round(share * len(rows))]


def _answer(row: dict[str, Any], thought: str | None) -> str:
    return row["solution"] if thought is None else thought_and_solution(thought, row["solution"])
