"""What is declared, not measured: plan, budgets, baselines, API prices, assumptions, gates (data/seed/declared.yaml).

`first_plan` gives the plan's own table from these inputs: RLT counted at its whole budget, and at its planned hours.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from genesis.common.errors import UserError
from genesis.common.params import build, read_yaml
from genesis.costs import formulas as f

COMPARISONS = ("<", "<=", ">", ">=")


@dataclass
class Plan:
    """Hours on the planned node, what it costs, and how many agents and years the first plan counts."""

    usd_per_hour: float = MISSING
    rlt_sft_hours: float = MISSING
    rlt_rl_hours: float = MISSING
    agent_hours: float = MISSING
    agents: int = MISSING
    years: int = MISSING


@dataclass
class Budgets:
    """Upper limits in dollars; the one of `agent_usd` is for each agent."""

    rlt_usd: float = MISSING
    agent_usd: float = MISSING
    training_usd: float = MISSING


@dataclass
class Baselines:
    """A year of what would be bought instead: the safety pair, and one agent from each vendor."""

    safety_usd: float = MISSING
    agent_usd: dict[str, float] = MISSING


@dataclass
class Mfu:
    """Share of the peak FLOP/s that training reaches."""

    gpu: float = MISSING
    cpu: float = MISSING


@dataclass
class Spot:
    """How often a spot node is taken away, and the hours each time costs."""

    interruptions_per_hour: float = MISSING
    lost_hours: float = MISSING


@dataclass
class Roi:
    """The points at which the return is worked out."""

    businesses: list[int] = MISSING
    years: list[int] = MISSING
    retrainings_per_year: list[int] = MISSING


@dataclass
class Gate:
    """One target: the value under `key` of metrics/`file` compared with it; without a file nothing measures it here."""

    name: str = MISSING
    label: str = MISSING
    comparison: str = MISSING
    target: float = MISSING
    unit: str = ""
    file: str | None = None
    key: str | None = None
    needs: str | None = None


@dataclass
class Declared:
    """The whole file."""

    about: str = MISSING
    date: str = MISSING
    plan: Plan = field(default_factory=Plan)
    budgets: Budgets = field(default_factory=Budgets)
    baselines: Baselines = field(default_factory=Baselines)
    api_usd_per_1000_tokens: dict[str, float] = MISSING
    mfu: Mfu = field(default_factory=Mfu)
    spot: Spot = field(default_factory=Spot)
    roi: Roi = field(default_factory=Roi)
    gates: list[Gate] = MISSING


def read_declared(path: Path) -> Declared:
    """Read and check the file.

    Raises:
        UserError: an unknown or missing key, a wrong type, a number below zero, a gate that cannot be read.
    """
    values = read_yaml(path)
    _refuse_negative(values, str(path))
    declared = build(Declared, values, str(path))
    names = [gate.name for gate in declared.gates]
    for gate in declared.gates:
        where = f"{path}: gates: {gate.name}"
        if gate.comparison not in COMPARISONS:
            raise UserError(f"{where}: comparison: expected one of {' '.join(COMPARISONS)}, found '{gate.comparison}'")
        if (gate.file is None) != (gate.key is None):
            raise UserError(f"{where}: expected both file and key, or neither")
        if names.count(gate.name) > 1:
            raise UserError(f"{where}: the name stands twice")
    points = declared.roi
    if not (declared.api_usd_per_1000_tokens and points.businesses and points.years and points.retrainings_per_year):
        raise UserError(f"{path}: api_usd_per_1000_tokens and each list of roi: expected at least one value")
    for name, share in (("gpu", declared.mfu.gpu), ("cpu", declared.mfu.cpu)):
        if not 0 < share <= 1:
            raise UserError(f"{path}: mfu.{name}: expected a share above 0 and at most 1, found {share}")
    return declared


def agent_baseline_usd(declared: Declared, vendor: str) -> float:
    """What one agent costs in a year from a vendor.

    Raises:
        UserError: a vendor that the file does not name.
    """
    known = declared.baselines.agent_usd
    if vendor not in known:
        raise UserError(f"cost.vendor: no baseline for '{vendor}'; declared vendors: {', '.join(known)}")
    return known[vendor]


def agent_plan_usd(plan: Plan) -> float:
    """One agent as planned."""
    return f.cost_usd(plan.agent_hours, plan.usd_per_hour)


def rlt_plan_usd(plan: Plan) -> float:
    """Both training stages of RLT as planned."""
    return f.cost_usd(plan.rlt_sft_hours + plan.rlt_rl_hours, plan.usd_per_hour)


def first_plan(declared: Declared, vendor: str) -> dict[str, dict[str, float | None]]:
    """The first plan's summary, with RLT at its whole budget (`rlt_at_budget`) and at its hours (`rlt_at_plan`)."""
    plan = declared.plan
    baseline = f.shared_and_each_usd(declared.baselines.safety_usd, agent_baseline_usd(declared, vendor), plan.agents)
    table = {}
    for name, rlt in (("rlt_at_budget", declared.budgets.rlt_usd), ("rlt_at_plan", rlt_plan_usd(plan))):
        cost = f.shared_and_each_usd(rlt, agent_plan_usd(plan), plan.agents)
        saved = f.savings_usd(baseline, cost)
        table[name] = {
            "baseline_usd": baseline,
            "cost_usd": cost,
            "savings_share": f.savings_share(baseline, cost),
            "savings_usd_a_year": saved,
            f"savings_usd_in_{plan.years}_years": f.over_years_usd(saved, plan.years),
        }
    return table


def _refuse_negative(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            # a gate may ask for a reward or a gain below zero
            if key != "gates":
                _refuse_negative(inner, f"{where}: {key}")
    elif isinstance(value, list):
        for inner in value:
            _refuse_negative(inner, where)
    elif isinstance(value, int | float) and not 0 <= value < float("inf"):
        raise UserError(f"{where}: expected a number of 0 or more, found {value}")
