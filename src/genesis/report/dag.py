"""The pipeline as a picture: dvc.yaml's stages (a foreach is one node) as SVG and as mermaid.

An edge that a longer path implies is left out.
"""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import networkx as nx

from genesis.common.errors import UserError
from genesis.common.params import read_yaml
from genesis.report.layout import HEIGHT, WIDTH, Position, layout

TIMES = "\N{MULTIPLICATION SIGN}"

KEY = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml; `items` are its foreach keys, None where it runs once."""

    name: str
    about: str
    items: tuple[str, ...] | None
    deps: tuple[str, ...]
    outs: tuple[str, ...]


@dataclass(frozen=True)
class Label:
    """What a node says under its name, and its share of the whole (0 to 1, None where unknown)."""

    text: str
    share: float | None = None


def read_stages(root: Path) -> list[Stage]:
    """The stages of `root`/dvc.yaml in the file's order; lists named in a foreach come from params.yaml.

    Raises:
        UserError: no dvc.yaml, no stages in it, or a foreach that cannot be resolved.
    """
    path = root / "dvc.yaml"
    stages = read_yaml(path).get("stages")
    if not isinstance(stages, dict) or not stages:
        raise UserError(f"{path}: stages: expected a mapping of stages")
    return [_stage(name, block, root) for name, block in stages.items()]


def graph(stages: list[Stage]) -> nx.DiGraph:
    """Stage names joined from maker to user, without the edges that a longer path implies.

    Raises:
        UserError: the stages form a cycle.
    """
    found = nx.DiGraph()
    found.add_nodes_from(stage.name for stage in stages)
    for maker in stages:
        for user in stages:
            if maker is not user and any(_meet(out, dep) for out in maker.outs for dep in user.deps):
                found.add_edge(maker.name, user.name)
    if not nx.is_directed_acyclic_graph(found):
        raise UserError("dvc.yaml: stages: they form a cycle")
    reduced = nx.transitive_reduction(found)
    ordered = nx.DiGraph()
    ordered.add_nodes_from(found)
    ordered.add_edges_from(edge for edge in found.edges if reduced.has_edge(*edge))
    return ordered


def mermaid(stages: list[Stage], labels: dict[str, Label]) -> str:
    """The graph as a mermaid flowchart, as GitHub draws it."""
    lines = ["flowchart TD"]
    for stage in stages:
        words = "<br/>".join(filter(None, (title(stage), labels[stage.name].text)))
        lines.append(f'  {stage.name}["{words}"]')
    lines += [f"  {maker} --> {user}" for maker, user in graph(stages).edges]
    return "\n".join(lines)


def svg(stages: list[Stage], labels: dict[str, Label]) -> str:
    """The graph as an inline SVG; colours are the page's CSS classes."""
    positions, routes = layout(graph(stages))
    width = max(x for x, _ in positions.values()) + WIDTH / 2 + 1
    height = max(y for _, y in positions.values()) + HEIGHT + 1
    paths = [f'<path class="edge" d="{_curve(route)}"/>' for route in routes]
    nodes = [_node(stage, labels[stage.name], *positions[stage.name]) for stage in stages]
    return (
        f'<svg class="dag" viewBox="-1 -1 {width + 1:.0f} {height + 1:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="The pipeline: {len(stages)} stages">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path class="tip" d="M0 .8 7 4 0 7.2z"/></marker></defs>'
        f"{''.join(paths)}{''.join(nodes)}</svg>"
    )


def title(stage: Stage) -> str:
    """The stage's name, with the number of its items."""
    return stage.name if stage.items is None else f"{stage.name} {TIMES}{len(stage.items)}"


def _stage(name: str, block: dict[str, Any], root: Path) -> Stage:
    over = block.get("foreach", block.get("matrix"))
    body = block.get("do", block)
    items = None if over is None else tuple(_items(over, root, name))
    values = over if isinstance(over, dict) and "foreach" in block else {}
    paths = {
        kind: tuple(_resolved(path, root) for entry in _paths(body.get(kind, [])) for path in _spelt_out(entry, values))
        for kind in ("deps", "outs", "metrics", "plots")
    }
    outs = paths["outs"] + paths["metrics"] + paths["plots"]
    return Stage(name, str(body.get("desc", block.get("desc", ""))), items, paths["deps"], outs)


def _items(over: Any, root: Path, stage: str) -> list[str]:
    if isinstance(over, str) and (match := KEY.fullmatch(over)):
        over = _param(match[1], root)
    if isinstance(over, dict) and over and all(isinstance(values, list) for values in over.values()):
        over = [key for values in over.values() for key in values]
    if not isinstance(over, list | dict):
        raise UserError(f"dvc.yaml: stages.{stage}: foreach: expected a list, a mapping or ${{key}} of params.yaml")
    return [str(item) for item in over]


def _param(name: str, root: Path) -> Any:
    value: Any = read_yaml(root / "params.yaml")
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _resolved(path: str, root: Path) -> str:
    """The path with values of params.yaml put in; `${item}` and `${key}` stay, they stand for any name."""
    return KEY.sub(lambda match: match[0] if match[1] in ("item", "key") else str(_param(match[1], root)), path)


def _paths(entries: Any) -> list[str]:
    entries = [entries] if isinstance(entries, str) else entries
    return [next(iter(entry)) if isinstance(entry, dict) else str(entry) for entry in entries]


def _spelt_out(path: str, values: dict[str, Any]) -> list[str]:
    """The path for every entry of a foreach over a mapping of names to paths; as it is elsewhere."""
    texts = [path.replace("${key}", key).replace("${item}", str(value)) for key, value in values.items()]
    return list(dict.fromkeys(texts)) or [path]


def _meet(out: str, dep: str) -> bool:
    """One path is the other or holds it; an interpolation stands for any name."""
    pairs = zip(Path(out).parts, Path(dep).parts, strict=False)
    return all(a == b or "${" in a or "${" in b for a, b in pairs)


def _curve(route: list[Position]) -> str:
    """Vertical S-curves from the bottom of the first node to the top of the last; straight through the dummies."""
    x, y = route[0][0], route[0][1] + HEIGHT
    parts = [f"M{x:.1f} {y:.1f}"]
    for index, (next_x, next_y) in enumerate(route[1:], start=1):
        middle = (y + next_y) / 2
        parts.append(f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}")
        x, y = next_x, next_y
        if index < len(route) - 1:
            y += HEIGHT
            parts.append(f"V{y:.1f}")
    return "".join(parts)


def _node(stage: Stage, label: Label, x: float, y: float) -> str:
    left = x - WIDTH / 2
    bar = ""
    if label.share:
        length = max(2.0, (WIDTH - 20) * label.share)
        place = f'x="{left + 10:.1f}" y="{y + HEIGHT - 7:.1f}"'
        bar = f'<rect class="share" {place} width="{length:.1f}" height="3" rx="1.5"/>'
    return (
        f'<g class="stage"><title>{escape(stage.name)}: {escape(stage.about)}</title>'
        f'<rect class="box" x="{left:.1f}" y="{y:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
        f'<text class="name" x="{x:.1f}" y="{y + (19 if label.text else 28):.1f}">{escape(title(stage))}</text>'
        f'<text class="note" x="{x:.1f}" y="{y + 35:.1f}">{escape(label.text)}</text>{bar}</g>'
    )
