"""Which metrics moved between two sides, which way is better, and whether the move is more than noise.

Where a metric carries a 95 % interval (`<key>_low`, `<key>_high`), a move is noise when zero lies within the interval of
the difference, recovered from both intervals (Newcombe 1998, method 10). Timings, and dollars counted from them, differ
from run to run and have a declared band instead. A metric that no rule knows shows no mark.
"""

import math
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from genesis.common.jsonfile import number
from genesis.report import figures as f
from genesis.report.pull_request.sides import Side

UP, DOWN = 1, -1
TIMING = 0.1  # share by which two timings of the same work may differ
BETTER, WORSE, NOISE, UNJUDGED, NEW, LOST = (
    "better",
    "worse",
    "within noise",
    "",
    "newly measured",
    "no longer measured",
)
ENDS = ("_low", "_high")


@dataclass(frozen=True)
class Rule:
    """How keys of one form are judged and written: which way is better (0: neither), the unit, the band of noise."""

    pattern: str
    better: int
    unit: str
    noise: float = 0.0


# The first that fits counts.
RULES = (
    Rule("*_bpb_start", 0, "number"),
    Rule("*_loss_start", 0, "number"),
    Rule("*tokens_per_s", UP, "amount", TIMING),
    Rule("*_latency_p??_s", DOWN, "seconds", TIMING),
    Rule("*_loss", DOWN, "number"),
    Rule("*_bpb", DOWN, "number"),
    Rule("*_bpb_ratio", DOWN, "number"),
    Rule("*_packing_kept", UP, "share"),
    Rule("*_bytes_per_token", UP, "number"),
    Rule("*_parameters", 0, "amount"),
    Rule("*_tokens", 0, "amount"),
    Rule("*_bytes", 0, "amount"),
    Rule("core*_v1", 0, "score"),  # these follow the mean, without an interval of their own
    Rule("core*_clean", 0, "score"),
    Rule("core*", UP, "score"),
    Rule("*_centered", 0, "score"),  # says again what the accuracy says
    Rule("*_accuracy", UP, "share"),
    Rule("plan_usd", 0, "usd"),
    Rule("baseline_usd", 0, "usd"),
    Rule("savings*_usd", UP, "usd", TIMING),
    Rule("*_saved*_usd", UP, "usd", TIMING),
    Rule("savings*_share", UP, "share"),
    Rule("inference_share_of_api", DOWN, "share", TIMING),
    Rule("*usd*", DOWN, "usd", TIMING),
    Rule("*_hours", DOWN, "hours", TIMING),
    Rule("*_rate_pair", DOWN, "share"),
    Rule("*_rate_*", 0, "share"),
    Rule("*_reduction", UP, "share"),
    Rule("*_gain", UP, "share"),
    Rule("*_before", 0, "share"),
    Rule("*_before_scenarios", 0, "share"),
    Rule("*_new_values", UP, "share"),
    Rule("*_unseen_frames", UP, "share"),
    Rule("*_held_out", UP, "share"),
    Rule("*_scenarios", UP, "share"),
    Rule("*_clean", UP, "share"),
    Rule("*_gsm8k", UP, "share"),
    Rule("*_humaneval", UP, "share"),
)
UNKNOWN = Rule("*", 0, "number")
# Figures that say again what another says, or one of many of a kind: folded away.
DETAILS = ("*_clean", "core_v1", "core_mini_v1", "pretrain_bpb_ratio", "*_start", "*_scenarios_before", "worst_*")
MONEY = (
    "total_usd",
    "training_usd",
    "rlt_usd",
    "marginal_next_agent_usd",
    "savings_share",
    "usd_per_1000_tokens_generated",
)


