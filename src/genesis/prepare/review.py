"""Review sheets: rows that a person judges by writing ok or reject beside them; a rejected row never trains again.

A sheet is data/review/<name>.csv with the columns id and verdict and what the reviewer needs to see. Its ids are stable,
so verdicts hold while other rows come and go.
"""

import csv
import io
from pathlib import Path
from typing import Protocol

from genesis.common.chat import read_text
from genesis.common.errors import UserError
from genesis.prepare.quality import fingerprint

REVIEW = Path("data/review")
VERDICTS = ("", "ok", "reject")


class ReviewParams(Protocol):
    """What a section says of reviews: rows on the sheet, the share to be judged, and warn or fail below it."""

    review_rows: int
    min_reviewed: float
    unreviewed: str


def rejected(name: str, folder: Path = REVIEW) -> list[str]:
    """Ids of the rows that a person rejected in the review sheet."""
    return sorted(row["id"] for row in review_rows(name, folder) if row["verdict"] == "reject")


def review_rows(name: str, folder: Path = REVIEW) -> list[dict[str, str]]:
    """Rows of the review sheet, verdicts in lower case; none where there is no sheet yet.

    Raises:
        UserError: a sheet without the columns id and verdict, or a verdict that is not one.
    """
    path = folder / f"{name}.csv"
    if not path.is_file():
        return []
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="")
    if not {"id", "verdict"} <= set(reader.fieldnames or []):
        raise UserError(f"{path}:1: expected the columns id and verdict, found {reader.fieldnames}")
    rows = []
    for row in reader:
        row["verdict"] = row["verdict"].strip().lower()
        if row["verdict"] not in VERDICTS:
            raise UserError(
                f"{path}:{reader.line_num}: verdict: expected ok, reject or nothing, found '{row['verdict']}'"
            )
        rows.append(row)
    return rows


def review_sheet(
    section: str, name: str, rows: list[dict[str, str]], params: ReviewParams, folder: Path = REVIEW
) -> dict[str, float]:
    """Write a sheet of some of the rows where there is none (verdicts are never overwritten) and hold it to the params.

    Args:
        section: the section of params.yaml, for messages.
        name: the sheet's.
        rows: all rows that may stand on it, each with an `id` and the columns to show.

    Returns:
        {"reviewed": share of the sheet that has a verdict}.

    Raises:
        UserError: too few verdicts where `unreviewed` is fail, or a sheet that cannot be read.
    """
    if params.unreviewed not in ("warn", "fail"):
        raise UserError(f"{section}.unreviewed: expected warn or fail, found '{params.unreviewed}'")
    sheet = review_rows(name, folder)
    if not sheet:
        sample = sorted(rows, key=lambda row: fingerprint("review" + row["prompt"]))[: params.review_rows]
        sheet = [{**row, "verdict": ""} for row in sample]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*rows[0], "verdict"] if rows else ["id", "verdict"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(sheet)
    share = sum(bool(row["verdict"]) for row in sheet) / len(sheet) if sheet else 0.0
    if share < params.min_reviewed:
        text = f"{name}: {share:.0%} of {folder / name}.csv is reviewed, less than {params.min_reviewed:.0%}"
        if params.unreviewed == "fail":
            raise UserError(f"{text}; write 'ok' or 'reject' in its verdict column, or lower {section}.min_reviewed")
        print(f"{section}: {text}")
    return {"reviewed": share}
