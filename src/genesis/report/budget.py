"""reports/COSTS.md, the budget comparison: budgets, breakdowns, return, quality against cost, risks.

Every figure comes from metrics/ or the stages' summaries; what is declared says so.
"""

from dataclasses import dataclass
from typing import Any

from genesis.report import figures as f
from genesis.report import money
from genesis.report.facts import Facts
from genesis.report.tables import Table, cell

GENERALISATION = {"new_values": "new values", "unseen_frames": "unseen frames", "scenarios": "scenarios"}


@dataclass(frozen=True)
class Risk:
    """What may make the figures worth less than they look, and how much of it was measured in this run."""

    name: str
    text: str
    measured: str


def document(facts: Facts) -> dict[str, Any]:
    """What the template shows."""
    bases = list(dict.fromkeys(row["basis"] for row in facts.roi))
    return {
        "facts": facts,
        "declared": facts.cost["declared"],
        "headline": headline(facts),
        "budgets": budgets(facts),
        "first_plan": money.first_plan(facts),
        "tracks": money.costs(facts),
        "stages": money.costs(facts, ("stage",)),
        "agents": money.costs(facts, ("agent",)),
        "projections": money.projections(facts),
        "unit_costs": money.unit_costs(facts),
        "returns": {basis: returns(facts, basis) for basis in bases},
        "quality": quality(facts),
        "agent_quality": agent_quality(facts),
        "api_unmeasured": facts.gates.get("api_quality", {}).get("value") is None,
        "risks": risks(facts),
    }


def headline(facts: Facts) -> str:
    """Spent, planned, bought: in one sentence."""
    cost = facts.cost
    if cost["total_usd"] is None:
        return f"Nothing was trained yet: the cost was {f.UNKNOWN}."
    spent = f"This run cost **{f.usd(cost['total_usd'])}** in {money.duration(cost['total_hours'])}"
    if cost["baseline_usd"] is None:
        return f"{spent}; no track is whole yet, so there is nothing to compare it with."
    against = f"was planned at {f.usd(cost['plan_usd'])} and costs {f.usd(cost['baseline_usd'])} a year to buy"
    return f"{spent}; the same work {against} (both declared): **{f.share(cost['savings_share'])}** saved."


def budgets(facts: Facts) -> Table:
    """Each declared budget, and what plan and run take of it."""
    cost, declared = facts.cost, facts.cost["declared"]
    plan = declared["plan"]
    lines = {
        "RLT: student, teacher, traces": ("rlt_usd", plan["rlt_usd"], cost["rlt_usd"]),
        "One agent with a whole base of its own": ("agent_usd", plan["agent_usd"], cost["agent_from_scratch_usd"]),
        "All training": ("training_usd", plan["rlt_usd"] + plan["agents_usd"], cost["training_usd"]),
    }
    rows = []
    for name, (key, planned, actual) in lines.items():
        budget = declared["budgets"][key]
        texts = [f.usd(budget), f.usd(planned), f.share(planned / budget), f.usd(actual)]
        rows.append([cell(name), *map(cell, [*texts, f.share(None if actual is None else actual / budget)])])
    columns = [("", ""), ("Budget", "declared"), ("Plan", "declared"), ("of the budget", ""), ("Actual", "measured")]
    return Table([*columns, ("of the budget", "")], rows)


def returns(facts: Facts, basis: str) -> Table:
    """Dollars saved after each year, for every number of businesses and retraining frequency."""
    own = [row for row in facts.roi if row["basis"] == basis]
    years = sorted({row["years"] for row in own})
    cases = list(dict.fromkeys((row["businesses"], row["retrainings_per_year"]) for row in own))
    found = {(row["businesses"], row["retrainings_per_year"], row["years"]): row for row in own}
    rows = []
    for case in cases:
        saved = [f.usd(found[*case, year]["savings_usd"]) for year in years]
        share = f.share(found[*case, years[-1]]["savings_share"])
        rows.append([cell(f.count(case[0])), cell(f.count(case[1])), *map(cell, saved), cell(share)])
    ends = [(f"{year:.0f} year{'s' if year > 1 else ''}", "") for year in years]
    return Table([("Businesses", ""), ("Retrainings a year", ""), *ends, ("Share saved", "")], rows, texts=frozenset())


def quality(facts: Facts) -> Table:
    """What was reached, beside what it took."""
    cost, agents, safety, loss = facts.cost, facts.agents, facts.safety, facts.loss
    ends = f.interval(agents.get("mean_held_out_low"), agents.get("mean_held_out_high"))
    size = f"{f.amount(loss['pretrain_parameters'])} parameters"
    rows = [
        ("Base", "bits per byte", f.decimal(loss["pretrain_bpb"], 2), size, cost["base_usd"]),
        (
            "An agent, mean",
            "held-out accuracy",
            f.share(agents.get("mean_held_out")),
            ends,
            cost["marginal_next_agent_usd"],
        ),
        ("An agent, mean", "scenarios", f.share(agents.get("mean_scenarios")), "", cost["marginal_next_agent_usd"]),
        ("Teacher", "reward gain", f.share(safety.get("rlt_reward_gain")), "", cost["rlt_usd"]),
        ("Safety pair", "fewer unsafe answers", f.share(safety.get("unsafe_reduction")), "", cost["track_safety_usd"]),
        (
            "Safety pair",
            "fewer over-refusals",
            f.share(safety.get("overrefusal_reduction")),
            "",
            cost["track_safety_usd"],
        ),
    ]
    columns = [("What", ""), ("Measure", ""), ("Value", "measured"), ("95 % interval, size", ""), ("Cost", "measured")]
    lines = [[*map(cell, row[:4]), cell(f.usd(row[4]))] for row in rows]
    return Table(columns, lines, texts=frozenset({0, 1, 3}))


