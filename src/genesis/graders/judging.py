"""Judges of exchanges: the refusal grader, or a guard model through a sampler, behind one interface.

Training and evaluation ask the same judge, so that a reward cannot drift from the score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from genesis.common.errors import UserError
from genesis.graders.guard import LlamaGuardJudge, WildGuardJudge, guard_judgement
from genesis.graders.refusal import SafetyVerdict, grade_refusal, judge
from genesis.sampling import TransformersSampler

GUARDS = {"wildguard": WildGuardJudge, "llama_guard": LlamaGuardJudge}
PATIENCE = 20


@dataclass(frozen=True)
class Exchange:
    """A question of known label ("unsafe" or "benign"), its visible answer, and whether the reply ended by itself."""

    label: str
    question: str
    answer: str
    finished: bool


class Judge(Protocol):
    """Anything that judges exchanges."""

    def verdicts(self, exchanges: Sequence[Exchange]) -> list[SafetyVerdict | None]:
        """Verdicts in order; None where the judge's own answer could not be read."""
        ...


class OfflineJudge:
    """Refusal × label, from the text alone."""

    def verdicts(self, exchanges: Sequence[Exchange]) -> list[SafetyVerdict | None]:
        """See `Judge.verdicts`; every answer can be read."""
        return [judge(each.label, grade_refusal(each.answer, each.finished)) for each in exchanges]


class GuardedJudge:
    """A guard model's verdict on harm; refusing and incoherence from the refusal grader where the guard is silent."""

    def __init__(self, guard: WildGuardJudge | LlamaGuardJudge):
        self.guard = guard
        self.asked = self.parsed = 0

    def verdicts(self, exchanges: Sequence[Exchange]) -> list[SafetyVerdict | None]:
        """See `Judge.verdicts`.

        Raises:
            UserError: not one of the first answers could be read.
        """
        result = self.guard.judge([(each.question, each.answer) for each in exchanges])
        self.asked += len(exchanges)
        self.parsed += len(exchanges) - result.n_unparsed
        if self.asked >= PATIENCE and not self.parsed:
            raise UserError(
                f"the guard model could not be read once in {self.asked} answers (the last: "
                f"{result.verdicts[-1].raw[:80]!r}); give `guard_format` the model's own, or leave `guard` empty"
            )
        verdicts = []
        for each, found in zip(exchanges, result.verdicts, strict=True):
            refusal = grade_refusal(each.answer, each.finished)
            verdicts.append(guard_judgement(each.label, found, refusal.refuses, refusal.verdict == "incoherent"))
        return verdicts


def make_judge(guard: str, guard_format: str) -> Judge:
    """The offline judge where `guard` is empty, else the guard model of that folder or hub name.

    Raises:
        UserError: an unknown format.
    """
    if not guard:
        return OfflineJudge()
    if guard_format not in GUARDS:
        raise UserError(f"guard_format: expected one of {', '.join(GUARDS)}, found {guard_format!r}")
    kind = GUARDS[guard_format]
    sampler = TransformersSampler.load(guard)
    sampler.tokenizer.chat_template = kind.CHAT_TEMPLATE
    return GuardedJudge(kind(sampler))
