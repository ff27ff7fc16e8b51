"""How the report's charts look: one specification serves the page and the pictures of report.md.

On the page colours are CSS variables, so that a chart follows the page's theme without being drawn anew.
"""

import json
from dataclasses import dataclass
from typing import Any

import altair as alt

HEIGHT, ROW = 220, 26  # of a curve chart; of one row of bars; in CSS pixels
FIT = alt.AutoSizeParams(type="fit-x", contains="padding")
PADDING = {"left": 2, "right": 8, "top": 6, "bottom": 2}
PERCENT = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1], title=None)
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Palette:
    """Colours of the marks, `series` in order of use; `hover` says whether anyone can point at them."""

    ink: str
    muted: str
    grid: str
    soft: str
    accent: str
    series: tuple[str, ...]
    hover: bool


PAGE = Palette(
    ink="var(--ink)",
    muted="var(--muted)",
    grid="var(--line)",
    soft="var(--soft)",
    accent="var(--accent)",
    series=tuple(f"var(--s{number})" for number in range(1, 6)),
    hover=True,
)
PRINT = Palette(
    ink="#1c2430",
    muted="#5d6877",
    grid="#e3e7ec",
    soft="#b9c3cf",
    accent="#2f6db3",
    series=("#2f6db3", "#b8642a", "#3f8a63", "#8a5aa8", "#9a7d1e"),
    hover=False,
)


def finish(chart: alt.TopLevelMixin, colours: Palette) -> dict[str, Any]:
    """Fit the chart to its container and give it the palette."""
    themed = (
        chart.properties(width="container", autosize=FIT, background="transparent", padding=PADDING)
        .configure(font=FONT)
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


def to_json(chart: dict[str, Any]) -> str:
    """A specification as text that may stand inside a script element."""
    return json.dumps(chart, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