def agent_quality(facts: Facts) -> Table:
    """Each agent's accuracy and cost, the dearest for its accuracy last."""
    rows = []
    for name in facts.names:
        score, usd = facts.agents.get(f"{name}_held_out"), facts.cost.get(f"agent_{name}_usd")
        each = None if not score or usd is None else usd / score
        texts = [f.share(score), f.share(facts.agents.get(f"{name}_scenarios")), f.usd(usd), f.usd(each)]
        rows.append((each is None, each or 0.0, [cell(name), *map(cell, texts)]))
    columns = [("Agent", ""), ("Held-out accuracy", "measured"), ("Scenarios", "measured"), ("Cost", "measured")]
    lines = [row for _, _, row in sorted(rows, key=lambda row: row[:2])]
    return Table([*columns, ("Cost at full accuracy", "")], lines)


def risks(facts: Facts) -> list[Risk]:
    """The risks that this project knows of, with this run's own numbers."""
    return [*_of_quality(facts), *_of_safety(facts), *_of_money(facts)]


def _of_quality(facts: Facts) -> list[Risk]:
    agents, core = facts.agents, facts.core_results.values()
    names = {
        verdict: [gate["label"] for gate in facts.gates.values() if gate["verdict"] == verdict]
        for verdict in ("not met", "not measured")
    }
    open_gates = [f"{len(found)} {verdict}: {'; '.join(found)}" for verdict, found in names.items() if found]
    parts = [f"{text} {f.share(agents.get(f'mean_{key}'))}" for key, text in GENERALISATION.items()]
    items, seen = (sum(result[key] for result in core) for key in ("n", "n_contaminated"))
    reviewed = [found["reviewed"] for found in facts.quality.values()]
    share = f.share(min(reviewed), 0) if reviewed else f.UNKNOWN
    return [
        Risk("Gates", "A target that is missed or unmeasured is a promise not kept yet.", ". ".join(open_gates) or "none open"),
        Risk("Generalisation", "Agents this small learn closed answers; wording they never saw costs accuracy.", ", ".join(parts)),
        Risk(
            "Contamination",
            "A test item that stands in the training text measures memory.",
            f"{f.count(seen)} of {f.count(items)} CORE items stand in the corpus; scenarios without such items: "
            f"{f.share(agents.get('mean_scenarios_clean'))}" if items else f.UNKNOWN,
        ),
        Risk("Unread data", "Rules wrote the pairs and no person has read most of them.", f"least reviewed agent: {share}"),
    ]  # fmt: skip


def _of_safety(facts: Facts) -> list[Risk]:
    safety = facts.safety
    return [
        Risk(
            "Residual harm",
            "The trained pair still answers some unsafe prompts and refuses some harmless ones.",
            f"{f.share(safety.get('unsafe_rate_pair'))} unsafe, {f.share(safety.get('overrefusal_rate_pair'))} over-refused, "
            f"{f.share(safety.get('incoherent_rate_pair'))} incoherent",
        ),
        Risk(
            "The judge",
            "Every safety figure is a judge's, and the judge errs.",
            f"agreement with people: {f.share(safety.get('judge_agreement'))}",
        ),
    ]


def _of_money(facts: Facts) -> list[Risk]:
    cost, declared = facts.cost, facts.cost["declared"]
    total, lost = cost["total_usd"], cost["interrupted_usd"]
    tokens, spot = f.usd(cost["usd_per_1000_tokens_generated"]), declared["spot"]
    target = facts.gates["savings"]["target"] if "savings" in facts.gates else None
    least = None if None in (total, target) else total / (1 - target)
    return [
        Risk("Interruptions", "Time of failed and interrupted attempts is paid for.",
             f"{f.share(lost / total)} of the cost" if total else f.UNKNOWN),
        Risk("Spot", f"Spot nodes are taken away (declared: {spot['interruptions_per_hour']:g} times an hour).",
             f"{f.usd(cost['spot_usd'])} on spot, {f.usd(cost['on_demand_usd'])} on demand"),
        Risk("Declared baseline", "Savings are as good as the vendor prices they are counted against.",
             f"the gate's {f.share(target, 0)} would still be met by a baseline of {f.usd(least)}" if least else f.UNKNOWN),
        Risk("What is not counted", "People's time, storage, serving and the vendor's own quality are in no figure.",
             f"local generation alone: {tokens} for 1,000 tokens"),
        Risk("Small scale", "A run of this size says little about the cost of a large one; projections assume a utilisation.",
             f"declared utilisation {f.share(declared['mfu']['gpu'], 0)} on GPUs; "
             f"training measured {f.amount(_flops(facts), 'FLOP')}"),
        *(Risk("Priced elsewhere", "The priced node is no machine that ran the stages.", flag) for flag in cost["flags"]),
    ]  # fmt: skip


def _flops(facts: Facts) -> float | None:
    known = [row["flops"] for row in facts.usage.values() if row["flops"] is not None]
    return sum(known) if known else None
