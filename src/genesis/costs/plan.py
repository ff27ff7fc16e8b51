"""What a run would take and cost before it runs: stage by stage, against each budget and the baseline.

The figures are `genesis.common.estimate`'s, each with its source. What is done counts with what it took, beside what was expected of it
(usage.json keeps that); attempts given up for other parameters come from the ledger.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from genesis.common.budget import RLT, Budget, Cap, caps, spending
from genesis.common.estimate import Estimate, estimate
from genesis.common.jsonfile import read_json
from genesis.common.params import load_params
from genesis.common.prices import Cost, own_price, usd_text
from genesis.common.usage import dvc_root
from genesis.costs import formulas as f
from genesis.costs.declared import Declared, agent_baseline_usd, read_declared
from genesis.costs.pending import DONE, FOLLOWS, RESTORED, RUNS, Step

UNMEASURED = ("agent_sources", "collect", "cost", "report")
SAFETY = (*RLT, "waltz_baselines", "waltz_lessons", "waltz_sft", "waltz_rl", "eval_safety")
AHEAD = (RUNS, FOLLOWS)
EMPTY = Path("no workspace")


@dataclass(frozen=True)
class Row:
    """One step of the plan.

    Attributes:
        expected: what a run takes, for a step that is done what it was expected to take.
        took_s: measured seconds of a step that is done or restored, else None.
    """

    step: Step
    expected: Estimate
    took_s: float | None

    @property
    def seconds(self) -> float | None:
        """What it takes or took; None where nothing is known."""
        return self.expected.seconds if self.took_s is None else self.took_s


@dataclass(frozen=True)
class Abandoned:
    """Attempts of one stage that no result came of: the parameters changed since."""

    name: str
    attempts: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The whole plan; `tried` are seconds of attempts at work that is not finished."""

    rows: list[Row]
    budgets: dict[Cap, float]
    abandoned: list[Abandoned]
    tried_s: float
    usd_per_hour: float
    node: str
    baseline_usd: float

    def usd(self, seconds: float) -> float:
        """At the node's price."""
        return f.cost_usd(f.seconds_to_hours(seconds), self.usd_per_hour)


def plan(steps: list[Step]) -> Plan:
    """Estimate every step that writes a usage.json, and add up; reads the repository that is the current folder.

    Attempts at work that is not finished count in the budgets on top of what that work is expected to take.

    Raises:
        UserError: sections, price list, declared file or a usage.json that cannot be read.
    """
    cost = load_params(Cost, "cost")
    budget = load_params(Budget, "budget")
    declared = read_declared(Path(cost.declared))
    price = own_price(cost).usd_per_hour(cost.market)
    rows = [_row(step, cost) for step in steps if step.stage not in UNMEASURED]
    cache = dvc_root() / ".cache"
    tried = list(spending(EMPTY, cache))
    sums: dict[Cap, float] = {}
    for row in rows:
        for cap in caps(budget, row.step.stage, row.step.item):
            sums.setdefault(cap, f.total(one.seconds for one in tried if cap.covers(one.stage, one.item)))
            sums[cap] += row.seconds or 0.0
    abandoned = find_abandoned(cache / "ledger.jsonl")
    return Plan(
        rows, sums, abandoned, f.total(s.seconds for s in tried), price, cost.node, _baseline(rows, declared, cost)
    )


def table(plan: Plan) -> str:
    """The plan as text for a terminal: stages, budgets, baseline, how far the last estimates were off, what was given up."""
    lines = [("stage", "state", "hours", "cost", "from")]
    for (stage, state, source), rows in _grouped(plan.rows).items():
        seconds = [row.seconds for row in rows if row.seconds is not None]
        hours = "" if not seconds else _hours(f.total(seconds))
        usd = "" if not seconds else usd_text(plan.usd(f.total(seconds)))
        count = f" ×{len(rows)}" if len(rows) > 1 else ""
        lines.append((f"{stage}{count}", state, hours, usd, source))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*text, "", *_sums(plan), *_budgets(plan), *_accuracy(plan), *_given_up(plan)])


def find_abandoned(ledger: Path) -> list[Abandoned]:
    """Attempts whose work never finished although the same stage went on with other parameters."""
    if not ledger.is_file():
        return []
    works: dict[str, dict[str, list[dict]]] = {}
    for line in ledger.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        name = f"{row['stage']}@{row['item']}" if row["item"] else row["stage"]
        own = works.setdefault(name, {})
        own[row["key"]] = [*own.pop(row["key"], []), row]  # the key tried last stands last
    found = []
    for name, keys in works.items():
        lost = [rows for rows in list(keys.values())[:-1] if all(row["outcome"] != "finished" for row in rows)]
        if lost:
            attempts = [row for rows in lost for row in rows]
            found.append(Abandoned(name, len(attempts), f.total(row["active_s"] for row in attempts)))
    return found