@dataclass(frozen=True)
class Value:
    """A metric on one side: its value and, where it has one, its 95 % interval; None where not measured."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None


@dataclass(frozen=True)
class Change:
    """One metric that differs between the sides."""

    file: str
    key: str
    old: Value
    new: Value
    detail: bool

    @property
    def rule(self) -> Rule:
        """How the metric is judged."""
        return next((rule for rule in RULES if fnmatchcase(self.key, rule.pattern)), UNKNOWN)

    @property
    def unseen(self) -> bool:
        """Whether both sides read the same at the precision that is shown."""
        return shown(self.old, self.rule.unit) == shown(self.new, self.rule.unit)

    @property
    def priced(self) -> bool:
        """Whether it is a timing or money, which say what a result cost and not how good it is."""
        return self.file.endswith("cost.json") or self.rule.noise > 0

    @property
    def verdict(self) -> str:
        """Better, worse, within noise, newly or no longer measured; empty where no direction is known."""
        if self.old.value is None:
            return NEW
        if self.new.value is None:
            return LOST
        if self.unseen or within_noise(self.old, self.new, self.rule.noise):
            return NOISE
        if not self.rule.better:
            return UNJUDGED
        return BETTER if (self.new.value - self.old.value) * self.rule.better > 0 else WORSE


def within_noise(old: Value, new: Value, band: float) -> bool:
    """Whether two measured values differ by no more than chance (intervals) or than `band`, a share of the larger."""
    step = new.value - old.value
    if old.interval and new.interval:
        towards, away = (
            (new.value - new.low, old.high - old.value) if step > 0 else (new.high - new.value, old.value - old.low)
        )
        return abs(step) <= math.hypot(towards, away)
    return abs(step) <= band * max(abs(old.value), abs(new.value))


def changed_metrics(base: Side, head: Side, files: list[str], items: set[str]) -> list[Change]:
    """Every metric of `files` whose value differs, in the files' order.

    Args:
        base: the side compared with.
        head: the side that is judged.
        files: JSON files of flat metrics; mappings and lists inside them are no metrics.
        items: agents, whose own figures are details.

    Raises:
        UserError: a damaged file, or a value that is no number; names side and file.
    """
    changes = []
    for file in files:
        old, new = _numbers(base, file), _numbers(head, file)
        for key in dict.fromkeys([*new, *old]):
            end = key.removesuffix("_low").removesuffix("_high")
            before, after = _value(old, key), _value(new, key)
            if (end == key or end not in {*old, *new}) and before.value != after.value:
                change = Change(file, key, before, after, _is_detail(file, key, items))
                changes.append(replace(change, detail=change.detail or change.unseen))
    return changes


def shown(value: Value, unit: str) -> str:
    """A value with its interval, in its unit."""
    writers = {
        "share": f.share,
        "usd": f.usd,
        "seconds": f.seconds,
        "amount": f.amount,
        "hours": _hours,
        "score": f.decimal,
    }
    write = writers.get(unit, _plain)
    if value.value is None or not value.interval:
        return write(value.value)
    ends = f.interval(value.low, value.high) if unit == "share" else f"{write(value.low)} to {write(value.high)}"
    return f"{write(value.value)} ({ends})"


def step(change: Change) -> str:
    """The move itself: points for shares, the difference for scores around 0, else per cent of the old value."""
    old, new = change.old.value, change.new.value
    if old is None or new is None:
        return ""
    if change.rule.unit == "share":
        return f"{100 * (new - old):+.1f}{f.SPACE}points".replace("-", f.MINUS)
    if change.rule.unit == "score":
        return f"{new - old:+.3f}".replace("-", f.MINUS)
    return f"{100 * (new - old) / abs(old):+.1f}{f.SPACE}%".replace("-", f.MINUS) if old else ""


def _numbers(side: Side, file: str) -> dict[str, float | None]:
    found: dict[str, Any] = side.json(file) or {}
    return {
        key: number(side.where(file), found, key) for key, value in found.items() if not isinstance(value, dict | list)
    }


def _value(found: dict[str, float | None], key: str) -> Value:
    return Value(found.get(key), *(found.get(f"{key}{end}") for end in ENDS))


def _is_detail(file: str, key: str, items: set[str]) -> bool:
    if file.endswith("core.json") and not key.startswith("core"):
        return True
    if file.endswith("cost.json"):
        return key not in MONEY
    parts = f"_{key}_"
    return any(f"_{item}_" in parts for item in items) or any(fnmatchcase(key, pattern) for pattern in DETAILS)


def _plain(value: float | None) -> str:
    return f.UNKNOWN if value is None else f"{value:,.4g}".replace("-", f.MINUS)


def _hours(value: float | None) -> str:
    return f.seconds(None if value is None else 3600 * value)
