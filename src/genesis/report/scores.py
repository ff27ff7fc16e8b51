"""An accuracy with its 95 % interval, read from an evaluation's summary, and the mean of several with theirs."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesis.common.errors import UserError
from genesis.common.jsonfile import number


@dataclass(frozen=True)
class Score:
    """An accuracy, the ends of its 95 % interval, how many examples ran; None where not measured.

    `clean` is the accuracy without the examples whose text was seen in training, where an evaluation looks for them.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clean: float | None = None

    def keys(self, name: str) -> dict[str, float | None]:
        """As three flat metrics."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def read_score(path: Path, summaries: dict[str, Any], name: str) -> Score:
    """One part of a summary; empty where the part is absent or none of its examples ran.

    Raises:
        UserError: names the file and field that is not as an evaluation writes it.
    """
    if name not in summaries:
        return Score()
    part, where = summaries[name], f"{path}: {name}"
    if not isinstance(part, dict):
        raise UserError(f"{where}: expected a mapping, found {part!r}")
    value, n, failed = (number(where, part, key, least=0) for key in ("accuracy", "n", "n_failed"))
    if value is None:
        return Score()
    ends = part.get("interval")
    if not isinstance(ends, list) or len(ends) != 2 or None in (*ends, n, failed) or n <= failed:
        raise UserError(f"{where}: an accuracy needs n, n_failed and an interval of two numbers; found {part}")
    low, high = (number(where, {"interval": end}, "interval") for end in ends)
    clean = number(where, part, "clean_accuracy") if "clean_accuracy" in part else None
    return Score(value, low, high, int(n - failed), clean)


def combine(scores: list[Score], by_size: bool = False) -> Score:
    """The mean of independent accuracies, each counted once or by its number of examples.

    The interval comes from the parts' own intervals (variance recovery, Zou and Donner 2008): the distances from value
    to end are added as standard errors are, so shares near 0 and 1 keep their lopsided intervals.
    """
    if not scores:
        return Score()
    sizes = [score.n if by_size else 1 for score in scores]
    weights = [size / sum(sizes) for size in sizes]
    value = math.fsum(w * score.value for w, score in zip(weights, scores, strict=True))
    below = math.hypot(*(w * (score.value - score.low) for w, score in zip(weights, scores, strict=True)))
    above = math.hypot(*(w * (score.high - score.value) for w, score in zip(weights, scores, strict=True)))
    return Score(value, max(0.0, value - below), min(1.0, value + above), sum(score.n for score in scores))
