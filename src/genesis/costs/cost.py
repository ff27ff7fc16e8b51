"""The cost stage: measured usage × price, beside plan, projection and baseline; gates; return on investment.

It reads metrics/*.json alone, so two clones agree byte for byte and a changed price re-runs nothing but this and the
report. Whatever was declared and not measured stands under "declared".
"""

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesis.common.chat import write_json
from genesis.common.errors import UserError
from genesis.common.jsonfile import number, read_json
from genesis.common.prices import Cost, Price, find_price, read_prices
from genesis.costs import formulas as f
from genesis.costs.breakdown import Line, breakdown, projected_usd, saved
from genesis.costs.declared import (
    Declared,
    agent_baseline_usd,
    agent_plan_usd,
    first_plan,
    read_declared,
    rlt_plan_usd,
)
from genesis.costs.gates import check_gates
from genesis.costs.roi import Case, roi_rows


def cost(params: Cost, agents: list[str], metrics: Path) -> None:
    """Write cost.json, costs.csv (the table), roi.csv and gates.json into the folder `metrics`.

    Raises:
        UserError: a node or vendor without a price, a bad row or key in the declared files, damaged metrics.
    """
    if params.mfu is not None and not 0 < params.mfu <= 1:
        raise UserError(f"cost.mfu: expected a share above 0 and at most 1, found {params.mfu}")
    prices = read_prices(Path(params.prices))
    node = find_price(prices, params.node, Path(params.prices))
    declared = read_declared(Path(params.declared))
    usage = read_json(metrics / "usage.json")
    lines = breakdown(usage, node.usd_per_hour(params.market), declared, params.vendor)
    mfu = {name: _mfu(price, params, declared) for name, price in prices.items()}

    def projected(line: Line) -> dict[str, float | None]:
        return {
            f"projected_{name}_usd": projected_usd(line, price, params.market, mfu[name])
            for name, price in prices.items()
        }

    values = {
        "declared": declared_block(params, node, declared),
        "flags": flags(node, usage),
        **summary(lines),
        **projected(lines[-1]),
        **markets(lines[-1], node, declared),
        **inference(agents, metrics / "agents.json", node.usd_per_hour(params.market), declared),
    }
    write_json(metrics / "cost.json", values)
    write_csv(metrics / "costs.csv", [{**_table_row(line), **projected(line)} for line in lines])
    write_csv(metrics / "roi.csv", roi_rows(roi_cases(lines, declared, params.vendor), declared.roi))
    write_json(metrics / "gates.json", check_gates(declared.gates, metrics))


def summary(lines: list[Line]) -> dict[str, Any]:
    """The flat measured keys; None where the parts of a sum were not all measured."""
    by = {(line.level, line.name): line for line in lines}
    total, base = by["total", "total"], by["group", "base"].usd
    tracks = [by["track", name].usd for name in ("specialist", "safety")]
    agents = [line.usd for line in lines if line.level == "agent"]
    measured = [usd for usd in agents if usd is not None]
    marginal = f.total(measured) / len(measured) if measured else None
    stages = [line for line in lines if line.level == "stage"]
    savings = {name: saved(lines, name) for name in ("specialist", "safety", "total")}
    return {
        "total_usd": total.usd,
        "total_hours": None if total.seconds is None else f.seconds_to_hours(total.seconds),
        "stages_measured": sum(line.usd is not None for line in stages),
        "stages": len(stages),
        "attempts": total.attempts,
        "interrupted_usd": total.interrupted_usd,
        "track_specialist_usd": tracks[0],
        "track_safety_usd": tracks[1],
        "training_usd": None if None in tracks else f.total(tracks),
        "base_usd": base,
        "rlt_usd": by["group", "rlt"].usd,
        "marginal_next_agent_usd": marginal,
        "agent_from_scratch_usd": None if None in (base, marginal) else base + max(measured),
        "shared_base_saved_usd": None if None in (base, marginal) else base * (len(measured) - 1),
        "cache_saved_per_agent_change_usd": None if None in (total.usd, marginal) else total.usd - marginal,
        "plan_usd": total.plan_usd,
        "baseline_usd": total.baseline_usd,
        "savings_usd": savings["total"][0],
        "savings_share": savings["total"][1],
        "savings_specialist_share": savings["specialist"][1],
        "savings_safety_share": savings["safety"][1],
        **{f"stage_{line.name}_usd": line.usd for line in stages},
        **{f"agent_{line.name}_usd": line.usd for line in lines if line.level == "agent"},
    }


