"""What the two agents of WaltzRL learn from: prompts made by playing with the frozen models, and rewards for what is written.

A case is one prompt with what is known about it. A feedback case asks about a first answer that the frozen conversation
agent gave; its reward lets that agent revise where a flag is set. A conversation case is a bare question, or the revision of
a first answer that the frozen feedback agent flagged; its reward is the judge's.

First answers are sampled, so that there is something to find in them; revisions are greedy, so that a reward is the
feedback's merit and not luck.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from genesis.common.chat import Message, raise_first, read_jsonl, user_turn
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.graders.judging import Exchange, Judge
from genesis.graders.refusal import SafetyVerdict
from genesis.protocol import Feedback, feedback_messages, parse_feedback, revision_messages, visible_answer
from genesis.sampling import Completion, Sampler, TransformersSampler
from genesis.training import flops_per_token
from genesis.waltz.rewards import Weights, conversation_reward, feedback_reward

LABELS = ("unsafe", "benign")
VERDICT_COLUMNS = ["unsafe", "overrefuse", "incoherent", "unparsed"]


@dataclass(frozen=True)
class Row:
    """A question and whether it is "unsafe" or "benign" to answer."""

    question: str
    label: str


@dataclass(frozen=True)
class Case:
    """One prompt; `reply` is the first answer, where the prompt is about one, and `verdict` the judge's on it."""

    prompt: list[Message]
    question: str
    label: str
    reply: str = ""
    verdict: SafetyVerdict | None = None

    @property
    def revises(self) -> bool:
        """Whether the prompt asks for a revision: it is the only one of several turns."""
        return len(self.prompt) > 1

    @classmethod
    def read(cls, values: dict[str, Any]) -> "Case":
        """The inverse of `asdict`."""
        verdict = values["verdict"]
        return cls(**{**values, "verdict": verdict and SafetyVerdict(**verdict)})


@dataclass(frozen=True)
class Limits:
    """Lengths of replies and of feedback in tokens, and the temperature of first answers."""

    max_tokens: int
    feedback_max_tokens: int
    temperature: float


def read_rows(path: Path) -> list[Row]:
    """Question and label of every row of a safety file.

    Raises:
        UserError: a row without question or label (with the line), or a file with one label only.
    """
    rows, problems = [], []
    for number, row in read_jsonl(path):
        if not isinstance(row.get("question"), str) or not row["question"].strip():
            problems.append(f"{path}:{number}: field 'question': expected text")
        elif row.get("label") not in LABELS:
            problems.append(f"{path}:{number}: field 'label': expected unsafe or benign, found {row.get('label')!r}")
        else:
            rows.append(Row(row["question"], row["label"]))
    raise_first(problems)
    for label in LABELS:
        if all(row.label != label for row in rows):
            raise UserError(f"{path}: no {label} row; a pair trained on one kind learns to treat everything alike")
    return rows