def _row(step: Step, cost: Cost) -> Row:
    out = next((out for out in step.outs if (out / "usage.json").is_file()), None)
    if step.state in AHEAD:
        return Row(step, estimate(step.stage, step.item, cost, Path("."), out), None)
    known = estimate(step.stage, step.item, cost, Path("."), out)
    usage = read_json(out / "usage.json") if out else {}
    expected = next((a["estimate_s"] for a in usage.get("attempts", []) if a.get("estimate_s") is not None), None)
    took = usage.get("active_s", known.seconds)
    return Row(step, Estimate(expected, known.source), took)


def _baseline(rows: list[Row], declared: Declared, cost: Cost) -> float:
    """What the agents and the safety pair of these rows would cost to buy."""
    agents = {row.step.item for row in rows if row.step.stage == "finetune"}
    safety = declared.baselines.safety_usd if any(row.step.stage in SAFETY for row in rows) else 0.0
    return f.shared_and_each_usd(safety, agent_baseline_usd(declared, cost.vendor), len(agents))


def _grouped(rows: list[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """Items of one stage in one line where state and kind of source are the same."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        source = row.expected.source
        same = [r for r in rows if (r.step.stage, r.step.state) == (row.step.stage, row.step.state)]
        if len(same) > 1:
            source = source.split(": ")[0]
        found.setdefault((row.step.stage, row.step.state, source), []).append(row)
    return found


def _sums(plan: Plan) -> list[str]:
    ahead = [row for row in plan.rows if row.step.state in AHEAD]
    unknown = sum(row.seconds is None for row in ahead)
    restored = sum(row.step.state == RESTORED for row in plan.rows)
    ahead_s = f.total(row.seconds or 0.0 for row in ahead)
    whole = plan.usd(f.total(row.seconds or 0.0 for row in plan.rows) + plan.tried_s)
    lines = [
        f"ahead: {len(ahead)} of {len(plan.rows)} stages, {_hours(ahead_s)} on {plan.node}, {usd_text(plan.usd(ahead_s))}"
        + (f", without {unknown} stages that nothing is known of" if unknown else "")
    ]
    if restored:
        lines.append(f"restored from the cache: {restored} stages, at no cost now")
    share = f.savings_share(plan.baseline_usd, whole)
    if share is not None and whole:
        most = "at most " if unknown else ""
        lines.append(
            f"whole pipeline: {usd_text(whole)} against {usd_text(plan.baseline_usd)} declared to buy the same: "
            f"{most}{100 * share:.1f} % saved"
        )
    return lines


def _budgets(plan: Plan) -> list[str]:
    """One line for each cap, spent and ahead together; of the agents' caps, the dearest agent's."""
    lines, seen = [], {}
    for cap, seconds in plan.budgets.items():
        if cap.key not in seen or seconds > seen[cap.key][1]:
            seen[cap.key] = (cap, seconds)
    for cap, seconds in seen.values():
        amount = cap.amount(seconds, plan.usd_per_hour)
        who = f" (dearest: {cap.item})" if cap.item else ""
        share = "" if not cap.limit else f", {100 * amount / cap.limit:.1f} %"
        over = " - over the cap: the run would stop" if amount > cap.limit else ""
        lines.append(f"{cap.key}{who}: {cap.text(amount)} of {cap.text(cap.limit)}{share}{over}")
    return lines


def _accuracy(plan: Plan) -> list[str]:
    """How far the estimates of what is done were off."""
    known = [row for row in plan.rows if row.step.state == DONE and row.took_s and row.expected.seconds]
    if not known:
        return []
    expected, took = (f.total(row.took_s if n else row.expected.seconds for row in known) for n in (0, 1))
    worst = max(known, key=lambda row: abs(row.took_s / row.expected.seconds - 1))
    off, far = took / expected - 1, worst.took_s / worst.expected.seconds - 1
    return [
        f"last estimates, {len(known)} stages: expected {_hours(expected)}, took {_hours(took)} ({100 * off:+.0f} %); "
        f"farthest off: {worst.step.name} ({100 * far:+.0f} %)"
    ]


def _given_up(plan: Plan) -> list[str]:
    lines = (
        [f"attempts at work not finished: {_hours(plan.tried_s)}, {usd_text(plan.usd(plan.tried_s))}"]
        if plan.tried_s
        else []
    )
    return lines + [
        f"given up for other parameters: {lost.name}, {lost.attempts} attempts, {_hours(lost.seconds)}, "
        f"{usd_text(plan.usd(lost.seconds))}"
        for lost in plan.abandoned
    ]


def _hours(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds < 60
        else f"{seconds / 60:.1f} min"
        if seconds < 3600
        else f"{seconds / 3600:.4g} h"
    )
