"""The text of the pull request comment: what a change did to gates, metrics, parameters and cost, and what ran again.

The verdict comes first; the long tail is folded away. Everything is read from git, so the text needs no network, no DVC
remote and no data.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from genesis.common.errors import UserError
from genesis.costs.formulas import total
from genesis.costs.gates import MET
from genesis.report import figures as f
from genesis.report.pull_request import metrics as m
from genesis.report.pull_request.drift import nearest_drift
from genesis.report.pull_request.pictures import changed_pictures, markdown
from genesis.report.pull_request.reruns import ABSENT, Rerun, differing, reruns, stages_left_out
from genesis.report.pull_request.sides import Side, both_sides
from genesis.report.tables import Cell, Table

MARKER = "<!-- genesis: pull request comment -->"
LIMIT = 65_536 - 1_024  # characters GitHub takes, less room for what posts the comment to add its own mark
FILES = tuple(f"metrics/{name}.json" for name in ("agents", "safety", "core", "loss", "cost"))
GATES, COST, USAGE = "metrics/gates.json", "metrics/cost.json", "metrics/usage.json"
FIRST = "⚪ First metrics: the base has none to compare with"
ORDER = (m.WORSE, m.LOST, m.BETTER, m.NEW, m.UNJUDGED, m.NOISE)
MARKS = {m.WORSE: "🔴 worse", m.BETTER: "🟢 better", m.NOISE: "⚪ within noise", m.LOST: "🔴 no longer measured"}
ROWS, PICTURES, VALUES = 20, 3, 8  # shown before the rest is folded away
FOOT = (
    "Moves are judged against 95 % intervals where a metric has one, timings and dollars against "
    f"{100 * m.TIMING:.0f} % (declared); a metric without a mark has no known direction or band."
)


def comment(root: Path, base: str, repository: str | None = None) -> str:
    """The whole text for the work tree at `root` against the commit where it left `base`.

    Args:
        root: the repository.
        base: a branch, tag or commit.
        repository: the web address of the repository, for images; see `pictures.markdown`.

    Raises:
        UserError: no repository, no such base, no metrics here, or a damaged file on one of the sides.
    """
    old, new = both_sides(root, base)
    if not measured(new):
        raise UserError(
            "metrics/: none of this branch's files is here; run `dvc repro` and commit what it writes there"
        )
    against = f"Compared with `{base}` at `{old.commit[:9]}`."
    gates, changes, stages = flipped_gates(old, new), changed_metrics(old, new), reruns(old, new)
    params, pictures = changed_values(old, new), changed_pictures(old, new)
    gone = stages_left_out(old, new)
    if measured(old) and not (gates or changes or stages or params or pictures or gone):
        return f"{MARKER}\n## ⚪ Nothing changed\n\nNo gate, metric, parameter, stage or plot differs. {against}\n"
    top, tail = [c for c in changes if not c.detail], [c for c in changes if c.detail]
    quality, priced = [c for c in top if not c.priced], [c for c in top if c.priced]
    whole = [
        f"{MARKER}\n## {verdict(gates, quality) if measured(old) else FIRST}",
        f"{summary(old, new, top, tail, stages)} {against}",
        section("Gates that flipped", gates_table(gates)),
        section("What moved", metrics_table(quality[:ROWS])),
        section("Speed and cost", metrics_table(priced)),
        section("Parameters and declared values", "\n\n".join(filter(None, [values_table(params), drift_line(root)]))),
        section("What ran again", rerun_table(stages, gone)),
        section("Plots", markdown(old, new, pictures[:PICTURES], repository)),
    ]
    folded = [
        fold(f"{len(quality) - ROWS} more metrics", metrics_table(quality[ROWS:])),
        fold(f"{len(tail)} figures of single agents, tasks and stages", metrics_table(tail)),
        fold(f"{len(pictures) - PICTURES} more plots", markdown(old, new, pictures[PICTURES:], repository)),
    ]
    return fitted([part for part in whole if part], [part for part in folded if part], f"<sub>{FOOT}</sub>")


def fitted(whole: list[str], folded: list[str], foot: str) -> str:
    """The parts joined, without the last ones that would pass GitHub's limit; says so where any is left out."""
    left_out = "\n\n*Parts are left out: a comment holds no more. `python -m genesis pr-comment` prints them all.*"
    room = LIMIT - len(foot) - len(left_out) - 2
    kept: list[str] = []
    for part in [*whole, *folded]:
        if len("\n\n".join([*kept, part])) <= room:
            kept.append(part)
    short = len(kept) < len(whole) + len(folded)
    return "\n\n".join([*kept, foot]) + (left_out if short else "") + "\n"


