"""Training curves: the train.csv of a stage, read strictly and thinned for drawing."""

import csv
import math
from pathlib import Path
from typing import Any

from genesis.common.chat import read_lines
from genesis.common.errors import UserError

COLUMNS = ("tokens", "loss", "bpb", "reward", "r_ss", "r_kl", "format", "malformed", "copied")
MOST_POINTS = 200


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Step and COLUMNS of a train.csv; an empty cell or a column that it lacks is None.

    Raises:
        UserError: file:line: field of a cell that is not a number, or of a row cut off.
    """
    lines = list(read_lines(path))
    reader = csv.reader(text for _, text in lines)
    header = next(reader, [])
    if "step" not in header:
        raise UserError(f"{path}:1: expected a header with a column 'step'")
    rows = []
    for (line, _), cells in zip(lines[1:], reader, strict=False):
        if len(cells) != len(header):
            raise UserError(f"{path}:{line}: expected {len(header)} fields, found {len(cells)}; run the stage again")
        row = dict(zip(header, cells, strict=True))
        rows.append({name: _cell(row.get(name, ""), f"{path}:{line}: {name}") for name in ("step", *COLUMNS)})
    return rows


def thin(rows: list[dict[str, Any]], most: int = MOST_POINTS) -> list[dict[str, Any]]:
    """At most so many rows, evenly spread, both ends among them; rows with an evaluation are rare and go last."""
    if len(rows) <= most:
        return rows
    scored = [index for index, row in enumerate(rows) if row["bpb"] is not None]
    kept = {0, len(rows) - 1, *_spread(scored, most // 2)}
    others = [index for index in range(len(rows)) if index not in kept]
    kept.update(_spread(others, most - len(kept)))
    return [rows[index] for index in sorted(kept)]


def _spread(items: list[int], most: int) -> list[int]:
    if len(items) <= most:
        return items
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]


def _cell(text: str, where: str) -> float | int | None:
    try:
        value = float(text) if text.strip() else math.nan
    except ValueError:
        raise UserError(f"{where}: expected a number, found '{text}'") from None
    if not math.isfinite(value):
        return None
    return int(text) if text.strip().isdecimal() else value
