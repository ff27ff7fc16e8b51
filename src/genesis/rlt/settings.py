"""Section `rlt`: what teacher and student are told, and the reward's weights; student, rlt_sft, rlt_rl and traces share it."""

from dataclasses import dataclass

from genesis.common.errors import UserError
from genesis.rlt.prompts import STUDENT_SYSTEM, TEACHER_SYSTEM


@dataclass
class Rlt:
    """Section `rlt`.

    Attributes:
        teacher_system, student_system: system messages: `rlt` for those of the RLT paper's data, nothing for none (a tiny model
            has no use for 300 tokens of instructions), else the text itself.
        temperature: of sampling, and of all log-probabilities in the reward.
        kl_weight, extreme_weight, malformed_penalty: λ, the weight of minimum and maximum, and m of the reward.
        on_overflow: a text longer than a model's context is given no reward (`drop`) or is an error (`refuse`).
    """

    teacher_system: str = "rlt"
    student_system: str = "rlt"
    temperature: float = 0.7
    kl_weight: float = 3.0
    extreme_weight: float = 0.01
    malformed_penalty: float = -1.0
    on_overflow: str = "drop"

    def __post_init__(self):
        """Refuse a word that would mean nothing."""
        if self.on_overflow not in ("drop", "refuse"):
            raise UserError(f"rlt.on_overflow: expected drop or refuse, found {self.on_overflow!r}")

    @property
    def systems(self) -> dict[str, str | None]:
        """Both messages as a Case takes them."""
        return {
            "teacher_system": _message(self.teacher_system, TEACHER_SYSTEM),
            "student_system": _message(self.student_system, STUDENT_SYSTEM),
        }


def _message(text: str, default: str) -> str | None:
    return default if text == "rlt" else text or None
