"""The collect stage: every summary, usage and training log, gathered into small metrics files that git keeps.

Keys are flat, and the same for the same list of agents; what was not measured is null. A file that is absent was not
measured; a file that is damaged is an error.
"""

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesis.common.chat import write_json
from genesis.common.errors import UserError
from genesis.common.jsonfile import number, read_json
from genesis.report.curves import COLUMNS, read_curve, thin
from genesis.report.plots import write_plots
from genesis.report.scores import Score, combine, read_score
from genesis.safety_rows import keys

# stage, its out, its group; the safety track is rlt and waltz. {} stands for the agent.
STAGES = (
    ("corpus", "data/corpus", "base"),
    ("tokenizer", "models/tokenizer", "base"),
    ("pretrain", "models/base", "base"),
    ("chat", "models/chat", "base"),
    ("agent_data", "data/agents/{}", "agent"),
    ("finetune", "models/agents/{}", "agent"),
    ("eval_agent", "data/evals/agents/{}", "agent"),
    ("eval_core", "data/evals/core", "core"),
    ("safety_data", "data/safety", "rlt"),
    ("student", "models/rlt/student", "rlt"),
    ("rlt_sft", "models/rlt/sft", "rlt"),
    ("rlt_rl", "models/rlt/teacher", "rlt"),
    ("traces@sft", "data/traces/sft", "rlt"),
    ("traces@rl", "data/traces/rl", "rlt"),
    ("waltz_baselines@before", "models/waltz/baselines/before", "waltz"),
    ("waltz_baselines@overcautious", "models/waltz/baselines/overcautious", "waltz"),
    ("waltz_lessons", "data/waltz", "waltz"),
    *(
        (f"waltz_sft@{part}", f"models/waltz/sft/{part}", "waltz")
        for part in ("solutions", "source", "sft", "rl", "feedback")
    ),
    ("waltz_rl", "models/waltz/rl", "waltz"),
    ("eval_safety", "data/evals/safety", "waltz"),
)
CORE = ("core", "core_v1", "core_mini", "core_mini_v1", "core_mini_clean")
PARTS = ("new_values", "unseen_frames")
BENCHMARKS = {"gsm8k": "analyst", "humaneval": "builder"}
SPEED = ("tokens_per_s", "latency_p50_s", "latency_p95_s")


@dataclass(frozen=True)
class Place:
    """Where one stage, or one item of it, leaves its out."""

    stage: str
    item: str | None
    group: str
    out: Path

    @property
    def name(self) -> str:
        """As DVC names it."""
        return f"{self.stage}@{self.item}" if self.item else self.stage


