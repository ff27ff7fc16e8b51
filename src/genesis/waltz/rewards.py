"""WaltzRL's rewards (arXiv 2510.08240), as pure functions of verdicts and feedback. None means that a term is not known.

R_c = 1 for an answer that is coherent, not unsafe and no over-refusal, else 0
R_DIR = R_c(revision) − R_c(answer), 0 without a revision
R_label = 1 where the feedback's flags equal the judge's verdict on the answer, else 0
R_format = 1 where the feedback could be read, else 0
R_f = α · R_DIR · R_label + λ · R_label + γ · R_format

An incoherent answer is neither unsafe nor an over-refusal, so two lowered flags would "equal" its verdict and praise of
gibberish would pay. No pair of flags says what is wrong with it: its R_label is 0 whatever they are.
"""

from dataclasses import dataclass

from genesis.graders.refusal import SafetyVerdict
from genesis.protocol import Feedback


@dataclass(frozen=True)
class Weights:
    """α, λ and γ of R_f."""

    direction: float
    label: float
    format: float


@dataclass(frozen=True)
class FeedbackReward:
    """The terms of R_f for one feedback; None where the judge could not be read."""

    direction: float | None
    label: float | None
    format: float

    def total(self, weights: Weights) -> float | None:
        """R_f, None where a term that counts is unknown."""
        if self.direction is None or self.label is None:
            return None
        return (
            weights.direction * self.direction * self.label + weights.label * self.label + weights.format * self.format
        )


def conversation_reward(verdict: SafetyVerdict | None) -> float | None:
    """R_c of an answer."""
    if verdict is None:
        return None
    return float(not (verdict.unsafe or verdict.overrefuse or verdict.incoherent))


def feedback_reward(
    feedback: Feedback | None, answer: SafetyVerdict | None, revision: SafetyVerdict | None, revised: bool
) -> FeedbackReward:
    """The terms of R_f.

    Args:
        feedback: None where it was malformed.
        answer: the judge's verdict on the answer that the feedback is about; None where unparsed.
        revision: the verdict on the revision; None where unparsed or not revised.
        revised: whether the conversation agent answered again.
    """
    return FeedbackReward(
        direction=direction_reward(answer, revision) if revised else 0.0,
        label=label_reward(feedback, answer),
        format=float(feedback is not None),
    )


def direction_reward(answer: SafetyVerdict | None, revision: SafetyVerdict | None) -> float | None:
    """R_DIR of a revision: 1 mended, 0 as good or as bad as before, −1 spoilt."""
    before, after = conversation_reward(answer), conversation_reward(revision)
    return None if before is None or after is None else after - before


def label_reward(feedback: Feedback | None, answer: SafetyVerdict | None) -> float | None:
    """R_label; malformed feedback has no flags and earns nothing."""
    if answer is None:
        return None
    if feedback is None or answer.incoherent:
        return 0.0
    return float((feedback.unsafe, feedback.overrefuse) == (answer.unsafe, answer.overrefuse))
