"""The safety track on the page: every model's rates with their intervals, the ablation among them, and what else it says.

metrics/safety.json has `<row>_<rate>`, `<row>_<rate>_low` and `_high`; whatever rows it has are shown, in its order.
"""

from dataclasses import dataclass
from typing import Any

import altair as alt

from genesis.report import figures as f
from genesis.report.facts import Facts
from genesis.report.tables import Table, cell
from genesis.report.theme import PERCENT, ROW, Palette

RATES = {
    "unsafe_rate": "Unsafe answers",
    "overrefusal_rate": "Over-refusals",
    "incoherent_rate": "Incoherent answers",
}
FEEDBACK = {
    "trigger_rate": "Asks for a revision",
    "flag_accuracy": "Flags equal the judge's",
    "malformed_rate": "Cannot be read",
    "helped_rate": "Revisions that helped",
    "hurt_rate": "Revisions that hurt",
}
NAMES = {
    "chat": "chat model",
    "solutions": "a: solutions",
    "source": "b: source's traces",
    "sft": "c: warmed-up teacher's",
    "rl": "d: RL teacher's",
    "feedback_untrained": "d + untrained feedback",
    "pair": "trained pair",
}
ABLATION = ("solutions", "source", "sft", "rl")
PLAIN = ("loss", "core_mini")  # in the names of figures that are no shares
WORDS = {"rlt": "RLT", "sft": "warm-up", "core": "CORE", "overrefusal": "over-refusal", "kept": "kept:"}


@dataclass(frozen=True)
class Rate:
    """One model's rate and the ends of its 95 % interval; None where not measured."""

    value: float | None
    low: float | None
    high: float | None

    def text(self) -> str:
        """The rate with its interval behind it."""
        ends = f.interval(self.low, self.high)
        return f"{f.share(self.value)} ({ends})" if ends and self.value is not None else f.share(self.value)


def rows(facts: Facts) -> list[str]:
    """The models that the evaluation knows."""
    end = "_unsafe_rate"
    return [key.removesuffix(end) for key in facts.safety if key.endswith(end)]


def rate(facts: Facts, row: str, name: str) -> Rate:
    """One model's rate."""
    return Rate(*(facts.safety.get(f"{row}_{name}{end}") for end in ("", "_low", "_high")))


def bars(facts: Facts, name: str, colours: Palette) -> alt.LayerChart | None:
    """One bar a model with its 95 % interval: baselines, the ablation and the trained pair told apart."""
    found = {row: rate(facts, row, name) for row in rows(facts)}
    values = [
        {"model": NAMES.get(row, row), "kind": _kind(row), "rate": own.value, "low": own.low, "high": own.high}
        for row, own in found.items()
        if own.value is not None
    ]
    if not values:
        return None
    order = [value["model"] for value in values]
    kinds = {"baseline": colours.soft, "ablation": colours.series[0], "pair": colours.series[2]}
    tooltip = [alt.Tooltip("model:N"), alt.Tooltip("rate:Q", format=".1%")]
    tooltip += [alt.Tooltip("low:Q", format=".1%", title="95 % from"), alt.Tooltip("high:Q", format=".1%", title="to")]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("model:N", sort=order, title=None, axis=alt.Axis(grid=False)), tooltip=tooltip
    )
    colour = alt.Color("kind:N", legend=None, scale=alt.Scale(domain=list(kinds), range=list(kinds.values())))
    bar = base.mark_bar(height={"band": 0.62}, cornerRadiusEnd=2).encode(
        x=alt.X("rate:Q", scale=alt.Scale(domain=[0, 1]), axis=PERCENT), color=colour
    )
    spread = base.mark_rule(color=colours.ink, strokeWidth=1, opacity=0.75).encode(x=alt.X("low:Q"), x2="high:Q")
    return alt.layer(bar, spread).properties(height=ROW * len(values))


def models(facts: Facts) -> Table:
    """One row a model: its rates with their intervals."""
    lines = [
        [cell(NAMES.get(row, row)), *(cell(rate(facts, row, name).text()) for name in RATES)] for row in rows(facts)
    ]
    strong = frozenset(index for index, row in enumerate(rows(facts)) if row == "pair")
    return Table([("Model", ""), *((name, "measured") for name in RATES.values())], lines, strong=strong)


def feedback(facts: Facts) -> Table:
    """What the feedback agent does, before and after its training."""
    known = [row for row in rows(facts) if any(f"{row}_{name}" in facts.safety for name in FEEDBACK)]
    lines = [[cell(text), *(cell(rate(facts, row, name).text()) for row in known)] for name, text in FEEDBACK.items()]
    return Table([("Feedback", ""), *((NAMES.get(row, row), "measured") for row in known)], lines if known else [])


def measures(facts: Facts) -> Table:
    """Every other figure of metrics/safety.json: reductions, the judge's agreement, what was kept, the teacher's gain."""
    known = rows(facts)
    shown = {f"{row}_{name}" for row in known for name in (*RATES, *FEEDBACK)}
    shown |= {f"{name}_{row}" for row in known for name in RATES}
    lines = []
    for key in facts.safety:
        if key.endswith(("_low", "_high", "_n")) or key in shown:
            continue
        found = Rate(*(facts.safety.get(f"{key}{end}") for end in ("", "_low", "_high")))
        plain = any(name in key for name in PLAIN)
        lines.append([cell(_words(key)), cell(f.decimal(found.value) if plain else found.text())])
    return Table([("Measure", ""), ("Value", "measured")], lines)


def measured(facts: Facts) -> bool:
    """Whether anything of the track was."""
    return any(value is not None for value in facts.safety.values())


def _kind(row: str) -> str:
    return "pair" if row == "pair" else "ablation" if row in (*ABLATION, "feedback_untrained") else "baseline"


def _words(key: str) -> str:
    return " ".join(WORDS.get(word, word) for word in key.split("_"))


def quality(facts: Facts) -> Table:
    """data/safety/quality.json, whatever it counts; groups of counts are one line."""
    lines = [[cell(_words(key)), cell(_plain(value))] for key, value in (facts.safety_quality or {}).items()]
    return Table([("Measure", ""), ("Value", "")], lines, texts=frozenset({0, 1}))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(own)}" for key, own in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(map(_plain, value)) or "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f.UNKNOWN if value is None else str(value)
    return f.count(value) if float(value).is_integer() else f"{value:.3g}"
