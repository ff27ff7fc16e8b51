"""Measured usage, stage by stage, summed up: by stage, agent, shared base, track and in total, each with its price.

Input are the rows of metrics/usage.json. The sum of a track, an agent or the base is None until every stage in it was
measured; a stage and the total sum what there is.
"""

from dataclasses import dataclass
from typing import Any

from genesis.common.prices import Price
from genesis.costs import formulas as f
from genesis.costs.declared import Declared, agent_baseline_usd, agent_plan_usd, rlt_plan_usd

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Line:
    """One line of the cost table; None is not measured, or not declared for this line.

    Attributes:
        level, name: stage, agent, group (a part of a track), track or total, and which.
        seconds, flops, attempts: of every attempt, finished or not.
        usd: seconds at the node's price; `interrupted_usd` of the attempts that failed or were interrupted.
        plan_usd, baseline_usd: declared for the same work.
    """

    level: str
    name: str
    seconds: float | None
    flops: float | None
    attempts: int | None
    usd: float | None
    interrupted_usd: float | None
    plan_usd: float | None = None
    baseline_usd: float | None = None


def breakdown(usage: dict[str, dict], usd_per_hour: float, declared: Declared, vendor: str) -> list[Line]:
    """All lines, in the order of the table; the last is the total.

    Args:
        usage: metrics/usage.json.
        usd_per_hour: of the node that ran the stages.
        declared, vendor: where plan and baseline come from.
    """
    rows = list(usage.values())
    plan = declared.plan
    agent_plan, agent_baseline = agent_plan_usd(plan), agent_baseline_usd(declared, vendor)
    planned = {
        "rlt_sft": f.cost_usd(plan.rlt_sft_hours, plan.usd_per_hour),
        "rlt_rl": f.cost_usd(plan.rlt_rl_hours, plan.usd_per_hour),
    }

    def line(level: str, name: str, whole: bool, plan_usd=None, baseline_usd=None, **where: str) -> Line:
        own = [row for row in rows if all(row[key] == value for key, value in where.items())]
        return _line(level, name, own, whole, usd_per_hour, plan_usd, baseline_usd)

    stages = [line("stage", name, False, planned.get(name), stage=name) for name in _values(rows, "stage")]
    names = _values([row for row in rows if row["group"] == "agent"], "item")
    agents = [line("agent", name, True, agent_plan, agent_baseline, group="agent", item=name) for name in names]
    groups = [line("group", "base", True, group="base"), line("group", "rlt", True, rlt_plan_usd(plan), group="rlt")]
    fleet = [f.shared_and_each_usd(0, usd, len(agents)) for usd in (agent_plan, agent_baseline)]
    specialist = line("track", "specialist", True, *fleet, track="specialist")
    safety = line("track", "safety", True, rlt_plan_usd(plan), declared.baselines.safety_usd, track="safety")
    covered = [track for track in (specialist, safety) if track.usd is not None]
    sums = [f.total(getattr(track, name) for track in covered) for name in ("plan_usd", "baseline_usd") if covered]
    return [*stages, *agents, *groups, specialist, safety, line("total", "total", False, *sums)]


def saved(lines: list[Line], name: str) -> tuple[float | None, float | None]:
    """Dollars and share saved by a track; for `total`, by the tracks that were measured whole."""
    tracks = [line for line in lines if line.level == "track" and line.usd is not None and name in (line.name, "total")]
    if not tracks:
        return None, None
    baseline = f.total(track.baseline_usd for track in tracks)
    cost = f.total(track.usd for track in tracks)
    return f.savings_usd(baseline, cost), f.savings_share(baseline, cost)


def projected_usd(line: Line, price: Price, market: str, mfu: float) -> float | None:
    """The line's training FLOPs on another node; None where none were measured or the market has no price."""
    usd_per_hour = price.usd_per_hour_on_demand if market == "on_demand" else price.usd_per_hour_spot
    if not line.flops or usd_per_hour is None:
        return None
    return f.cost_usd(f.projected_hours_from_flops(line.flops, price.node_peak_tflops, mfu), usd_per_hour)


def _values(rows: Rows, key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def _line(
    level: str,
    name: str,
    rows: Rows,
    whole: bool,
    usd_per_hour: float,
    plan_usd: float | None,
    baseline_usd: float | None,
) -> Line:
    measured = [row for row in rows if row["active_s"] is not None]
    if not measured or (whole and len(measured) < len(rows)):
        return Line(level, name, None, None, None, None, None, plan_usd, baseline_usd)
    seconds, unfinished = (f.total(row[key] for row in measured) for key in ("active_s", "unfinished_s"))
    return Line(
        level,
        name,
        seconds,
        f.total(row["flops"] for row in measured),
        sum(row["attempts"] for row in measured),
        f.cost_usd(f.seconds_to_hours(seconds), usd_per_hour),
        f.cost_usd(f.seconds_to_hours(unfinished), usd_per_hour),
        plan_usd,
        baseline_usd,
    )
