"""The report stage: reports/index.html, report.md and its pictures, COSTS.md, from files alone.

The same files give the same bytes: no clock, no random names, no reading of git; a commit is shown where the caller
gives one.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from genesis.report import budget, dag, money, safety, tables
from genesis.report import figures as f
from genesis.report.charts import all_charts
from genesis.report.facts import Facts, read_facts
from genesis.report.headlines import cards, verdict
from genesis.report.theme import PAGE, PRINT, to_json

TEMPLATES = Path(__file__).parent
SECTIONS = (
    "summary",
    "pipeline",
    "learning",
    "agents",
    "safety",
    "CORE",
    "cost",
    "return",
    "samples",
    "data",
    "environment",
)
PICTURE_WIDTH = 680  # of the pictures of report.md, in CSS pixels


def report(root: Path, out: Path, commit: str | None = None) -> None:
    """Write `out`/index.html, report.md, COSTS.md and plots/*.svg.

    Args:
        root: the repository, whose metrics/, data/ and own files are read.
        out: the folder; other files in it are left alone.
        commit: shown among the environment where given.

    Raises:
        UserError: a file that the report needs is absent or damaged.
    """
    facts = read_facts(root, commit)
    out.mkdir(parents=True, exist_ok=True)
    pictures = draw(all_charts(facts, PRINT), out / "plots")
    content = context(facts)
    specs = all_charts(facts, PAGE)
    page = {
        **content,
        "pipeline": Markup(dag.svg(facts.stages, labels(facts))),
        "specs": {name: Markup(to_json(spec)) for name, spec in specs.items()},
        "sections": SECTIONS,
        "vega": Markup(vl_convert.javascript_bundle()),
    }
    write(out / "index.html", "page.html.jinja", page)
    pipeline = dag.mermaid(facts.stages, labels(facts))
    write(out / "report.md", "report.md.jinja", {**content, "pipeline": pipeline, "pictures": pictures})
    write(out / "COSTS.md", "costs.md.jinja", budget.document(facts))


def context(facts: Facts) -> dict[str, Any]:
    """What both documents show."""
    return {
        "facts": facts,
        "verdict": verdict(facts),
        "cards": cards(facts),
        "declared": facts.cost["declared"],
        "gates": tables.gates(facts.gates),
        "stages": tables.stages(facts),
        "agents": tables.agents(facts),
        "safety": safety.measures(facts),
        "safety_measured": safety.measured(facts),
        "safety_models": safety.models(facts),
        "safety_feedback": safety.feedback(facts),
        "safety_quality": safety.quality(facts),
        "core": tables.core(facts),
        "quality": tables.quality(facts),
        "corpus": tables.corpus(facts),
        "environment": tables.environment(facts),
        "outs": tables.outs(facts),
        "costs": money.costs(facts),
        "lines": money.costs(facts, ("stage", "agent")),
        "first_plan": money.first_plan(facts),
        "projections": money.projections(facts),
        "unit_costs": money.unit_costs(facts),
        "roi": money.roi(facts),
        "roi_basis": money.roi_basis(facts),
        "unknown": f.UNKNOWN,
    }


def labels(facts: Facts) -> dict[str, dag.Label]:
    """Measured time and cost of every stage, and its share of the whole time."""
    times = {}
    for stage in facts.stages:
        own = [row["active_s"] for row in facts.usage.values() if row["stage"] == stage.name]
        known = [seconds for seconds in own if seconds is not None]
        times[stage.name] = (bool(own), sum(known) if known else None)
    whole = sum(seconds for _, seconds in times.values() if seconds)
    found = {}
    for name, (measures, seconds) in times.items():
        text = (
            f"{f.seconds(seconds)} · {f.usd(facts.cost.get(f'stage_{name}_usd'))}" if seconds is not None else f.UNKNOWN
        )
        found[name] = dag.Label(text if measures else "", seconds / whole if seconds else None)
    return found


def draw(specs: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """Write every chart as an SVG into `folder`, emptied first; returns the charts' names."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, spec in specs.items():
        spec = {**spec, "width": PICTURE_WIDTH, "background": "#ffffff", "padding": 12}
        spec["config"] = {**spec["config"], "font": "Liberation Sans, Arial, Helvetica, sans-serif"}
        (folder / f"{name}.svg").write_text(_renumbered(vl_convert.vegalite_to_svg(json.dumps(spec))), encoding="utf-8")
    return list(specs)


def _renumbered(svg: str) -> str:
    """Clip paths counted from 1: the library goes on counting from one picture to the next."""
    numbers: dict[str, int] = {}
    return re.sub(r"\bclip(\d+)", lambda match: f"clip{numbers.setdefault(match[1], len(numbers) + 1)}", svg)


def write(path: Path, template: str, values: dict[str, Any]) -> None:
    """Fill one of the templates beside this file; in HTML everything that is no markup is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    path.write_text(environment.get_template(template).render(values), encoding="utf-8")
