"""The report's tables, free of any format: the page and report.md draw the same cells."""

from dataclasses import dataclass
from typing import Any

from genesis.report import figures as f
from genesis.report.facts import Facts

VERDICTS = {"not met": "unmet", "met": "met", "not measured": "unknown"}
SIGNS = {">=": "\N{GREATER-THAN OR EQUAL TO}", "<=": "\N{LESS-THAN OR EQUAL TO}"}


@dataclass(frozen=True)
class Cell:
    """One cell: what it says, and a class that the page colours."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """Columns (name, and the kind of its figures: declared, measured, projected or none) and rows of cells.

    All columns but those in `texts` hold figures and stand to the right; rows in `strong` are sums.
    """

    columns: list[tuple[str, str]]
    rows: list[list[Cell]]
    texts: frozenset[int] = frozenset({0})
    strong: frozenset[int] = frozenset()

    def markdown(self) -> str:
        """The table as GitHub draws it; a column's kind stands behind its name."""
        heads = [f"{name} ({kind})" if kind else name for name, kind in self.columns]
        marks = ["---" if index in self.texts else "---:" for index in range(len(heads))]
        lines = [heads, marks]
        for index, row in enumerate(self.rows):
            cells = [cell.text.replace("|", "\\|").replace("\n", " ") for cell in row]
            lines.append([f"**{cell}**" if cell and index in self.strong else cell for cell in cells])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> Cell:
    """A cell; what was not measured is marked so."""
    return Cell(text, "unknown" if text in (f.UNKNOWN, f.NONE) else "")


def gates(found: dict[str, dict[str, Any]]) -> Table:
    """Every gate of metrics/gates.json: the missed ones first, and where its value came from or what it waits for."""
    rows = []
    for gate in sorted(found.values(), key=lambda gate: list(VERDICTS).index(gate["verdict"])):
        ends = gate["interval"] or (None, None)
        target = f"{SIGNS.get(gate['comparison'], gate['comparison'])} {f.in_unit(gate['target'], gate['unit'])}"
        waits = gate["value"] is None and gate["needs"]
        source = f"needs {gate['needs']}" if waits else gate["source"]
        rows.append(
            [
                Cell(gate["verdict"], VERDICTS[gate["verdict"]]),
                cell(gate["label"]),
                cell(target),
                cell(f.in_unit(gate["value"], gate["unit"])),
                cell(f.interval(*ends)),
                Cell(source or "", "source"),
            ]
        )
    columns = [("Verdict", ""), ("Gate", ""), ("Target", "declared"), ("Value", "measured"), ("95 % interval", "")]
    return Table([*columns, ("Value from", "")], rows, texts=frozenset({0, 1, 5}))


def agents(facts: Facts) -> Table:
    """One row an agent: accuracy before and after, its speed and what it cost."""
    keys = ("before", "held_out", "new_values", "unseen_frames", "before_scenarios", "scenarios")

    def row(name: str, values: dict[str, Any], prefix: str, usd: float | None, loss: float | None) -> list[Cell]:
        scores = [values.get(f"{prefix}_{key}") for key in keys]
        speed, latency = values.get(f"{prefix}_tokens_per_s"), values.get(f"{prefix}_latency_p50_s")
        rest = [f.decimal(loss), f.amount(speed), f.seconds(latency), f.usd(usd)]
        return [cell(name), *map(cell, [*map(f.share, scores), *rest])]

    rows = [
        row(name, facts.agents, name, facts.cost.get(f"agent_{name}_usd"), facts.loss.get(f"finetune_{name}_val_loss"))
        for name in facts.names
    ]
    marginal, loss = facts.cost["marginal_next_agent_usd"], facts.loss.get("mean_finetune_val_loss")
    rows.append(row("mean", facts.agents, "mean", marginal, loss))
    columns = ("Agent", "Held-out, before", "Held-out", "New values", "Unseen frames", "Scenarios, before", "Scenarios")
    columns += ("Validation loss", "Tokens/s", "Latency p50", "Cost")
    return Table([(name, "") for name in columns], rows, strong=frozenset({len(rows) - 1}))


