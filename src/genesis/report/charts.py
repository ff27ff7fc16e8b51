"""The report's charts (Vega-Altair), each a specification from facts; None where there is nothing to draw.

One specification serves the page, where colours are CSS variables and follow its theme, and the pictures of report.md.
"""

import json
from dataclasses import dataclass
from typing import Any

import altair as alt

from genesis.report import figures as f
from genesis.report.facts import PARTS, Facts
from genesis.report.money import roi_basis

HEIGHT, ROW = 220, 26  # of a curve chart; of one row of bars; in CSS pixels
DOLLARS = "format(abs(datum.value), abs(datum.value) < 1 && datum.value != 0 ? '.2~g' : '~s')"
PERCENT = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1], title=None)
FIT = alt.AutoSizeParams(type="fit-x", contains="padding")
PADDING = {"left": 2, "right": 8, "top": 6, "bottom": 2}


@dataclass(frozen=True)
class Palette:
    """Colours of the marks; `series` in order of use."""

    ink: str
    muted: str
    grid: str
    soft: str
    accent: str
    series: tuple[str, ...]


PAGE = Palette(
    "var(--ink)", "var(--muted)", "var(--line)", "var(--soft)", "var(--accent)", ("var(--s1)", "var(--s2)", "var(--s3)")
)
PRINT = Palette("#1c2430", "#5d6877", "#e3e7ec", "#b9c3cf", "#2f6db3", ("#2f6db3", "#b8642a", "#3f8a63"))


def all_charts(facts: Facts, colours: Palette) -> dict[str, dict[str, Any]]:
    """Every chart that has data, by name, as Vega-Lite."""
    found = {
        "pretrain_bpb": curve(facts, "pretrain", "bpb", "bits per byte", colours),
        "pretrain_loss": curve(facts, "pretrain", "loss", "training loss (nats a token)", colours),
        "chat_loss": curve(facts, "chat", "loss", "training loss (nats a token)", colours),
        "finetune_loss": fleet(facts, "finetune", "loss", "training loss (nats a token)", colours),
        "rlt_reward": terms(facts, "rlt_rl", colours),
        **{f"agents_{part}": agents(facts, part, colours) for part in PARTS},
        "safety_rates": safety(facts, colours),
        "waterfall": waterfall(facts, colours),
        "stage_costs": stage_costs(facts, colours),
        "roi": roi(facts, colours),
    }
    return {name: finish(chart, colours) for name, chart in found.items() if chart is not None}


def finish(chart: alt.TopLevelMixin, colours: Palette) -> dict[str, Any]:
    """Fit the chart to its container and give it the palette."""
    themed = (
        chart.properties(width="container", autosize=FIT, background="transparent", padding=PADDING)
        .configure(font="system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            gridColor=colours.grid,
            domain=False,
            ticks=False,
            labelColor=colours.muted,
            titleColor=colours.muted,
            titleFontWeight="normal",
            labelFontSize=11,
            titleFontSize=11,
            labelPadding=6,
        )
        .configure_axisY(labelLimit=200, grid=True)
        .configure_legend(labelColor=colours.ink, titleColor=colours.muted, orient="top", titleFontWeight="normal")
    )
    return themed.to_dict()


def curve(facts: Facts, stage: str, column: str, title: str, colours: Palette) -> alt.LayerChart | None:
    """One stage's curve over its steps; the points answer to the pointer."""
    rows = _rows(facts, stage, column)
    if not rows:
        return None
    base = _base(rows, column, title)
    hover = alt.selection_point(nearest=True, on="pointerover", fields=["step"], empty=False)
    line = base.mark_line(color=colours.series[0], strokeWidth=2, point=_few(rows, colours))
    return alt.layer(line, _points(base, hover, column, colours.series[0])).properties(height=HEIGHT)


