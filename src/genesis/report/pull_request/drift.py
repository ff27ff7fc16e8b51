"""How params.yaml differs from what conf/ composes: an experiment sets values that conf/ does not have yet."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genesis.common.errors import UserError
from genesis.report.pull_request.reruns import differing


@dataclass(frozen=True)
class Drift:
    """The profile that comes nearest, and the values in which params.yaml differs: (composed, found)."""

    profile: str
    values: dict[str, tuple[Any, Any]]


def compose(root: Path, out: Path, overrides: list[str]) -> None:
    """Compose conf/ as `make params` and `dvc exp run -S` do.

    Raises:
        UserError: an override or a file in conf/ that Hydra refuses.
    """
    from dvc.utils.hydra import compose_and_dump
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        compose_and_dump(out, str((root / "conf").resolve()), None, "config", "", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"conf/: {str(error).strip().splitlines()[0]}") from error


def default_drift(root: Path) -> dict[str, tuple[Any, Any]]:
    """Values in which params.yaml differs from the default profile.

    Raises:
        UserError: no params.yaml, or a conf/ that does not compose.
    """
    return _differing(root, [])


def nearest_drift(root: Path) -> Drift:
    """The profile with the fewest differing values, and these values.

    Raises:
        UserError: no params.yaml, or a conf/ that does not compose.
    """
    names = sorted(path.stem for path in (root / "conf/profile").glob("*.yaml"))
    drifts = [Drift(name, _differing(root, [f"profile={name}"])) for name in names]
    if not drifts:
        return Drift("default", default_drift(root))
    return min(drifts, key=lambda drift: len(drift.values))


def _differing(root: Path, overrides: list[str]) -> dict[str, tuple[Any, Any]]:
    path = root / "params.yaml"
    if not path.is_file():
        raise UserError(f"{path}: no such file; `make params` composes it from conf/")
    with tempfile.TemporaryDirectory() as folder:
        composed = Path(folder) / "params.yaml"
        compose(root, composed, overrides)
        old, new = (yaml.safe_load(each.read_text(encoding="utf-8")) or {} for each in (composed, path))
    return differing(old, new)
