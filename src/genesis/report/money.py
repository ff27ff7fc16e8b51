"""The tables about money: plan, actual, baseline and projection side by side, the declared plan, the return."""

from genesis.report import figures as f
from genesis.report.facts import Facts
from genesis.report.tables import Table, cell

NAMES = {
    ("group", "base"): "shared base",
    ("group", "rlt"): "RLT (student, teacher, traces)",
    ("track", "specialist"): "specialist track",
    ("track", "safety"): "safety track",
}


def costs(facts: Facts, levels: tuple[str, ...] = ("group", "track", "total")) -> Table:
    """Plan, actual and baseline side by side, and the same work on the planned node."""
    node = planned_node(facts)
    rows, strong = [], set()
    for line in facts.costs:
        if line["level"] not in levels:
            continue
        actual, whole = line["actual_usd"], line["level"] == "total"
        texts = [duration(line["hours"]), f.usd(actual), dollars(line["plan_usd"]), dollars(line["baseline_usd"])]
        texts += [f.usd(line["savings_usd"]) if line["baseline_usd"] is not None else f.NONE]
        texts += [f.UNKNOWN if actual is None else dollars(line.get(f"projected_{node}_usd"))] if node else []
        strong |= {len(rows)} if whole else set()
        name = NAMES.get((line["level"], line["name"]), line["name"])
        rows.append([cell(name), *map(cell, texts)])
    columns = [("", ""), ("Active time", "measured"), ("Actual", "measured"), ("Plan", "declared")]
    columns += [("Baseline", "declared"), ("Saved", "")] + ([(f"On {node}", "projected")] if node else [])
    return Table(columns, rows, strong=frozenset(strong))


def first_plan(facts: Facts) -> Table:
    """The plan's own table, all of it declared: RLT at its whole budget, and at its planned hours."""
    years = facts.cost["declared"]["plan"]["years"]
    names = {"rlt_at_budget": "RLT at its whole budget", "rlt_at_plan": "RLT at its planned hours"}
    keys = ("baseline_usd", "cost_usd", "savings_share", "savings_usd_a_year", f"savings_usd_in_{years}_years")
    rows = []
    for name, values in facts.cost["declared"]["first_plan"].items():
        texts = [f.share(values[key]) if key.endswith("share") else f.usd(values[key]) for key in keys]
        rows.append([cell(names.get(name, name)), *map(cell, texts)])
    columns = ("Way of counting", "Baseline", "Cost", "Savings", "A year", f"In {years:.0f} years")
    return Table([(name, "") for name in columns], rows)


def projections(facts: Facts) -> Table:
    """The measured training FLOPs on every priced node, cheapest first; what has none is left out."""
    found = {name[10:-4]: usd for name, usd in facts.cost.items() if name.startswith("projected_") and usd is not None}
    rows = [[cell(node), cell(f.usd(usd))] for node, usd in sorted(found.items(), key=lambda pair: (pair[1], pair[0]))]
    return Table([("Node", ""), ("All measured training", "projected")], rows)


def unit_costs(facts: Facts) -> Table:
    """The other figures of the cost stage."""
    cost = facts.cost
    rows = [
        ("The shared base, once", f.usd(cost["base_usd"])),
        ("The next agent (mean of the agents' own stages)", f.usd(cost["marginal_next_agent_usd"])),
        ("The dearest agent with a whole base of its own", f.usd(cost["agent_from_scratch_usd"])),
        ("Saved by sharing one base", f.usd(cost["shared_base_saved_usd"])),
        ("Saved by the cache when one agent changes", f.usd(cost["cache_saved_per_agent_change_usd"])),
        ("Spent on failed and interrupted attempts", f.usd(cost["interrupted_usd"])),
        ("The same hours on demand", f.usd(cost["on_demand_usd"])),
        ("The same hours on spot, with the declared interruptions", f.usd(cost["spot_usd"])),
        ("1,000 generated tokens, here", f.usd(cost["usd_per_1000_tokens_generated"])),
    ]
    apis = cost["declared"]["api_usd_per_1000_tokens"]
    rows += [(f"1,000 generated tokens, {name} (declared)", f.usd(usd)) for name, usd in sorted(apis.items())]
    return Table([("Figure", ""), ("US dollars", "")], [[cell(name), cell(text)] for name, text in rows])


def roi(facts: Facts) -> Table:
    """The return after the longest time, for every basis, number of businesses and retraining frequency."""
    longest = max((row["years"] for row in facts.roi), default=None)
    rows = []
    for row in facts.roi:
        if row["years"] == longest:
            texts = [f.count(row["businesses"]), f.count(row["retrainings_per_year"])]
            texts += [f.usd(row[key]) for key in ("cost_usd", "baseline_usd", "savings_usd")]
            rows.append([cell(row["basis"]), *map(cell, [*texts, f.share(row["savings_share"])])])
    names = ("Basis", "Businesses", "Retrainings a year", "Training", "Baseline", "Saved", "Share saved")
    return Table([(name, "") for name in names], rows)


def roi_basis(facts: Facts) -> str | None:
    """The case that the chart shows: the measured one where there is one, else the last declared one."""
    bases = [row["basis"] for row in facts.roi]
    return "measured" if "measured" in bases else bases[-1] if bases else None


def planned_node(facts: Facts) -> str | None:
    """The first node of the price list: the one that the plan was made for."""
    return next((name[10:-4] for name in facts.cost if name.startswith("projected_")), None)


def duration(hours: float | None) -> str:
    """Hours as a duration."""
    return f.seconds(None if hours is None else 3600 * hours)


def dollars(usd: float | None) -> str:
    """Declared dollars; where nothing is declared for the line, a dash."""
    return f.NONE if usd is None else f.usd(usd)
