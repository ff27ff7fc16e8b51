"""Rows of the tables that users bring: CSV, TSV, JSON Lines and parquet, plain or compressed, and hub data sets.

Every row comes with the place it stands at, which an error about it names.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genesis.common.chat import read_jsonl, read_parquet, read_text
from genesis.common.errors import UserError

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
COMPRESSED = (".gz", ".xz", ".bz2", ".zst")


def table_kind(path: Path) -> str:
    """The ending that tells a file's format: `rows.csv.gz` is a .csv."""
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def file_rows(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (file:line, row) of a table, or of every table of a folder in the order of their names.

    Raises:
        UserError: no table there, or a file that cannot be read (with the line).
    """
    paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    paths = [path for path in paths if table_kind(path) in TABLES]
    if not paths:
        raise UserError(f"{root}: no file of {', '.join(TABLES)} (each may be compressed)")
    for path in paths:
        yield from ((f"{path}:{line}", row) for line, row in read_table(path))


def hub_rows(path: str, config: str | None, split: str, revision: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (set[split]:number, row) of a hub data set, or of a local folder in the hub's layout."""
    from genesis.hub import stream

    rows = stream(path, config, split, revision)
    return ((f"{path}[{split}]:{number}", row) for number, row in enumerate(rows, start=1))


def read_table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, row) of one table; of a parquet file the row's number.

    Raises:
        UserError: an unknown ending, or a file that cannot be read (with the line).
    """
    kind = table_kind(path)
    if kind in (".jsonl", ".ndjson"):
        return read_jsonl(path)
    if kind == ".parquet":
        return read_parquet(path)
    if kind in (".csv", ".tsv"):
        return _csv_rows(path, "\t" if kind == ".tsv" else ",")
    raise UserError(f"{path}: expected {', '.join(TABLES)} (or one of them compressed)")


def _csv_rows(path: Path, delimiter: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with the line each begins on."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        header = reader.fieldnames or []
        line = reader.line_num + 1
        for row in reader:
            if None in row or None in row.values():
                raise UserError(
                    f"{path}:{line}: expected {len(header)} fields ({', '.join(header)}), found another number"
                )
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{line}: not CSV ({error}); quote texts that hold quotes or commas") from error
