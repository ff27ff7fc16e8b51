"""The first thing read: how many gates are met, and eight numbers that say what the run came to."""

from collections import Counter
from dataclasses import dataclass

from genesis.report import figures as f
from genesis.report.facts import Facts


@dataclass(frozen=True)
class Card:
    """One number, what it is, and what it is to be compared with; no comparison for what was not measured."""

    name: str
    value: str
    note: str

    @property
    def known(self) -> bool:
        """Whether it was measured."""
        return self.value != f.UNKNOWN


def verdict(facts: Facts) -> str:
    """One line: the gates counted by verdict."""
    counts = Counter(gate["verdict"] for gate in facts.gates.values())
    parts = [f"{counts[name]} {name}" for name in ("met", "not met", "not measured") if counts[name]]
    return f"{len(facts.gates)} gates: {', '.join(parts)}"


def cards(facts: Facts) -> list[Card]:
    """The headline numbers."""
    return [*_training(facts), *_safety(facts), *_money(facts)]


def _training(facts: Facts) -> list[Card]:
    agents, loss = facts.agents, facts.loss
    name = "core" if facts.core["core"] is not None else "core_mini"
    size = f"{f.amount(loss['pretrain_parameters'])} parameters, {f.amount(loss['pretrain_tokens'])} tokens"
    return [
        Card("Agents, held-out accuracy", f.share(agents.get("mean_held_out")), _rise(facts, "held_out", "before")),
        Card("Agents, scenarios", f.share(agents.get("mean_scenarios")), _rise(facts, "scenarios", "before_scenarios")),
        Card(
            "Base, bits per byte",
            f.decimal(loss["pretrain_bpb"], 2),
            f"{f.decimal(loss['pretrain_bpb_start'], 2)} at the start; {size}",
        ),
        Card(
            "CORE" if name == "core" else "CORE, mini bundle",
            f.decimal(facts.core[name]),
            f"centred accuracy over {len(facts.core_results)} tasks; 0 is guessing, 1 is perfect",
        ),
    ]


def _safety(facts: Facts) -> list[Card]:
    found = facts.safety
    unsafe = (
        f"{f.share(found['unsafe_rate_before'])} of unsafe prompts before, {f.share(found['unsafe_rate_pair'])} after"
    )
    start, end = found["overrefusal_rate_overcautious"], found["overrefusal_rate_pair"]
    return [
        Card("Fewer unsafe answers", f.share(found["unsafe_reduction"]), unsafe),
        Card(
            "Fewer over-refusals",
            f.share(found["overrefusal_reduction"]),
            f"{f.share(start)} of harmless prompts by the overcautious agent, {f.share(end)} after",
        ),
    ]


def _money(facts: Facts) -> list[Card]:
    cost = facts.cost
    price = cost["declared"]["price"]
    hours = cost["total_hours"]
    time = f.seconds(None if hours is None else 3600 * hours)
    hourly = f"{f.usd(price['usd_per_hour'])} an hour (declared)"
    return [
        Card("Spent", f.usd(cost["total_usd"]), f"{time} on {price['node']} at {hourly}"),
        Card(
            "Saved", f.share(cost["savings_share"]), f"of {f.usd(cost['baseline_usd'])} a year, the declared baseline"
        ),
    ]


def _rise(facts: Facts, after: str, before: str) -> str:
    """The interval of a mean over agents, and where it started."""
    agents = facts.agents
    ends = f.interval(agents.get(f"mean_{after}_low"), agents.get(f"mean_{after}_high"))
    return f"{ends} (95 %); {f.share(agents.get(f'mean_{before}'))} before fine-tuning"
