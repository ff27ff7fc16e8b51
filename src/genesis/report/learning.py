"""The report's curves: loss, bits per byte and reward over the steps, answering to the pointer on the page."""

from typing import Any

import altair as alt

from genesis.report.facts import Facts
from genesis.report.theme import HEIGHT, Palette

WARM_UPS = ("student", "rlt_sft", "waltz_baselines", "waltz_sft")
TERMS = {"reward": "reward", "r_ss": "solution term", "r_kl": "explanation term", "format": "format term"}


def curve(facts: Facts, stage: str, column: str, title: str, colours: Palette) -> alt.LayerChart | None:
    """One stage's curve over its steps; the points answer to the pointer."""
    rows = _rows(facts, stage, column)
    if not rows:
        return None
    base = _base(rows, column, title)
    hover = alt.selection_point(nearest=True, on="pointerover", fields=["step"], empty=False)
    line = base.mark_line(color=colours.series[0], strokeWidth=2, point=_few(rows, colours))
    points = [_points(base, hover, column, colours.series[0])] if colours.hover else []
    return alt.layer(line, *points).properties(height=HEIGHT)


def fleet(facts: Facts, stage: str, column: str, title: str, colours: Palette) -> alt.LayerChart | None:
    """A thin line an item; the one under the pointer stands out."""
    rows = _rows(facts, stage, column)
    if not rows:
        return None
    base = _base(rows, column, title)
    hover = alt.selection_point(nearest=True, on="pointerover", fields=["item"], empty=False)
    thin = base.mark_line(interpolate="monotone", color=colours.series[0], opacity=0.35, strokeWidth=1.2)
    if not colours.hover:
        return alt.layer(thin.encode(detail="item:N")).properties(height=HEIGHT)
    shown = alt.when(hover)
    line = thin.encode(
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


def several(facts: Facts, stages: tuple[str, ...], column: str, title: str, colours: Palette) -> alt.LayerChart | None:
    """A line for each stage, or part of one, in a colour of its own; the points answer to the pointer."""
    rows = [
        {"line": " ".join(filter(None, (stage, row["item"]))), **row}
        for stage in stages
        for row in _rows(facts, stage, column)
    ]
    return _coloured(rows, "line", column, title, colours)


def terms(facts: Facts, stage: str, colours: Palette) -> alt.LayerChart | None:
    """The reward and its terms over the steps."""
    rows = [
        {"step": row["step"], "term": label, "value": row[name]}
        for row in facts.curves
        if row["stage"] == stage
        for name, label in TERMS.items()
        if row[name] is not None
    ]
    return _coloured(rows, "term", "value", "reward", colours)


def _coloured(rows: list[dict[str, Any]], by: str, column: str, title: str, colours: Palette) -> alt.LayerChart | None:
    if not rows:
        return None
    names = list(dict.fromkeys(row[by] for row in rows))
    series = [colours.series[index % len(colours.series)] for index in range(len(names))]
    dashes = [[1, 0] if index < len(colours.series) else [4, 3] for index in range(len(names))]
    base = _base(rows, column, title).encode(
        color=alt.Color(
            f"{by}:N", scale=alt.Scale(domain=names, range=series), title=None, legend=alt.Legend(columns=3)
        ),
    )
    dash = alt.StrokeDash(f"{by}:N", scale=alt.Scale(domain=names, range=dashes), title=None)
    hover = alt.selection_point(nearest=True, on="pointerover", fields=["step"], empty=False)
    points = [_points(base, hover, column, None, by)] if colours.hover else []
    return alt.layer(base.mark_line(strokeWidth=2).encode(strokeDash=dash), *points).properties(height=HEIGHT)


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