def collect(agents: list[str], tasks: list[str], root: Path, out: Path) -> None:
    """Write loss.json, core.json, agents.json, safety.json, usage.json, curves.csv and plots/.

    Args:
        agents: whose results are looked for.
        tasks: labels of the CORE tasks that always have keys.
        root: the repository.
        out: the folder for metrics.

    Raises:
        UserError: a file that exists is damaged; names it.
    """
    where = places(agents, root)
    scores, safety = agent_scores(agents, root / "data/evals/agents"), safety_scores(root)
    write_json(out / "loss.json", losses(agents, root))
    write_json(out / "core.json", core_scores(tasks, root / "data/evals/core/summary.json"))
    write_json(out / "agents.json", scores)
    write_json(out / "safety.json", safety)
    write_json(out / "usage.json", {place.name: usage_row(place) for place in where})
    rows = [row for place in where for row in curves(place)]
    with (out / "curves.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["stage", "item", "step", *COLUMNS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_plots(rows, scores, agents, safety, out / "plots")


def places(agents: list[str], root: Path) -> list[Place]:
    """Every stage and item that writes a usage.json, in the order of the pipeline."""
    found = []
    for name, out, group in STAGES:
        stage, _, item = name.partition("@")
        items = agents if group == "agent" else [item or None]
        found += [Place(stage, item, group, root / out.format(item)) for item in items]
    return found


def losses(agents: list[str], root: Path) -> dict[str, float | None]:
    """What training ended with."""
    data = _values(root / "data/corpus/statistics.json", "documents_read")
    splits = _part(root / "data/corpus/statistics.json", "splits", "train")
    token = _values(root / "models/tokenizer/summary.json", "vocab_size", "val_bytes_per_token")
    names = ("parameters", "tokens", "tokens_per_s", "packing_kept", "loss", "bpb_start", "bpb")
    base = _values(root / "models/base/summary.json", *names)
    fine = {"chat": _values(root / "models/chat/summary.json", "loss", "val_loss_start", "val_loss")}
    fine |= {
        f"finetune_{agent}": _values(root / "models/agents" / agent / "summary.json", "loss", "val_loss")
        for agent in agents
    }
    return {
        "corpus_documents": data["documents_read"],
        "corpus_bytes": splits.get("bytes"),
        "tokenizer_vocab_size": token["vocab_size"],
        "tokenizer_bytes_per_token": token["val_bytes_per_token"],
        **{f"pretrain_{name}": base[name] for name in names},
        "pretrain_bpb_ratio": base["bpb"] / base["bpb_start"] if base["bpb"] and base["bpb_start"] else None,
        **{f"{name}_{key}": value for name, values in fine.items() for key, value in values.items()},
        "mean_finetune_loss": _mean(fine[f"finetune_{agent}"]["loss"] for agent in agents),
        "mean_finetune_val_loss": _mean(fine[f"finetune_{agent}"]["val_loss"] for agent in agents),
    }


def core_scores(tasks: list[str], path: Path) -> dict[str, float | None]:
    """CORE under the name that fits and each task's accuracy, with their 95 % intervals, and the centred accuracies."""
    found = _values(path, *CORE)
    results = _part(path, "results")
    low, high = _core_ends(path, results)
    for name in ("core", "core_mini"):
        known = found[name] is not None and low is not None
        found |= {
            f"{name}_low": found[name] - low if known else None,
            f"{name}_high": found[name] + high if known else None,
        }
    for label in dict.fromkeys([*tasks, *results]):
        found |= read_score(path, results, label).keys(f"{label}_accuracy")
        found[f"{label}_centered"] = number(path, results[label], "centered") if label in results else None
    return found


def _core_ends(path: Path, results: dict[str, Any]) -> tuple[float | None, float | None]:
    """How far the mean of centred accuracies reaches down and up: the tasks' own intervals, centred as their scores are,
    added as standard errors are. None where a task has no score, or a perfect one that hides how it was centred.
    """
    below, above = [], []
    for label, own in results.items():
        score, centred = read_score(path, results, label), number(path, own, "centered")
        if centred is None or score.value is None or score.value == 1:
            return None, None
        scale = (1 - centred) / (1 - score.value) / len(results)
        below.append(scale * (score.value - score.low))
        above.append(scale * (score.high - score.value))
    return (math.hypot(*below), math.hypot(*above)) if results else (None, None)


def agent_scores(agents: list[str], folder: Path) -> dict[str, float | None]:
    """Accuracies with their 95 % intervals and speeds: means over the agents that have the part, then each agent."""
    paths = {agent: folder / agent / "summary.json" for agent in agents}
    scores = {agent: _agent(path) for agent, path in paths.items()}
    speeds = {agent: _speed(path) for agent, path in paths.items()}
    held_out = [own["held_out"].value for own in scores.values() if own["held_out"].value is not None]
    values: dict[str, float | None] = {"agents_measured": len(held_out)}
    for name in dict.fromkeys(name for own in scores.values() for name in own if name not in BENCHMARKS):
        known = [own[name] for own in scores.values() if name in own and own[name].value is not None]
        values |= combine(known).keys(f"mean_{name}")
    values["mean_scenarios_clean"] = _mean(own["scenarios"].clean for own in scores.values())
    values["worst_held_out"] = min(held_out, default=None)
    values |= {f"mean_{name}": _mean(speed[name] for speed in speeds.values()) for name in SPEED}
    for benchmark, agent in BENCHMARKS.items():
        values |= Score().keys(f"{agent}_{benchmark}")
    for agent in agents:
        for name, score in scores[agent].items():
            values |= score.keys(f"{agent}_{name}")
        values[f"{agent}_scenarios_clean"] = scores[agent]["scenarios"].clean
        values |= {f"{agent}_{name}": value for name, value in speeds[agent].items()}
    return values


def safety_scores(root: Path) -> dict[str, float | None]:
    """What the safety track measured: every row's rates, what was kept, and how far the judge agrees with people."""
    sources = [(name, "data/evals/safety", name) for name in keys()]
    sources += [("rlt_reward_gain", "models/rlt/teacher", "reward_gain"), ("rlt_sft_loss", "models/rlt/sft", "loss")]
    found = {}
    for name, folder, key in sources:
        path = root / folder / "summary.json"
        summary = read_json(path) if path.is_file() else {}
        found[name] = number(path, summary, key) if key in summary else None
    return found


def usage_row(place: Place) -> dict[str, Any]:
    """One stage's usage.json, its attempts counted; all null where it is absent."""
    path = place.out / "usage.json"
    track = "safety" if place.group in ("rlt", "waltz") else "specialist"
    row: dict[str, Any] = {"stage": place.stage, "item": place.item, "group": place.group, "track": track}
    names = ("active_s", "wall_s", "tokens", "flops", "peak_memory_bytes")
    if not path.is_file():
        return row | dict.fromkeys((*names, "unfinished_s", "device", "device_count", "attempts"))
    usage = read_json(path)
    try:
        device, attempts = usage["device"], usage["attempts"]
        lost = [number(path, attempt, "active_s", least=0) for attempt in attempts if attempt["outcome"] != "finished"]
        counts = {"device": device["name"], "device_count": device["count"], "attempts": len(attempts)}
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: device or attempts: not as a stage writes them ({error!r}); run it again") from error
    measured = {name: number(path, usage, name, least=0) for name in names}
    if None in measured.values() or None in lost:
        raise UserError(f"{path}: a null where a measured number belongs; run the stage again")
    return row | measured | {"unfinished_s": math.fsum(lost)} | counts


def curves(place: Place) -> Iterator[dict[str, Any]]:
    """Rows of a stage's train.csv, and of its parts' (a folder each), thinned."""
    for path in (place.out / "train.csv", *sorted(place.out.glob("*/train.csv"))):
        if path.is_file():
            part = path.parent.name if path.parent != place.out else place.item
            for row in thin(read_curve(path)):
                yield {"stage": place.stage, "item": part, **row}


def _agent(path: Path) -> dict[str, Score]:
    """An agent's scores by name; benchmarks only where it was measured on them."""
    before, after = _part(path, "before"), _part(path, "after")
    parts = [*PARTS, *sorted(set(after) - {*PARTS, "scenarios", *BENCHMARKS})]
    scores = {part: read_score(path, after, part) for part in [*parts, "scenarios"]}
    return {
        **scores,
        "held_out": combine([scores[part] for part in parts if scores[part].n], by_size=True),
        "before": combine([score for part in parts if (score := read_score(path, before, part)).n], by_size=True),
        "before_scenarios": read_score(path, before, "scenarios"),
        **{name: read_score(path, after, name) for name in BENCHMARKS if name in after},
    }


def _speed(path: Path) -> dict[str, float | None]:
    found = _part(path, "speed") or dict.fromkeys(SPEED)
    return {name: number(path, found, name, least=0) for name in SPEED}


def _values(path: Path, *names: str) -> dict[str, float | None]:
    """Numbers of a summary; all None where there is no such file."""
    found = read_json(path) if path.is_file() else dict.fromkeys(names)
    return {name: number(path, found, name) for name in names}


def _part(path: Path, *names: str) -> dict[str, Any]:
    """A mapping inside a summary; empty where there is no such file."""
    found = read_json(path) if path.is_file() else None
    for name in names if found is not None else ():
        if not isinstance(found.get(name), dict):
            raise UserError(f"{path}: {name}: expected a mapping; run the stage that writes it again")
        found = found[name]
    return found or {}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
