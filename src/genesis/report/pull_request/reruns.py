"""Which stages ran again, and why, from two states of dvc.lock; and what their measured time costs."""

from dataclasses import dataclass, field
from typing import Any

from genesis.costs.formulas import cost_usd, seconds_to_hours, total
from genesis.report.pull_request.sides import Side


@dataclass
class Rerun:
    """A stage, all its items together, that ran again: what the change touched, and which stages it follows."""

    stage: str
    items: list[str] = field(default_factory=list)
    causes: set[str] = field(default_factory=set)
    follows: set[str] = field(default_factory=set)
    of: int = 0
    seconds: float | None = None
    usd: float | None = None


def reruns(base: Side, head: Side) -> list[Rerun]:
    """Stages whose entry in dvc.lock differs, in the pipeline's order, with the measured cost of their new outs.

    Raises:
        UserError: a damaged dvc.lock, usage or cost file; names side and file.
    """
    old, new = (side.yaml("dvc.lock").get("stages") or {} for side in (base, head))
    makers = {out["path"]: name.partition("@")[0] for name, entry in new.items() for out in entry.get("outs", [])}
    found: dict[str, Rerun] = {}
    for name, entry in new.items():
        if entry == old.get(name):
            continue
        stage, _, item = name.partition("@")
        rerun = found.setdefault(stage, Rerun(stage))
        rerun.items += [item] if item else []
        if name not in old:
            rerun.causes.add("new stage" if not item else "new item")
            continue
        causes, follows = _why(old[name], entry, makers)
        rerun.causes |= causes
        rerun.follows |= follows
    for stage, rerun in found.items():
        rerun.of = sum(name.partition("@")[0] == stage for name in new)
        rerun.follows &= set(found)
        rerun.seconds, rerun.usd = _spent(base, head, stage)
    return list(found.values())


def stages_left_out(base: Side, head: Side) -> list[str]:
    """Stages that only the base has."""
    old, new = (side.yaml("dvc.lock").get("stages") or {} for side in (base, head))
    return [name for name in old if name not in new]


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings under dotted names; a list is one leaf."""
    if not isinstance(values, dict):
        return {prefix: values}
    return {name: leaf for key, value in values.items() for name, leaf in flat(value, _dotted(prefix, key)).items()}


def differing(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Leaves that differ, with the value of each side; `ABSENT` where a side has none."""
    before, after = flat(old), flat(new)
    names = dict.fromkeys([*after, *before])
    pairs = {name: (before.get(name, ABSENT), after.get(name, ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


class _Absent:
    """What stands for a value that one side does not have; equal to itself alone."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


def _why(old: dict[str, Any], new: dict[str, Any], makers: dict[str, str]) -> tuple[set[str], set[str]]:
    """Parameters and files that the change touched, and stages whose outs differ."""
    causes = {"its command"} if old["cmd"] != new["cmd"] else set()
    for file in {*old.get("params", {}), *new.get("params", {})}:
        keys = differing(old.get("params", {}).get(file) or {}, new.get("params", {}).get(file) or {})
        causes |= {key if file == "params.yaml" else f"{file}: {key}".removesuffix(": ") for key in keys}
    follows = set()
    before, after = ({dep["path"]: dep.get("md5") for dep in entry.get("deps", [])} for entry in (old, new))
    for path in {*before, *after}:
        if before.get(path) != after.get(path):
            maker = next((stage for out, stage in makers.items() if path == out or path.startswith(f"{out}/")), None)
            # a folder that several stages write into is made by all of them
            inside = {stage for out, stage in makers.items() if out.startswith(f"{path}/")}
            follows |= {maker} if maker else inside
            causes |= set() if maker or inside else {path}
    return causes, follows


def _spent(base: Side, head: Side, stage: str) -> tuple[float | None, float | None]:
    """Active seconds and dollars of a stage's items whose usage differs from the base's; None where none is measured."""
    old, new = (side.json("metrics/usage.json") or {} for side in (base, head))
    rows = [row for name, row in new.items() if name.partition("@")[0] == stage and row != old.get(name)]
    known = [row["active_s"] for row in rows if row.get("active_s") is not None]
    if not known:
        return None, None
    cost = head.json("metrics/cost.json") or {}
    price = cost.get("declared", {}).get("price", {}).get("usd_per_hour")
    seconds = total(known)
    return seconds, None if price is None else cost_usd(seconds_to_hours(seconds), price)


def _dotted(prefix: str, key: Any) -> str:
    return f"{prefix}.{key}" if prefix else str(key)
