"""The report's bars and the chart of the return: accuracies with intervals, rates, money."""

from typing import Any

import altair as alt

from genesis.report import figures as f
from genesis.report.facts import Facts
from genesis.report.money import roi_basis
from genesis.report.theme import HEIGHT, PERCENT, ROW, Palette

DOLLARS = "format(abs(datum.value), abs(datum.value) < 1 && datum.value != 0 ? '.2~g' : '~s')"


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