def measured(side: Side) -> bool:
    """Whether a side has any metrics file."""
    return any(side.content(file) is not None for file in FILES)


def changed_metrics(old: Side, new: Side) -> list[m.Change]:
    """Every metric that differs; none where the base has no metrics to compare with."""
    agents = {name for side in (old, new) for name in side.yaml("params.yaml").get("agents") or []}
    return m.changed_metrics(old, new, list(FILES), agents) if measured(old) else []


def flipped_gates(old: Side, new: Side) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Gates whose verdict differs: (before, after); a gate that one side lacks has no verdict there."""
    before, after = (side.json(GATES) or {} for side in (old, new))
    if not before:
        return []
    pairs = [(before.get(name, {}), after.get(name, {})) for name in dict.fromkeys([*after, *before])]
    return [(was, now) for was, now in pairs if was.get("verdict") != now.get("verdict")]


def changed_values(old: Side, new: Side) -> dict[str, tuple[Any, Any]]:
    """Parameters of params.yaml and of the agents' files, and declared inputs of the cost stage, that differ."""
    files = sorted(path for path in old.files("conf/agent") | new.files("conf/agent") if path.endswith(".yaml"))
    found = differing(old.yaml("params.yaml"), new.yaml("params.yaml"))
    for file in files:
        found |= {f"{file}: {key}": pair for key, pair in differing(old.yaml(file), new.yaml(file)).items() if key}
    declared = [(side.json(COST) or {}).get("declared") or {} for side in (old, new)]
    return found | {f"declared {key}": pair for key, pair in differing(*declared).items() if key}


def verdict(gates: list[tuple[dict[str, Any], dict[str, Any]]], top: list[m.Change]) -> str:
    """The heading: lost gates count first, then the headline metrics beyond noise."""
    lost = [was["label"] for was, now in gates if was.get("verdict") == MET]
    won = [now["label"] for _, now in gates if now.get("verdict") == MET]
    if lost:
        return f"🔴 No longer met: {', '.join(lost)}"
    counts = Counter(change.verdict for change in top)
    better, worse = counts[m.BETTER], counts[m.WORSE] + counts[m.LOST]
    word = {(True, True): "🟡 Mixed", (True, False): "🟢 Better", (False, True): "🔴 Worse"}
    gained = f"; now met: {', '.join(won)}" if won else ""
    if not better and not worse:
        return f"🟢 Now met: {', '.join(won)}" if won else "⚪ No metric moved beyond noise"
    parts = [f"{count} {name}" for count, name in ((better, "better"), (worse, "worse")) if count]
    return f"{word[bool(better), bool(worse)]}: {', '.join(parts)}{gained}"


def summary(old: Side, new: Side, top: list[m.Change], tail: list[m.Change], stages: list[Rerun]) -> str:
    """Gates, metrics and cost in one paragraph."""
    before, after = (side.json(GATES) or {} for side in (old, new))
    was, met = (sum(gate["verdict"] == MET for gate in gates.values()) for gates in (before, after))
    gates = f"Gates: **{met} of {len(after)} met**" + (f" (was {was})." if before and was != met else ".")
    noise = sum(change.verdict == m.NOISE for change in top)
    quiet = f" {noise} headline metrics moved within noise." if noise else ""
    single = [change for change in tail if not change.priced]
    counts = Counter(change.verdict for change in single)
    parts = (
        f" Of {len(single)} figures of single agents and tasks {counts[m.BETTER]} are better, {counts[m.WORSE]} worse."
    )
    return f"{gates}{quiet}{parts if single else ''} {spent(old, new, stages)}"


def spent(old: Side, new: Side, stages: list[Rerun]) -> str:
    """What the change cost: measured time of the outs that it made, and what the cache spared."""
    if not old.json(USAGE):
        return "The base has no `metrics/usage.json` to count the cost of the change from."
    known = [stage for stage in stages if stage.usd is not None]
    if not known:
        return "The change cost nothing: no measured stage ran again."
    usd, seconds = total(stage.usd for stage in known), total(stage.seconds for stage in known)
    whole = (new.json(COST) or {}).get("total_usd")
    share = f", of {f.usd(whole)} for the whole run" if whole else ""
    devices = [sorted({str(row.get("device")) for row in (side.json(USAGE) or {}).values()}) for side in (old, new)]
    other = f" Speeds are not comparable: {', '.join(devices[0])} before, {', '.join(devices[1])} after."
    return f"The change cost **{f.usd(usd)}** ({f.seconds(seconds)} measured{share}).{other if devices[0] != devices[1] else ''}"


