"""Strict reading of the JSON files that stages exchange: a damaged file is named, never guessed at."""

import json
from pathlib import Path
from typing import Any

from genesis.common.errors import UserError


def read_json(path: Path) -> dict[str, Any]:
    """Read a strict JSON object.

    Raises:
        UserError: no such file, not UTF-8, not JSON (with the line), a value that is not finite, or no object.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; `dvc repro` makes it")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); run the stage that writes it again") from error
    return parse_json(path, text)


def parse_json(where: Path | str, text: str) -> dict[str, Any]:
    """A strict JSON object from its text; `where` names the file in errors.

    Raises:
        UserError: not JSON (with the line), a value that is not finite, or no object.
    """
    try:
        values = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where}:{error.lineno}: not JSON ({error.msg}); run the stage that writes it again"
        ) from error
    except ValueError as error:
        raise UserError(f"{where}: {error}; expected strict JSON, where a value that is not finite is null") from error
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a JSON object, found {type(values).__name__}")
    return values


def number(where: Path | str, values: dict[str, Any], name: str, least: float | None = None) -> float | None:
    """The number (or null) that stands under `name`; `where` names the file in errors.

    Raises:
        UserError: the key is missing, the value is something else, or it is below `least`.
    """
    if name not in values:
        raise UserError(f"{where}: {name}: missing; run the stage that writes it again")
    value = values[name]
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise UserError(f"{where}: {name}: expected a number or null, found {value!r}")
    if value is not None and least is not None and value < least:
        raise UserError(f"{where}: {name}: expected at least {least:g}, found {value}")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")