def fleet(facts: Facts, stage: str, column: str, title: str, colours: Palette) -> alt.LayerChart | None:
    """A thin line an item; the one under the pointer stands out."""
    rows = _rows(facts, stage, column)
    if not rows:
        return None
    base = _base(rows, column, title)
    hover = alt.selection_point(nearest=True, on="pointerover", fields=["item"], empty=False)
    shown = alt.when(hover)
    line = base.mark_line(interpolate="monotone").encode(
        detail="item:N",
        color=shown.then(alt.value(colours.series[1])).otherwise(alt.value(colours.series[0])),
        opacity=shown.then(alt.value(1)).otherwise(alt.value(0.35)),
        strokeWidth=shown.then(alt.value(2.5)).otherwise(alt.value(1.2)),
    )
    points = _points(base, hover, column, "transparent", "item")
    name = base.mark_text(align="right", dy=-6, color=colours.series[1], fontSize=13, fontWeight=600).encode(
        x=alt.value("width"), y=alt.value(14), text="min(item):N"
    )
    return alt.layer(line, points, name.transform_filter(hover)).properties(height=HEIGHT)


def terms(facts: Facts, stage: str, colours: Palette) -> alt.LayerChart | None:
    """The reward and its terms over the steps."""
    names = {"reward": "reward", "r_ss": "solution term", "r_kl": "explanation term"}
    rows = [
        {"step": row["step"], "term": label, "value": row[name]}
        for row in facts.curves
        if row["stage"] == stage
        for name, label in names.items()
        if row[name] is not None
    ]
    if not rows:
        return None
    hover = alt.selection_point(nearest=True, on="pointerover", fields=["step"], empty=False)
    colour = alt.Color("term:N", scale=alt.Scale(domain=list(names.values()), range=list(colours.series)), title=None)
    base = _base(rows, "value", "reward").encode(color=colour)
    return alt.layer(base.mark_line(strokeWidth=2), _points(base, hover, "value", None, "term")).properties(
        height=HEIGHT
    )


def agents(facts: Facts, part: str, colours: Palette) -> alt.LayerChart | None:
    """Two bars an agent, before and after, each with its 95 % interval."""
    rows = [
        {"agent": name, "when": when, "accuracy": score.value, "low": score.low, "high": score.high, "n": score.n}
        for name in facts.names
        for when, scores in (("before", facts.before), ("after", facts.after))
        if (score := scores.get(name, {}).get(part))
    ]
    if not rows:
        return None
    tooltip = [
        alt.Tooltip("agent:N"),
        alt.Tooltip("when:N"),
        alt.Tooltip("accuracy:Q", format=".1%"),
        alt.Tooltip("low:Q", format=".1%", title="95 % from"),
        alt.Tooltip("high:Q", format=".1%", title="to"),
        alt.Tooltip("n:Q", title="examples"),
    ]
    order = alt.Scale(domain=["before", "after"])
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("agent:N", sort=facts.names, title=None, axis=alt.Axis(grid=False)),
        yOffset=alt.YOffset("when:N", scale=order),
        tooltip=tooltip,
    )
    colour = alt.Color("when:N", title=None, scale=alt.Scale(domain=order.domain, range=[colours.soft, colours.accent]))
    bars = base.mark_bar(height={"band": 0.86}, cornerRadiusEnd=2).encode(
        x=alt.X("accuracy:Q", scale=alt.Scale(domain=[0, 1]), axis=PERCENT), color=colour
    )
    spread = base.mark_rule(color=colours.ink, strokeWidth=1, opacity=0.75).encode(x=alt.X("low:Q"), x2="high:Q")
    return alt.layer(bars, spread).properties(height=ROW * len({row["agent"] for row in rows}))