def declared_block(params: Cost, node: Price, declared: Declared) -> dict[str, Any]:
    """All that was declared and not measured."""
    values = asdict(declared)
    del values["gates"], values["roi"]
    values["plan"] |= {
        "rlt_sft_usd": f.cost_usd(declared.plan.rlt_sft_hours, declared.plan.usd_per_hour),
        "rlt_rl_usd": f.cost_usd(declared.plan.rlt_rl_hours, declared.plan.usd_per_hour),
        "rlt_usd": rlt_plan_usd(declared.plan),
        "agent_usd": agent_plan_usd(declared.plan),
        "agents_usd": f.shared_and_each_usd(0, agent_plan_usd(declared.plan), declared.plan.agents),
    }
    price = {**asdict(node), "market": params.market, "usd_per_hour": node.usd_per_hour(params.market)}
    return {**values, "price": price, "vendor": params.vendor, "first_plan": first_plan(declared, params.vendor)}


def flags(node: Price, usage: dict[str, dict]) -> list[str]:
    """What makes the figures doubtful: the priced node is not the kind of machine that ran the stages."""
    devices = {row["device"] for row in usage.values() if row["device"]}
    gpus = sorted(devices - {"cpu"})
    if gpus and not node.gpu_count:
        return [f"priced as {node.node}, which has no GPU, but stages ran on {', '.join(gpus)}"]
    if devices and not gpus and node.gpu_count:
        return [f"priced as {node.node} ({node.gpu_count} {node.gpu}), but every stage ran on a CPU"]
    return []


def markets(total: Line, node: Price, declared: Declared) -> dict[str, float | None]:
    """The measured hours on demand, and spot with the declared interruptions."""
    if total.seconds is None:
        return {"on_demand_usd": None, "spot_usd": None}
    hours = f.seconds_to_hours(total.seconds)
    spot = f.hours_with_interruptions(hours, declared.spot.interruptions_per_hour, declared.spot.lost_hours)
    return {
        "on_demand_usd": f.cost_usd(hours, node.usd_per_hour_on_demand),
        "spot_usd": None if node.usd_per_hour_spot is None else f.cost_usd(spot, node.usd_per_hour_spot),
    }


def inference(agents: list[str], path: Path, usd_per_hour: float, declared: Declared) -> dict[str, float | None]:
    """Mean price of 1,000 generated tokens over the agents with a measured speed; its share of the cheapest API's."""
    found = read_json(path) if path.is_file() else {}
    names = [f"{agent}_tokens_per_s" for agent in agents]
    speeds = [number(path, found, name) for name in names if name in found]
    prices = [f.usd_per_1000_tokens(usd_per_hour, speed) for speed in speeds if speed]
    mean = f.total(prices) / len(prices) if prices else None
    cheapest = min(declared.api_usd_per_1000_tokens.values())
    return {
        "usd_per_1000_tokens_generated": mean,
        "inference_share_of_api": None if mean is None else f.ratio(mean, cheapest),
    }


def roi_cases(lines: list[Line], declared: Declared, vendor: str) -> list[Case]:
    """What is trained once and what each business trains: the first plan counted both ways, and as measured."""
    by = {(line.level, line.name): line for line in lines}
    agents = [line for line in lines if line.level == "agent"]
    plan, safety_usd, agent_usd = declared.plan, declared.baselines.safety_usd, agent_baseline_usd(declared, vendor)
    each, bought = agent_plan_usd(plan) * plan.agents, agent_usd * plan.agents
    cases = [
        Case("declared, RLT at budget", declared.budgets.rlt_usd, each, safety_usd, bought),
        Case("declared, RLT at plan", rlt_plan_usd(plan), each, safety_usd, bought),
    ]
    specialist, safety = by["track", "specialist"], by["track", "safety"]
    if specialist.usd is not None:
        own = f.total(line.usd for line in agents)
        shared = f.total([by["group", "base"].usd, by["stage", "eval_core"].usd, safety.usd or 0.0])
        baseline = safety_usd if safety.usd is not None else 0.0
        cases.append(Case("measured", shared, own, baseline, agent_usd * len(agents)))
    return cases


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows with the columns of the first; None is an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _mfu(price: Price, params: Cost, declared: Declared) -> float:
    return (params.mfu or declared.mfu.gpu) if price.gpu_count else declared.mfu.cpu


def _table_row(line: Line) -> dict[str, Any]:
    usd = None if None in (line.usd, line.baseline_usd) else f.savings_usd(line.baseline_usd, line.usd)
    return {
        "level": line.level,
        "name": line.name,
        "hours": None if line.seconds is None else f.seconds_to_hours(line.seconds),
        "attempts": line.attempts,
        "plan_usd": line.plan_usd,
        "actual_usd": line.usd,
        "baseline_usd": line.baseline_usd,
        "savings_usd": usd,
    }
