"""Strict, typed access to the sections of params.yaml and to the agents' files: an unknown key is an error."""

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from genesis.common.errors import UserError

Section = TypeVar("Section")


def load_params(kind: type[Section], section: str, path: Path = Path("params.yaml"), **override: Any) -> Section:
    """Read one section of a params file into the dataclass `kind`; values in `override` replace the section's own.

    Raises:
        UserError: no such file or section, an unknown or missing key, or a value of the wrong type.
    """
    values = read_yaml(path)
    if section not in values:
        raise UserError(f"{path}: no section '{section}'; run `make params` to compose the file from conf/")
    where = f"{path}: {section}"
    own = values[section] or {}
    if not isinstance(own, dict):
        raise UserError(f"{where}: expected a mapping of keys to values, found {own!r}"[:300])
    params = build(kind, own, where)
    if override:
        params = build(kind, {**own, **override}, f"{where}, with {', '.join(override)} of the item's own")
    return params


def build(kind: type[Section], values: dict[str, Any], where: str) -> Section:
    """Fill a dataclass from a mapping, types and keys checked; `where` names the source in errors.

    Raises:
        UserError: names the key.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(kind), values)
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise UserError(f"{where}: missing key '{missing[0]}'")
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        if isinstance(error, ConfigKeyError):
            known = ", ".join(field.name for field in fields(error.object_type))
            raise UserError(f"{where}: unknown key '{error.key}'; known keys: {known}") from error
        raise UserError(f"{where}: {error.full_key}: {str(error).strip().splitlines()[0]}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        UserError: no such file, not YAML (with the line), or not a mapping.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not YAML ({getattr(error, 'problem', error)})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping of keys to values")
    return values


def expect_shares(params: Any, section: str, *names: str) -> None:
    """Each of these fields of a filled dataclass must lie between 0 and 1.

    Raises:
        UserError: names the first that does not.
    """
    for name in names:
        if not 0 <= getattr(params, name) <= 1:
            raise UserError(f"{section}.{name}: expected a share from 0 to 1, found {getattr(params, name)}")


def expect(mapping: Any, key: str, kind: type, where: str) -> Any:
    """The value under `key`, which must be there, of that type and not empty.

    Raises:
        UserError: names `where` and the field.
    """
    value = mapping.get(key) if isinstance(mapping, dict) else None
    if not isinstance(value, kind) or not value:
        raise UserError(f"{where}: field '{key}': expected {kind.__name__}, found {value!r}"[:300])
    return value
