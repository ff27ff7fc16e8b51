"""What every evaluation writes: records.jsonl, one row an example, and summary.json.

A grader that cannot read an answer says so (``verdict: None``): the example is counted as unparsed, never as wrong or
right in silence; an example that could not be run at all is counted as failed.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genesis.common.chat import write_json, write_jsonl
from genesis.common.errors import UserError

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Record:
    """One example's outcome.

    Attributes:
        id: the example's identity in its set.
        output: what the model answered (or the index of the option it chose).
        verdict: True right, False wrong, None not readable by the grader.
        grader: the grader's name.
        seconds: time the example took (its share of its batch).
        failed: what went wrong where the example could not be run, else None.
        meta: anything else worth keeping (part, task, gold answer, …).
    """

    id: str
    output: Any
    verdict: bool | None
    grader: str
    seconds: float
    failed: str | None = None
    meta: dict[str, Any] | None = None


def wilson_interval(successes: int, n: int) -> tuple[float, float] | None:
    """The 95 % Wilson score interval of a share; None for n = 0 (Wilson 1927)."""
    if n == 0:
        return None
    share = successes / n
    centre = share + Z_95**2 / (2 * n)
    spread = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n * n))
    scale = 1 + Z_95**2 / n
    low = 0.0 if successes == 0 else (centre - spread) / scale  # exactly so: rounding leaves 5e-17
    high = 1.0 if successes == n else (centre + spread) / scale
    return low, high


def reduction(after: tuple[int, int], before: tuple[int, int]) -> tuple[float, float, float] | None:
    """1 − the share `after` ÷ the share `before`, each (successes, n), with a 95 % interval; None where `before` is 0.

    The interval is MOVER-R (Donner and Zou 2012) on the two Wilson intervals, which stays sound at 0 successes, where a
    bootstrap sees no spread. It takes the two samples for independent; two models asked the same prompts tend to fail on
    the same ones, which makes it too wide rather than too narrow.
    """
    ends_after, ends_before = wilson_interval(*after), wilson_interval(*before)
    if ends_after is None or ends_before is None or before[0] == 0:
        return None
    share, base = after[0] / after[1], before[0] / before[1]
    (low, high), (low_base, high_base) = ends_after, ends_before
    least = _ratio_end(share, base, low, high_base, -1)
    most = _ratio_end(share, base, high, low_base, 1)
    return 1 - share / base, 1 - most, 1 - least


def _ratio_end(share: float, base: float, end: float, end_base: float, side: int) -> float:
    """The root of (share − x · base)² = (share − end)² + x² (base − end_base)² on one side of share ÷ base."""
    a, c = end_base * (2 * base - end_base), end * (2 * share - end)
    root = math.sqrt(max(0.0, (share * base) ** 2 - a * c))
    # of the two forms of a quadratic's root, the one that does not take a difference of near-equal numbers
    return (share * base + root) / a if side > 0 else c / (share * base + root) if c else 0.0


def summarise(records: list[Record]) -> dict[str, Any]:
    """Accuracy over the examples that ran (unparsed answers count as not right), with its interval and the counts."""
    ran = [record for record in records if record.failed is None]
    right = sum(record.verdict is True for record in ran)
    return {
        "accuracy": right / len(ran) if ran else None,
        "interval": wilson_interval(right, len(ran)),
        "n": len(records),
        "n_right": right,
        "n_failed": len(records) - len(ran),
        "n_unparsed": sum(record.verdict is None for record in ran),
    }


def check_failures(records: list[Record], most: float, name: str) -> None:
    """Refuse to score a run in which more than the share `most` of the examples could not be run.

    Raises:
        UserError: with the count and the first failure.
    """
    failed = [record for record in records if record.failed is not None]
    if records and len(failed) / len(records) > most:
        raise UserError(
            f"{name}: {len(failed)} of {len(records)} examples failed (at most {most:.0%} may); "
            f"the first, {failed[0].id}: {failed[0].failed}"
        )


def write_results(out: Path, records: list[Record], summary: dict[str, Any]) -> None:
    """Write records.jsonl and summary.json into the folder `out`."""
    write_jsonl(out / "records.jsonl", (asdict(record) for record in records))
    write_json(out / "summary.json", summary)
