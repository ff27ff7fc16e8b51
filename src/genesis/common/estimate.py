"""How long a stage will take, from the last time that it ran; where it never ran on such a device, from the declared plan.

The last run is the out's own usage.json, else metrics/usage.json (in git, so a fresh clone knows it, too). dvc.lock holds the
parameters of that run: where nothing but steps or epochs changed since, the time is scaled.
"""

import functools
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genesis.common.errors import UserError
from genesis.common.jsonfile import number, read_json
from genesis.common.params import read_yaml
from genesis.common.prices import Cost, own_price

SCALES = ("steps", "epochs")
PLANNED = {"rlt_sft": "rlt_sft_hours", "rlt_rl": "rlt_rl_hours", "finetune": "agent_hours"}


@dataclass(frozen=True)
class Estimate:
    """Node seconds, None where nothing is known, and where the figure comes from."""

    seconds: float | None
    source: str


def estimate(stage: str, item: str | None, cost: Cost, root: Path, out: Path | None = None) -> Estimate:
    """What a run of this stage is expected to take on the node `cost.node`.

    Args:
        root: the folder of params.yaml, dvc.lock and metrics/.
        out: the stage's finished out, where it stands.

    Raises:
        UserError: a damaged usage file, price list or declared file.
    """
    gpu = own_price(cost).gpu_count > 0
    name = f"{stage}@{item}" if item else stage
    seconds, where = _last_run(name, root, out, gpu)
    if seconds is not None:
        changed = changes(name, root)
        sizes = [key for key in changed if key.split(".")[-1] in SCALES]
        if not changed:
            return Estimate(seconds, f"measured: {where}")
        if len(sizes) == len(changed) and all(old and new is not None for old, new in changed.values()):
            ratio = math.prod(new / old for old, new in changed.values())
            return Estimate(seconds * ratio, f"measured: {where}, × {ratio:.3g} for {', '.join(sizes)}")
        return Estimate(seconds, f"measured with other parameters: {where}")
    if gpu and stage in PLANNED:
        hours = read_yaml(root / cost.declared)["plan"][PLANNED[stage]]
        return Estimate(hours * 3600, f"declared: plan.{PLANNED[stage]}")
    return Estimate(None, "never measured on such a node")


def changes(name: str, root: Path) -> dict[str, tuple[Any, Any]]:
    """Parameters whose value differs from the one in dvc.lock, by dotted key: (then, now)."""
    path = root / "dvc.lock"
    stages = _locked(path, path.stat().st_mtime_ns) if path.is_file() else {}
    found = {}
    for source, then in (stages.get(name, {}).get("params") or {}).items():
        now = _flat(read_yaml(root / source)) if (root / source).is_file() else {}
        old = _flat(then)
        for key in sorted({*old, *(key for key in now if any(f"{key}.".startswith(f"{top}.") for top in then))}):
            if old.get(key) != now.get(key):
                found[key] = (old.get(key), now.get(key))
    return found


@functools.lru_cache(maxsize=1)
def _locked(path: Path, written_ns: int) -> dict[str, Any]:
    """The stages of dvc.lock, parsed once for a whole plan.

    DVC writes the file in place and other stages may run beside this one, so a half-written file is read again.

    Raises:
        UserError: it stays unreadable.
    """
    for wait_s in (0.1, 0.2, 0.4, 0.8, 1.6, 0.0):
        try:
            text = path.read_text(encoding="utf-8")
            return (yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}).get("stages", {})
        except yaml.YAMLError as error:
            problem = str(error).strip().splitlines()[0]
        time.sleep(wait_s)
    raise UserError(f"{path}: not YAML ({problem}); take the committed file back: git checkout dvc.lock")


def _last_run(name: str, root: Path, out: Path | None, gpu: bool) -> tuple[float | None, str]:
    """Seconds and file of the last run on a device of the same kind."""
    if out and (out / "usage.json").is_file():
        path = out / "usage.json"
        values = read_json(path)
        return _if_alike(path, values, (values.get("device") or {}).get("name"), gpu)
    path = root / "metrics/usage.json"
    row = read_json(path).get(name) if path.is_file() else None
    return _if_alike(path, row, row["device"], gpu) if row else (None, "")


def _if_alike(path: Path, values: dict[str, Any], device: str | None, gpu: bool) -> tuple[float | None, str]:
    if device is None or (device != "cpu") != gpu:
        return None, ""
    return number(path, values, "active_s", least=0), "/".join(path.parts[-2:])


def _flat(values: Any, key: str = "") -> dict[str, Any]:
    """Leaves by dotted key; a list is a leaf."""
    if not isinstance(values, Mapping):
        return {key: values}
    return {k: v for name, inner in values.items() for k, v in _flat(inner, f"{key}.{name}" if key else name).items()}
