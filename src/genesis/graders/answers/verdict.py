"""What every grader returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """A grader's reading of one reply.

    Attributes:
        correct: True right, False wrong, None where the reply cannot be read (empty, no number, no code, …).
        detail: what was read or why it is wrong, for the record.
    """

    correct: bool | None
    detail: str = ""