def safety(facts: Facts, colours: Palette) -> alt.LayerChart | None:
    """Unsafe and over-refusal rates: the baseline of each, and the trained pair."""
    pairs = {
        "unsafe answers": ("unsafe_rate_before", "unsafe_rate_pair"),
        "over-refusals": ("overrefusal_rate_overcautious", "overrefusal_rate_pair"),
    }
    rows = [
        {"rate": rate, "model": model, "value": facts.safety[key]}
        for rate, keys in pairs.items()
        for model, key in zip(("baseline", "trained pair"), keys, strict=True)
        if facts.safety.get(key) is not None
    ]
    if not rows:
        return None
    colour = alt.Scale(domain=["baseline", "trained pair"], range=[colours.soft, colours.accent])
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("rate:N", title=None, sort=list(pairs), axis=alt.Axis(grid=False)),
        yOffset=alt.YOffset("model:N", scale=alt.Scale(domain=colour.domain)),
        x=alt.X("value:Q", scale=alt.Scale(domain=[0, 1]), axis=PERCENT),
        tooltip=["rate:N", "model:N", alt.Tooltip("value:Q", format=".1%")],
    )
    bars = base.mark_bar(height={"band": 0.86}, cornerRadiusEnd=2).encode(
        color=alt.Color("model:N", title=None, scale=colour)
    )
    text = base.mark_text(align="left", dx=4, color=colours.ink).encode(text=alt.Text("value:Q", format=".1%"))
    return alt.layer(bars, text).properties(height=2 * ROW * len({row["rate"] for row in rows}))


def waterfall(facts: Facts, colours: Palette) -> alt.LayerChart | None:
    """From the declared baseline by way of the plan to what was spent."""
    cost = facts.cost
    baseline, plan, actual = cost["baseline_usd"], cost["plan_usd"], cost["total_usd"]
    if None in (baseline, plan, actual):
        return None
    rows = [
        _fall("Baseline (declared)", 0, baseline, "declared"),
        _fall("cut by the plan", plan, baseline, "saved"),
        _fall("Plan (declared)", 0, plan, "declared"),
        _fall("not spent", actual, plan, "saved"),
        _fall("Actual (measured)", 0, actual, "measured"),
    ]
    return _bars(rows, colours)


def stage_costs(facts: Facts, colours: Palette) -> alt.LayerChart | None:
    """What each stage added to the total, in the pipeline's order."""
    rows, start = [], 0.0
    for line in facts.costs:
        if line["level"] == "stage" and line["actual_usd"] is not None:
            rows.append(_fall(line["name"], start, start + line["actual_usd"], "stage"))
            start += line["actual_usd"]
    return _bars([*rows, _fall("Total", 0, start, "measured")], colours) if rows else None


def roi(facts: Facts, colours: Palette) -> alt.LayerChart | None:
    """Dollars saved over the years against the baseline, by number of businesses; retraining chosen by the reader."""
    rows = [_point(row) for row in facts.roi if row["basis"] == roi_basis(facts)]
    if not rows:
        return None
    counts = sorted({row["retrainings"] for row in rows})
    choice = alt.selection_point(
        fields=["retrainings"],
        bind=alt.binding_radio(options=counts, name="Retrainings a year "),
        value=[{"retrainings": counts[0]}],
    )
    names = list(dict.fromkeys(row["businesses"] for row in rows))
    colour = alt.Color("businesses:N", title=None, scale=alt.Scale(domain=names, range=list(colours.series)))
    base = (
        alt.Chart(alt.InlineData(values=rows))
        .transform_filter(choice)
        .encode(
            x=alt.X("years:O", title="years", axis=alt.Axis(labelAngle=0)),
            y=alt.Y(
                "saved:Q",
                title="US dollars saved (logarithmic)",
                scale=alt.Scale(type="symlog", constant=100, nice=True),
                axis=alt.Axis(labelExpr=f"(datum.value < 0 ? '\u2212$' : '$') + {DOLLARS}", values=_decades(rows)),
            ),
            color=colour,
            tooltip=["businesses:N", "years:O", "retrainings:O", alt.Tooltip("label:N", title="saved")],
        )
    )
    return alt.layer(
        base.mark_line(strokeWidth=2), base.mark_point(filled=True, size=60, opacity=1).add_params(choice)
    ).properties(height=HEIGHT + 40)


