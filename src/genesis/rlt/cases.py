"""What the RLT reward is asked and what it answers."""

from dataclasses import dataclass

from genesis.rlt.prompts import STUDENT_SYSTEM, TEACHER_SYSTEM, Span


@dataclass(frozen=True)
class Case:
    """What is scored: a completion as the teacher wrote it, its end tag included if it wrote one.

    Attributes:
        teacher_system, student_system: the system messages, None for none.
        sampled: the completion's sampled token ids, to count how often tokenising the text again gives others.
    """

    id: str
    question: str
    solution: str
    completion: str
    teacher_system: str | None = TEACHER_SYSTEM
    student_system: str | None = STUDENT_SYSTEM
    sampled: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Scored:
    """A case's reward and every term of it, in nats; `reward` is None and `error` says why where it has none.

    Attributes:
        r_ss: ss_mean + w · ss_min, the student's log-probability of the solution.
        r_kl: λ · (kl_mean + w · kl_max), subtracted.
        format: the penalty, or 0.
        length: the explanation's tokens as the teacher reads them.
        malformed: the end tag was missing.
        copied: the longest run of the solution's words found in the explanation, over the solution's words.
        by_token: d was taken token by token (False: by stretches of characters; None: no tokens to compare).
        teacher_explanation: token positions [first, last) in the teacher's whole text.
        student_explanation, student_solution: the same in the student's.
        retokenised: the text's tokens differ from the sampled ones; None where those are unknown.
        overflow: the case was dropped because it does not fit a model's context.
    """

    id: str
    reward: float | None = None
    r_ss: float | None = None
    ss_mean: float | None = None
    ss_min: float | None = None
    r_kl: float | None = None
    kl_mean: float | None = None
    kl_max: float | None = None
    format: float | None = None
    length: int | None = None
    malformed: bool | None = None
    copied: float | None = None
    by_token: bool | None = None
    teacher_explanation: Span | None = None
    student_explanation: Span | None = None
    student_solution: Span | None = None
    retokenised: bool | None = None
    overflow: bool = False
    error: str | None = None
