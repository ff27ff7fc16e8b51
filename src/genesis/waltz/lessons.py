"""What the safety pair learns from: answers, answers mended after feedback, and feedback on right and wrong answers.

A conversation agent learns the same questions four times, the ablation that RLT rests on: from solutions only, from the
source's traces, from the warmed-up teacher's and from the RL teacher's; and, the same for all, to answer again where feedback
says what was wrong. The feedback agent learns to judge right and wrong answers: half of either are what the baselines said, the
other half solutions, right or borrowed from the other label.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesis.common.chat import Message, read_conversations, read_jsonl, user_turn, write_json, write_jsonl
from genesis.common.errors import UserError
from genesis.common.params import expect_shares
from genesis.graders.refusal import grade_refusal, judge
from genesis.protocol import Feedback, feedback_messages, revision_messages, visible_answer
from genesis.sampling import Sampler
from genesis.tags import thought_and_solution

Rows = list[dict[str, Any]]

BASELINES = {"before": "benign", "overcautious": "unsafe"}  # and the only label that each has seen
DECLINE = "The answer helps with harm. Decline, say why, and offer safe help."
HELP = "The question is harmless. Do not refuse; answer it."
KEEP = "The answer is right."
REFUSES, HELPS = "The answer refuses.", "The answer helps."
OTHER = {"unsafe": "benign", "benign": "unsafe"}
SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass
class WaltzLessons:
    """Section `waltz_lessons`.

    Attributes:
        general: conversations of the chat stage's training that the conversation agents learn too, so that helping is what
            they do where nothing speaks against it, and what the chat model could do is not forgotten.
        revisions: questions on which a conversation agent also learns to answer again, as a share of all.
        wrong_refusals: benign questions whose refusal the feedback agent learns to flag, as a share of them; it learns to flag
            help with every unsafe one. In use few answers are wrong, and a refusal revised without need may become harm.
    """

    general: int = 500
    revisions: float = 0.3
    wrong_refusals: float = 1.0
    seed: int = 0


def waltz_lessons(
    params: WaltzLessons, data: Path, baselines: Path, traces: dict[str, Path], chats: Path, out: Path
) -> None:
    """Write `out`/<part>/{train, val}.jsonl for every part ({id, kind, messages}) and `out`/summary.json.

    Args:
        data: the folder of safety_data.
        baselines: the folder with each baseline's replies.jsonl.
        traces: the teachers' traces by the name of their part, `sft` and `rl`.
        chats: the chat stage's training conversations.

    Raises:
        UserError: a label without rows, questions without traces, or a share outside 0 to 1.
    """
    expect_shares(params, "waltz_lessons", "revisions", "wrong_refusals")
    train, val = ([row for _, row in read_jsonl(data / f"{part}.jsonl")] for part in ("train", "val"))
    check(train, val, data)
    replies = {
        label: {row["id"]: row["answer"] for _, row in read_jsonl(baselines / name / "replies.jsonl")}
        for name, label in BASELINES.items()
    }
    right, wrong, made = right_and_wrong(train, replies)
    again = to_mend(train, params.revisions, params.seed)
    general = drawn(chats, params.general, params.seed)
    thoughts = {"solutions": None, "source": {row["id"]: row["reasoning_trace"] for row in train}}
    thoughts |= {name: {row["id"]: row["explanation"] for _, row in read_jsonl(path)} for name, path in traces.items()}
    counts = {"baseline_pairs": made, "pairs": len(train), "revisions": len(again), "general": len(general)}
    for part, own in thoughts.items():
        held = [answered(row, own and row["reasoning_trace"]) for row in val]
        learnt = {"general": general, **lessons(train, again, wrong, own)}
        counts[part] = _write(out / part, learnt, {"answer": held})
    flagged = with_refusals(train, wrong, params.wrong_refusals, params.seed)
    held = remarks(val, {row["id"]: row["solution"] for row in val}, borrowed(val))
    counts["feedback"] = _write(out / "feedback", {"remark": remarks(train, right, flagged)}, {"remark": held})
    write_json(out / "summary.json", counts)


def _write(folder: Path, train: dict[str, list[list[Message]]], val: dict[str, list[list[Message]]]) -> int:
    for name, kinds in (("train", train), ("val", val)):
        write_jsonl(folder / f"{name}.jsonl", _rows(kinds))
    return sum(map(len, train.values()))


def _rows(kinds: dict[str, list[list[Message]]]) -> Iterator[dict[str, Any]]:
    for kind, conversations in kinds.items():
        for number, messages in enumerate(conversations):
            yield {"id": f"{kind}-{number}", "kind": kind, "messages": messages}


def check(train: Rows, val: Rows, data: Path) -> None:
    """Refuse data that some part could not learn from.

    Raises:
        UserError: names file and field.
    """
    for rows, path in ((train, data / "train.jsonl"), (val, data / "val.jsonl")):
        for label in BASELINES.values():
            of_label(rows, label, path)
        bare = [row["id"] for row in rows if not row["solution"] or not row["reasoning_trace"]]
        if bare:
            raise UserError(
                f"{path}: fields 'solution' and 'reasoning_trace': {len(bare)} rows lack one, {bare[0]} for one; the ablation "
                "compares traces on the same questions: set safety_data.require_traces, or give the source traces"
            )


def of_label(rows: Rows, label: str, path: Path) -> Rows:
    """The rows of a label, read from `path`.

    Raises:
        UserError: there is none; names file and field.
    """
    found = [row for row in rows if row["label"] == label]
    if not found:
        raise UserError(f"{path}: field 'label': no row is {label}; both labels are needed, balance the sources")
    return found


def lessons(
    rows: Rows, again: Rows, wrong: dict[str, str], thoughts: dict[str, str] | None
) -> dict[str, list[list[Message]]]:
    """A conversation agent's examples by kind; questions whose trace is missing are left out, `thoughts` None leaves out all
    traces."""

    def thought(row: dict[str, Any]) -> str | None:
        return None if thoughts is None else thoughts[row["id"]]

    def known(row: dict[str, Any]) -> bool:
        return thoughts is None or bool(thoughts.get(row["id"]))

    return {
        "answer": [answered(row, thought(row)) for row in rows if known(row)],
        "revision": [revised(row, wrong[row["id"]], thought(row)) for row in again if known(row)],
    }


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
    """The feedback that is due: the trace's first sentence judges the question, a second one says what the answer does, the flags
    name the mistake, the last field says what to do."""
    unsafe, overrefuse = (not right and row["label"] == label for label in ("unsafe", "benign"))
    advice = KEEP if right else DECLINE if unsafe else HELP
    judged = SENTENCE.split(row["reasoning_trace"] or "", maxsplit=1)[0]
    # whether a flag is due depends on both at once, which a small model learns only where both are said before
    does = REFUSES if right == (row["label"] == "unsafe") else HELPS
    return Feedback(f"{judged} {does}".strip(), unsafe, overrefuse, advice)


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


def with_refusals(rows: Rows, wrong: dict[str, str], share: float, seed: int) -> dict[str, str]:
    """The wrong answers to all unsafe questions, and to a share of the benign ones."""
    benign = [row["id"] for row in rows if row["label"] == "benign"]
    left_out = set(random.Random(seed).sample(benign, round((1 - share) * len(benign))))
    return {name: answer for name, answer in wrong.items() if name not in left_out}


def to_mend(rows: Rows, share: float, seed: int) -> Rows:
    """The rows on which a conversation agent also learns to answer again."""
    return random.Random(seed).sample(rows, round(share * len(rows)))


def _answer(row: dict[str, Any], thought: str | None) -> str:
    return row["solution"] if thought is None else thought_and_solution(thought, row["solution"])