def balanced(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """So many rows, unsafe and benign in turn, each kind shuffled; where there are too few of a kind, it starts over."""
    draw = random.Random(seed)
    kinds = [[row for row in rows if row.label == label] for label in LABELS]
    piles = [itertools.cycle(draw.sample(kind, len(kind))) for kind in kinds]
    return [next(piles[k % len(piles)]) for k in range(count)]


class CountedSampler:
    """A frozen agent: its tokens and FLOPs count in the running attempt, a third of a training step's for each token."""

    def __init__(self, sampler: TransformersSampler, usage: Usage):
        self.sampler, self.usage = sampler, usage

    def sample(
        self, conversations: list[list[Message]], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        """See `Sampler.sample`."""
        import torch

        if not conversations:
            return []
        # Sampling seeds the global generator; without the fork every step of the trainer would draw the same numbers.
        with torch.random.fork_rng():
            answers = self.sampler.sample(conversations, max_tokens=max_tokens, temperature=temperature, seed=seed)
        read = sum(len(self.sampler.encode(conversation)) for conversation in conversations)
        tokens = read + sum(answer.tokens for answer in answers)
        self.usage.add(tokens, tokens * flops_per_token(self.sampler.model, max_tokens) / 3)
        return answers


def feedback_cases(rows: Sequence[Row], conversation: Sampler, judge: Judge, limits: Limits, seed: int) -> list[Case]:
    """Ask about a sampled first answer to every row."""
    replies = _first_replies(rows, conversation, limits, seed)
    verdicts = judge.verdicts([_exchange(row, reply) for row, reply in zip(rows, replies, strict=True)])
    return [
        Case(feedback_messages(row.question, visible_answer(reply.text)), row.question, row.label, reply.text, verdict)
        for row, reply, verdict in zip(rows, replies, verdicts, strict=True)
    ]


def conversation_cases(
    rows: Sequence[Row], conversation: Sampler, feedback: Sampler, limits: Limits, seed: int
) -> list[Case]:
    """Half bare questions, half revisions; where fewer answers are flagged than that, questions take their place."""
    replies = _first_replies(rows, conversation, limits, seed)
    asked = [
        feedback_messages(row.question, visible_answer(reply.text)) for row, reply in zip(rows, replies, strict=True)
    ]
    remarks = feedback.sample(
        asked, max_tokens=limits.feedback_max_tokens, temperature=limits.temperature, seed=seed + 1
    )
    heard = [parse_feedback(remark.text) for remark in remarks]
    flagged = [k for k, said in enumerate(heard) if said is not None and said.flagged]
    revised = set(random.Random(seed).sample(flagged, min(len(flagged), len(rows) // 2)))
    cases = []
    for k, row in enumerate(rows):
        question = user_turn(row.question)
        if k in revised:
            prompt = revision_messages(question, replies[k].text, heard[k])
            cases.append(Case(prompt, row.question, row.label, replies[k].text))
        else:
            cases.append(Case(question, row.question, row.label))
    return cases


def _first_replies(rows: Sequence[Row], conversation: Sampler, limits: Limits, seed: int) -> list[Completion]:
    questions = [user_turn(row.question) for row in rows]
    return conversation.sample(questions, max_tokens=limits.max_tokens, temperature=limits.temperature, seed=seed)


def _exchange(asked: Row | Case, reply: Completion) -> Exchange:
    return Exchange(asked.label, asked.question, visible_answer(reply.text), reply.finished)


class FeedbackRewards:
    """R_f of feedback on the cases' first answers, called by the trainer; `samples` are the last call's rows.

    Args:
        conversation: the frozen conversation agent, which revises.
    """

    columns: ClassVar[list[str]] = [*VERDICT_COLUMNS, "triggered", "malformed", "r_dir", "r_label", "r_format"]

    def __init__(self, cases: list[Case], conversation: Sampler, judge: Judge, weights: Weights, limits: Limits):
        self.cases, self.conversation, self.judge = cases, conversation, judge
        self.weights, self.limits = weights, limits
        self.samples: list[dict[str, Any]] = []

    def __call__(
        self, completions: list[list[Message]], index: list[int], log_metric: Callable[[str, float], None], **_: Any
    ) -> list[float | None]:
        """Let the frozen agent revise where a flag is set, judge, and report every term."""
        cases = [self.cases[k] for k in index]
        texts = [completion[0]["content"] for completion in completions]
        feedbacks = [parse_feedback(text) for text in texts]
        revisions = self._revise(cases, feedbacks)
        revised = [k for k, revision in enumerate(revisions) if revision is not None]
        verdicts = self.judge.verdicts([_exchange(cases[k], revisions[k]) for k in revised])
        after = dict(zip(revised, verdicts, strict=True))
        terms = [
            feedback_reward(feedback, case.verdict, after.get(k), revised=k in after)
            for k, (feedback, case) in enumerate(zip(feedbacks, cases, strict=True))
        ]
        rewards = [term.total(self.weights) for term in terms]
        final = [after.get(k, case.verdict) for k, case in enumerate(cases)]
        report(log_metric, shares(cases, final))
        report(
            log_metric,
            {
                "triggered": len(revised) / len(cases),
                "malformed": feedbacks.count(None) / len(cases),
                "r_dir": mean(term.direction for term in terms),
                "r_label": mean(term.label for term in terms),
                "r_format": mean(term.format for term in terms),
            },
        )
        self.samples = [
            {**_about(case), "feedback": text, "revision": revision and revision.text, "reward": reward}
            for case, text, revision, reward in zip(cases, texts, revisions, rewards, strict=True)
        ]
        return rewards

    def _revise(self, cases: list[Case], feedbacks: list[Feedback | None]) -> list[Completion | None]:
        """Greedy revisions where a flag is set; the same request is made once, as groups often agree."""
        asked = {
            (case.question, case.reply, feedback.feedback): revision_messages(
                user_turn(case.question), case.reply, feedback
            )
            for case, feedback in zip(cases, feedbacks, strict=True)
            if feedback is not None and feedback.flagged
        }
        replies = self.conversation.sample(list(asked.values()), max_tokens=self.limits.max_tokens) if asked else []
        answers = dict(zip(asked, replies, strict=True))
        return [
            answers[case.question, case.reply, feedback.feedback] if feedback and feedback.flagged else None
            for case, feedback in zip(cases, feedbacks, strict=True)
        ]


class ConversationRewards:
    """R_c of answers and revisions, called by the trainer; `samples` are the last call's rows."""

    columns: ClassVar[list[str]] = [*VERDICT_COLUMNS, "r_answer", "r_revision"]

    def __init__(self, cases: list[Case], judge: Judge, max_tokens: int):
        self.cases, self.judge, self.max_tokens = cases, judge, max_tokens
        self.samples: list[dict[str, Any]] = []

    def __call__(
        self,
        completions: list[list[Message]],
        completion_ids: list[list[int]],
        index: list[int],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float | None]:
        """Judge, and report first answers and revisions apart."""
        cases = [self.cases[k] for k in index]
        texts = [completion[0]["content"] for completion in completions]
        ended = [len(ids) < self.max_tokens for ids in completion_ids]
        verdicts = self.judge.verdicts(
            [
                Exchange(case.label, case.question, visible_answer(text), end)
                for case, text, end in zip(cases, texts, ended, strict=True)
            ]
        )
        rewards = [conversation_reward(verdict) for verdict in verdicts]
        report(log_metric, shares(cases, verdicts))
        for name, is_revision in (("r_answer", False), ("r_revision", True)):
            mine = [reward for case, reward in zip(cases, rewards, strict=True) if case.revises is is_revision]
            report(log_metric, {name: mean(mine)})
        self.samples = [
            {**_about(case), "feedback": case.prompt[-1]["content"], "revision": text, "reward": reward}
            if case.revises
            else {**_about(case), "reply": text, "reward": reward}
            for case, text, reward in zip(cases, texts, rewards, strict=True)
        ]
        return rewards


def shares(cases: Sequence[Case | Row], verdicts: Sequence[SafetyVerdict | None]) -> dict[str, float | None]:
    """Rates of VERDICT_COLUMNS: unsafe of the unsafe prompts, over-refusals of the benign ones, the others of all."""
    known = [(case.label, verdict) for case, verdict in zip(cases, verdicts, strict=True) if verdict is not None]
    return {
        "unsafe": mean(verdict.unsafe for label, verdict in known if label == "unsafe"),
        "overrefuse": mean(verdict.overrefuse for label, verdict in known if label == "benign"),
        "incoherent": mean(verdict.incoherent for _, verdict in known),
        "unparsed": 1 - len(known) / len(cases),
    }


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the known values, None where there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def report(log_metric: Callable[[str, float], None], values: dict[str, float | None]) -> None:
    """Log what is known."""
    for name, value in values.items():
        if value is not None:
            log_metric(name, value)


def _about(case: Case) -> dict[str, Any]:
    return {"question": case.question, "label": case.label, "reply": case.reply}
