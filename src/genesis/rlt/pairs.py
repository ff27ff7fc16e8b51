"""The question-solution pairs that the RLT stages read from the safety data."""

from pathlib import Path
from typing import Any

from genesis.common.chat import raise_first, read_jsonl

PARTS = ("student", "teacher")


def read_pairs(path: Path, part: str | None = None, traced: bool = False) -> list[dict[str, Any]]:
    """Rows of a file of safety_data.

    Args:
        path: train.jsonl, val.jsonl or test.jsonl.
        part: only the families of the student or of the teacher.
        traced: every row must have a reasoning trace to learn from.

    Raises:
        UserError: file, line and field of the first row without what is needed, and the count of all.
    """
    rows, problems = [], []
    for number, row in read_jsonl(path):
        if part is not None and row.get("part") != part:
            continue
        for field in ("question", "solution", "reasoning_trace") if traced else ("question", "solution"):
            if not isinstance(row.get(field), str) or not row[field].strip():
                problems.append(
                    f"{path}:{number}: field '{field}': expected text, found {row.get(field)!r}; "
                    "give the source traces or leave it out of training"
                )
                break
        rows.append(row)
    raise_first(problems)
    return rows