def stages(facts: Facts) -> Table:
    """What each stage took; items are summed, and a stage that does not measure itself has dashes."""
    rows = []
    for stage in facts.stages:
        own = [row for row in facts.usage.values() if row["stage"] == stage.name]
        known = [row for row in own if row["active_s"] is not None]
        seconds, tokens, flops, attempts = (
            sum(row[key] for row in known) if known else None for key in ("active_s", "tokens", "flops", "attempts")
        )
        peak = max((row["peak_memory_bytes"] for row in known), default=None)
        texts = [f.seconds(seconds), f.usd(facts.cost.get(f"stage_{stage.name}_usd"))]
        texts += [f.NONE if tokens == 0 else f.amount(tokens), f.NONE if flops == 0 else f.amount(flops, "FLOP")]
        texts += [f.amount(peak, "B"), f.count(attempts)]
        items = "" if stage.items is None else f.count(len(stage.items))
        if known and len(known) < len(own):
            items = f"{len(known)} of {len(own)} measured"
        rows.append([cell(stage.name), cell(items), *map(cell, texts if own else [f.NONE] * len(texts))])
    names = ("Stage", "Items", "Active time", "Cost", "Tokens", "Training FLOPs", "Peak memory", "Attempts")
    return Table([(name, "") for name in names], rows)


def core(facts: Facts) -> Table:
    """Every task of the bundle that was run."""
    rows = []
    for label, result in facts.core_results.items():
        low, high = result.get("interval") or (None, None)
        texts = [f.share(result["accuracy"]), f.interval(low, high), f.decimal(result["centered"])]
        texts += [f.count(result["n"]), f.count(result["n_failed"]), f.count(result["n_contaminated"])]
        rows.append([cell(label), *map(cell, texts)])
    names = ("Task", "Accuracy", "95 % interval", "Centred", "Items", "Failed", "Contaminated")
    return Table([(name, "") for name in names], rows)


def quality(facts: Facts) -> Table:
    """Each agent's data as its quality report has it."""
    rows = []
    for name in facts.names:
        found = facts.quality.get(name)
        if not found:
            rows.append([cell(name), *[cell(f.UNKNOWN)] * 11])
            continue
        sizes, parts = found["rows"], found["test_parts"]
        numbers = [sizes["train"], sizes["val"], parts.get("new_values", 0), parts.get("unseen_frames", 0)]
        numbers += [
            parts.get("test", 0),
            found["answers"],
            found["dropped_duplicates"],
            found["leaked"],
            sum(found["dropped_secrets"].values()),
        ]
        texts = [*map(f.count, numbers), f.share(found["reviewed"], 0), "; ".join(found["flags"]) or "none"]
        rows.append([cell(name), *map(cell, texts)])
    names = ("Agent", "Training pairs", "Validation", "Held out: new values", "Held out: unseen frames")
    names += (
        "Held out: own file",
        "Answers",
        "Duplicates dropped",
        "Leaks removed",
        "Secrets dropped",
        "Reviewed",
        "Flags",
    )
    return Table([(name, "") for name in names], rows)


def corpus(facts: Facts) -> Table:
    """The pretraining text by source."""
    rows = []
    for name, own in sorted((facts.corpus or {}).get("sources", {}).items()):
        numbers = [f.count(own.get(f"{split}_documents", 0)) for split in ("train", "val")]
        chars = [f.amount(own.get(f"{split}_chars", 0)) for split in ("train", "val")]
        rows.append([cell(name), *map(cell, [*numbers, *chars])])
    names = ("Source", "Training documents", "Validation documents", "Training characters", "Validation characters")
    return Table([(name, "") for name in names], rows)


def environment(facts: Facts) -> Table:
    """What ran where, and the digests that name this state."""
    price = facts.cost["declared"]["price"]
    devices = sorted(
        {f"{row['device']} ({row['device_count']:.0f})" for row in facts.usage.values() if row["device"] is not None}
    )
    hourly = f"{f.usd(price['usd_per_hour'])} an hour {price['market'].replace('_', ' ')}"
    rows = [
        ("Device (count)", ", ".join(devices) or f.UNKNOWN),
        ("Priced as", f"{price['node']} of {price['provider']}, {hourly} (declared, {price['date']})"),
        ("Python", (facts.corpus or {}).get("python_version") or f.UNKNOWN),
        *((name, facts.pins[name]) for name in ("torch", "transformers", "trl", "dvc") if name in facts.pins),
        ("params.yaml, SHA-256", facts.params),
        ("Code of all stages (dvc.lock), SHA-256", facts.code or f.UNKNOWN),
        ("Seed and raw data (dvc.lock), SHA-256", facts.data or f.UNKNOWN),
        ("All outs (dvc.lock), SHA-256", facts.lock or f.UNKNOWN),
    ]
    rows += [("Commit of this page", facts.commit)] if facts.commit else []
    return Table([("", ""), ("", "")], [[cell(name), cell(text)] for name, text in rows], texts=frozenset({0, 1}))


def outs(facts: Facts) -> Table:
    """The hash of everything that the stages made."""
    return Table(
        [("Out", ""), ("MD5", "")],
        [[cell(path), cell(mark)] for path, mark in facts.outs.items()],
        texts=frozenset({0, 1}),
    )
