"""Messages, chat records, and reading and writing the files that rows come from.

A record is ``{"id", "messages": [{"role", "content"}, …], "meta"}``; a pair is ``{"prompt", "completion", …}``.
"""

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

from genesis.common.errors import UserError


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


ROLES = ("system", "user", "assistant")
_OPENERS = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
_DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error)


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading bytes, decompressed by its suffix: .gz, .xz, .bz2, .zst or none."""
    if path.suffix == ".zst":
        import pyarrow  # zstandard's own reader takes a file that was cut off for a whole one

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return _OPENERS.get(path.suffix, open)(path, "rb")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of a UTF-8 file, decompressed by its suffix, blank lines left out.

    Raises:
        UserError: the file is absent, damaged or not UTF-8 (with the line).
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    number = 0
    try:
        with open_binary(path) as file:
            for number, raw in enumerate(file, start=1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{number}: not UTF-8 ({error.reason}); convert the file to UTF-8") from error
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def read_text(path: Path) -> str:
    """Read a UTF-8 file whole, decompressed by its suffix, line ends as they are.

    Raises:
        UserError: the file is absent, damaged or not UTF-8 (with the line).
    """
    data = _read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 ({error.reason}); convert the file to UTF-8") from error


def read_parquet(path: Path, columns: list[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number, row) of a parquet file, batch by batch; a compressed one is unpacked into memory first.

    Raises:
        UserError: the file is absent, damaged or lacks one of the columns.
    """
    import pyarrow.parquet as parquet
    from pyarrow import ArrowException

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        file = parquet.ParquetFile(path if path.suffix == ".parquet" else io.BytesIO(_read_bytes(path)))
        for column in columns or []:
            if column not in file.schema_arrow.names:
                raise UserError(f"{path}: no column '{column}'; it has {', '.join(file.schema_arrow.names)}")
        batches = file.iter_batches(columns=columns)
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
    except (ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with open_binary(path) as file:
            return file.read()
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be read, perhaps damaged ({error}); fetch it again")


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON Lines file.

    Raises:
        UserError: a line is not a JSON object of writable text; names file and line.
    """
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
            if "\\u" in line:  # half a surrogate pair can be escaped, but never written as UTF-8
                json.dumps(row, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: not JSON ({error.msg} at column {error.colno})") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: JSON that cannot be used ({error})") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: expected a JSON object, found {type(row).__name__}")
        yield number, row


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as strict JSON Lines (a value that is not finite is an error)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def write_json(path: Path, value: Any) -> None:
    """Write strict, indented JSON through a temporary file, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def message_problem(messages: Any) -> str | None:
    """Say what is wrong with a conversation, or None: roles known, turns alternate, contents not empty."""
    if not isinstance(messages, list) or not messages:
        return "field 'messages': expected a list of turns"
    expected = "user"
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            return f"field 'messages[{index}].role': expected one of {', '.join(ROLES)}"
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            return f"field 'messages[{index}].content': expected text, found nothing"
        if message["role"] == "system":
            if index:
                return f"field 'messages[{index}].role': a system message stands first or not at all"
            continue
        if message["role"] != expected:
            return f"field 'messages[{index}].role': expected {expected}, found {message['role']}"
        expected = "assistant" if expected == "user" else "user"
    if messages[-1]["role"] != "assistant":
        return "field 'messages': the last turn must be the assistant's"
    return None


def read_conversations(path: Path) -> list[dict[str, Any]]:
    """Read chat records whole.

    Raises:
        UserError: names file, line and field of the first bad record, and the count of all.
    """
    records, problems = [], []
    for number, row in read_jsonl(path):
        problem = message_problem(row.get("messages"))
        if problem:
            problems.append(f"{path}:{number}: {problem}")
        else:
            records.append(row)
    raise_first(problems)
    return records


def raise_first(problems: list[str]) -> None:
    """Raise UserError with the first problem and how many there are in all; return when there are none."""
    if problems:
        more = f" ({len(problems)} problems in all)" if len(problems) > 1 else ""
        raise UserError(problems[0] + more)


def user_turn(text: str) -> list[Message]:
    """The conversation that a plain prompt stands for."""
    return [{"role": "user", "content": text}]
