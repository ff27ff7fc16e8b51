"""What every evaluation writes: records.jsonl, one row an example, and summary.json.

A grader that cannot read an answer says so (``verdict: None``): the example is counted as unparsed, never as wrong or
right in silence; an example that could not be run at all is counted as failed.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genesis.chat import write_json, write_jsonl
from genesis.errors import UserError

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
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


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