def _rows(facts: Facts, stage: str, column: str) -> list[dict[str, Any]]:
    names = ("item", "step", "tokens", column)
    return [
        {name: row[name] for name in names} for row in facts.curves if row["stage"] == stage and row[column] is not None
    ]


def _base(rows: list[dict[str, Any]], column: str, title: str) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(grid=False, tickCount=6)),
        y=alt.Y(f"{column}:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
    )


def _few(rows: list[dict[str, Any]], colours: Palette) -> alt.OverlayMarkDef | bool:
    """Marks on a curve of few points, each of which was an evaluation."""
    return alt.OverlayMarkDef(filled=True, size=45, color=colours.series[0]) if len(rows) <= 30 else False


def _points(
    base: alt.Chart, hover: alt.Parameter, column: str, colour: str | None, name: str | None = None
) -> alt.Chart:
    """Points that show under the pointer and tell their values."""
    # numbers alone: Vega-Lite 6 reads a text field of the nearest point from the wrong datum and shows undefined
    fields = [alt.Tooltip("step:Q", format=","), alt.Tooltip(f"{column}:Q", format=".4~f")]
    mark = base.mark_point(size=70, filled=True, **({"color": colour} if colour else {}))
    opacity = alt.when(hover).then(alt.value(1)).otherwise(alt.value(0))
    return mark.encode(tooltip=fields, opacity=opacity, **({"detail": f"{name}:N"} if name else {})).add_params(hover)


def _fall(name: str, start: float, end: float, kind: str) -> dict[str, Any]:
    return {"name": name, "start": start, "end": end, "kind": kind, "label": f.usd(end - start)}


def _bars(rows: list[dict[str, Any]], colours: Palette) -> alt.LayerChart:
    """Horizontal bars from start to end with their dollars behind them; declared ones are outlined, not filled."""
    kinds = {"declared": colours.soft, "saved": colours.grid, "measured": colours.accent, "stage": colours.series[0]}
    drawn = [kind for kind in kinds if any(row["kind"] == kind for row in rows)]
    longest = max(row["end"] for row in rows)
    axis = alt.Axis(labelExpr=f"'$' + {DOLLARS}", tickCount=4, title=None)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(grid=False)),
        x=alt.X("start:Q", scale=alt.Scale(domain=[0, longest * 1.22], nice=False), axis=axis),
        tooltip=[alt.Tooltip("name:N", title="what"), alt.Tooltip("label:N", title="US dollars"), "kind:N"],
    )
    colour = alt.Color("kind:N", legend=None, scale=alt.Scale(domain=drawn, range=[kinds[kind] for kind in drawn]))
    bars = base.mark_bar(height={"band": 0.66}, cornerRadius=2, minBandSize=2).encode(x2="end:Q", color=colour)
    text = base.mark_text(align="left", dx=5, color=colours.ink).encode(x="end:Q", text="label:N")
    return alt.layer(bars, text).properties(height=ROW * len(rows))


def _point(row: dict[str, Any]) -> dict[str, Any]:
    count = int(row["businesses"])
    return {
        "businesses": f"{count} business{'es' if count > 1 else ''}",
        "years": int(row["years"]),
        "retrainings": int(row["retrainings_per_year"]),
        "saved": row["savings_usd"],
        "label": f.usd(row["savings_usd"]),
    }


def _decades(rows: list[dict[str, Any]]) -> list[float]:
    """Powers of ten from the hundreds up to the largest value, negative ones where there are any."""
    most = max(abs(row["saved"]) for row in rows)
    ticks = [10.0**power for power in range(2, 13) if 10.0**power <= most * 10]
    below = [-tick for tick in ticks] if any(row["saved"] < 0 for row in rows) else []
    return [*below, 0.0, *ticks]


def to_json(chart: dict[str, Any]) -> str:
    """A specification as text that may stand inside a script element."""
    return json.dumps(chart, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