def gates_table(gates: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Before and after of every flipped gate."""
    rows = []
    for was, now in gates:
        gate = now or was
        target = f"{gate['comparison']} {f.in_unit(gate['target'], gate['unit'])}"
        sides = [
            f"{_verdict(side)}, {f.in_unit(side.get('value'), gate['unit'])}" if side else "no such gate"
            for side in (was, now)
        ]
        rows.append([gate["label"], target, *sides])
    return table(["Gate", "Target", "Before", "After"], rows, {0, 1})


def metrics_table(changes: list[m.Change]) -> str:
    """Before, after, move and judgement, the worse first."""
    rows = []
    for change in sorted(changes, key=lambda change: ORDER.index(change.verdict)):
        unit = change.rule.unit
        sides = [m.shown(side, unit) for side in (change.old, change.new)]
        rows.append([code(change.key), *sides, m.step(change), MARKS.get(change.verdict, change.verdict)])
    return table(["Metric", "Before", "After", "Move", ""], rows, {0, 4})


def values_table(params: dict[str, tuple[Any, Any]]) -> str:
    """Before and after of every changed value; a list shows what came and went."""
    return table(
        ["Value", "Before", "After"], [[code(name), *_pair(*pair)] for name, pair in params.items()], {0, 1, 2}
    )


def rerun_table(stages: list[Rerun], gone: list[str]) -> str:
    """Why each stage ran again, its measured time and cost; and the stages that are gone."""
    rows = []
    for stage in stages:
        items = f" ({len(stage.items)} of {stage.of})" if stage.items else ""
        causes = sorted(stage.causes)
        why = ", ".join(code(cause) for cause in causes[:VALUES])
        why += f" and {len(causes) - VALUES} more" if len(causes) > VALUES else ""
        after = f"follows {', '.join(sorted(stage.follows))}" if stage.follows else ""
        numbers = [f.NONE, f.NONE] if stage.usd is None else [f.seconds(stage.seconds), f.usd(stage.usd)]
        rows.append([f"{stage.stage}{items}", "; ".join(filter(None, (why, after))) or "run again", *numbers])
    left = f"Gone: {', '.join(code(name) for name in gone[:VALUES])} ({len(gone)} in all)." if gone else ""
    return "\n\n".join(filter(None, [table(["Stage", "Because of", "Measured", "Cost"], rows, {0, 1}), left]))


def drift_line(root: Path) -> str:
    """How params.yaml differs from conf/: an experiment's values, which a merge has to carry into conf/."""
    if not (root / "conf/config.yaml").is_file():
        return ""
    drift = nearest_drift(root)
    names = [code(name) for name in drift.values]
    more = f" and {len(names) - VALUES} more" if len(names) > VALUES else ""
    listed = f"`params.yaml` is the profile `{drift.profile}` but for {', '.join(names[:VALUES])}{more}: "
    return f"{listed}an experiment's values. Write them into `conf/` before merging." if names else ""


def section(title: str, text: str) -> str:
    """A titled part; empty where there is nothing to say."""
    return f"### {title}\n\n{text}" if text else ""


def fold(title: str, text: str) -> str:
    """A part that opens on a click; empty where there is nothing to say."""
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>" if text else ""


def table(heads: list[str], rows: list[list[str]], texts: set[int]) -> str:
    """A Markdown table; empty without rows."""
    cells = [[Cell(text) for text in row] for row in rows]
    return Table([(head, "") for head in heads], cells, frozenset(texts)).markdown() if rows else ""


def code(value: Any, longest: int = 80) -> str:
    """A value as a code span: one line, no backtick that would end it, cut where long."""
    text = " ".join(str(value).replace("`", "'").split())
    return f"`{text if len(text) <= longest else text[: longest - 1] + '…'}`"


def _verdict(gate: dict[str, Any]) -> str:
    return f"{'🟢' if gate['verdict'] == MET else '🔴'} {gate['verdict']}"


def _pair(old: Any, new: Any) -> tuple[str, str]:
    if isinstance(old, list) and isinstance(new, list):
        gone, came = [each for each in old if each not in new], [each for each in new if each not in old]
        if gone or came:
            texts = [", ".join(code(each) for each in part) for part in (gone, came)]
            return (f"without {texts[0]}" if gone else "", f"with {texts[1]}" if came else "")
    return tuple(f.NONE if value is ABSENT else code(value) for value in (old, new))
