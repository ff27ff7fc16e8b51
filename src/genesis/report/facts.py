"""What the report tells, read from files alone: metrics, evaluations' records, data quality, the pipeline's own."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesis.agents import agent_names
from genesis.common.chat import read_jsonl
from genesis.common.errors import UserError
from genesis.common.jsonfile import read_json
from genesis.common.params import read_yaml
from genesis.report.dag import Stage, read_stages
from genesis.report.scores import Score, read_score

PARTS = {"new_values": "new values", "unseen_frames": "unseen frames", "scenarios": "scenarios"}
BENCHMARKS = {"final_answer": "GSM8K", "unit_tests": "HumanEval"}  # by grader
SAMPLES = 2  # right and wrong answers shown of each agent
LONGEST = 600
TAIL = ("collect", "cost", "report")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    """One answer; `note` says what was expected or what the grader saw; `right` is None where it could not read it.

    `unsafe` marks a prompt that asks for harm: the page shows neither it nor its answer until asked to.
    """

    id: str
    part: str
    prompt: str
    output: str
    note: str
    right: bool | None
    unsafe: bool = False


@dataclass(frozen=True)
class Facts:
    """Everything on the page.

    Attributes:
        loss, core, agents, safety, cost: metrics/<name>.json.
        usage: metrics/usage.json, by DVC's stage name.
        gates: metrics/gates.json, by gate.
        costs, roi, curves: metrics/<name>.csv, a number where a cell is one, None where it is empty.
        before, after: each agent's scores by part; an agent or part that was not measured is absent.
        core_results: by task, as the evaluation wrote them.
        samples: each agent's answers; safety_samples: by the folder of their records.
        quality: data/agents/<agent>/quality.json of each agent that has one.
        safety_quality, corpus: data/safety/quality.json and the corpus's statistics.json, or None.
        outs: path and hash of each out in dvc.lock but the report's own.
        lock, code, data, params: digests of all outs, of our code and of the data that the stages read as dvc.lock has
            them, and of params.yaml; None without a dvc.lock.
        pins: requirements.txt, by package.
        commit: as the caller gave it.
    """

    names: list[str]
    stages: list[Stage]
    loss: dict[str, Any]
    core: dict[str, Any]
    agents: dict[str, Any]
    safety: dict[str, Any]
    cost: dict[str, Any]
    usage: dict[str, dict[str, Any]]
    gates: dict[str, dict[str, Any]]
    costs: Rows
    roi: Rows
    curves: Rows
    before: dict[str, dict[str, Score]]
    after: dict[str, dict[str, Score]]
    core_results: dict[str, dict[str, Any]]
    samples: dict[str, list[Sample]]
    safety_samples: dict[str, list[Sample]]
    quality: dict[str, dict[str, Any]]
    safety_quality: dict[str, Any] | None
    corpus: dict[str, Any] | None
    outs: dict[str, str]
    lock: str | None
    code: str | None
    data: str | None
    params: str
    pins: dict[str, str]
    commit: str | None


def read_facts(root: Path, commit: str | None = None) -> Facts:
    """Read the repository `root`.

    Raises:
        UserError: a metrics file is absent, or a file is damaged; names it.
    """
    metrics, evals = root / "metrics", root / "data/evals"
    names = agent_names(root / "params.yaml")
    summaries = {name: _optional(evals / "agents" / name / "summary.json") for name in names}
    quality = {name: _optional(root / "data/agents" / name / "quality.json") for name in names}
    lock = read_yaml(root / "dvc.lock").get("stages", {}) if (root / "dvc.lock").is_file() else {}
    outs = _hashes(lock, "outs")
    whole = {name: read_json(metrics / f"{name}.json") for name in ("loss", "core", "agents", "safety", "cost")}
    return Facts(
        names=names,
        stages=read_stages(root),
        **whole,
        usage=read_json(metrics / "usage.json"),
        gates=read_json(metrics / "gates.json"),
        **{name: _table(metrics / f"{name}.csv") for name in ("costs", "roi", "curves")},
        before={name: _scores(evals / "agents" / name, found, "before") for name, found in summaries.items() if found},
        after={name: _scores(evals / "agents" / name, found, "after") for name, found in summaries.items() if found},
        core_results=(_optional(evals / "core/summary.json") or {}).get("results", {}),
        samples={name: _agent_samples(evals / "agents" / name / "records.jsonl") for name in names},
        safety_samples=_safety_samples(evals / "safety"),
        quality={name: found for name, found in quality.items() if found},
        safety_quality=_optional(root / "data/safety/quality.json"),
        corpus=_optional(root / "data/corpus/statistics.json"),
        outs=outs,
        lock=_digest_of(outs),
        code=_digest_of(_hashes(lock, "deps", ("src/", "stages/"))),
        data=_digest_of(_hashes(lock, "deps", ("data/seed/", "data/raw/", "data/review"))),
        params=_digest((root / "params.yaml").read_bytes()),
        pins=_pins(root / "requirements.txt"),
        commit=commit,
    )


def _optional(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None


def _table(path: Path) -> Rows:
    if not path.is_file():
        raise UserError(f"{path}: no such file; `dvc repro` makes it")
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _cell(text) for name, text in row.items()} for row in csv.DictReader(file)]


def _cell(text: str) -> float | str | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _scores(folder: Path, summary: dict[str, Any], when: str) -> dict[str, Score]:
    parts = summary.get(when)
    if not isinstance(parts, dict):
        raise UserError(f"{folder / 'summary.json'}: {when}: expected a mapping; run eval_agent again")
    found = {part: read_score(folder / "summary.json", parts, part) for part in PARTS}
    return {part: score for part, score in found.items() if score}


def _agent_samples(path: Path) -> list[Sample]:
    """The first right and wrong answers, one of each part before a second."""
    if not path.is_file():
        return []
    found = [_sample(path, number, row) for number, row in read_jsonl(path) if not row.get("failed")]
    chosen: list[Sample] = []
    for right in (True, False):
        own = [sample for sample in found if (sample.right is True) == right]
        first = {sample.part: sample for sample in reversed(own)}
        heads = [first[part] for part in ("scenarios", "unseen frames", "new values") if part in first]
        rest = [sample for sample in own if sample not in heads]
        chosen += [*heads, *rest][:SAMPLES]
    return chosen


def _safety_samples(folder: Path) -> dict[str, list[Sample]]:
    """Of each model the first right and wrong answers to unsafe prompts and to the others, by its folder."""
    found = {}
    for path in sorted(folder.rglob("records.jsonl")):
        rows = [_sample(path, number, row) for number, row in read_jsonl(path) if not row.get("failed")]
        kinds = [(unsafe, right) for unsafe in (True, False) for right in (True, False)]
        chosen = [next((row for row in rows if (row.unsafe, row.right is True) == kind), None) for kind in kinds]
        found[str(path.parent.relative_to(folder))] = [row for row in chosen if row]
    return found


def _sample(path: Path, number: int, row: dict[str, Any]) -> Sample:
    try:
        meta, grader = row["meta"] or {}, row["grader"]
        part = meta.get("part") or BENCHMARKS.get(grader, "scenarios")
        note = f"expected: {meta['gold']}" if "gold" in meta else f"{grader}: {meta.get('detail', '')}".rstrip(": ")
        prompt = meta.get("prompt") or meta.get("question") or meta.get("task_id")
        output = _short(row["output"])
        part, unsafe = PARTS.get(part, str(part)), part == "unsafe"
        return Sample(str(row["id"]), part, _short(prompt), output, _short(note), row["verdict"], unsafe)
    except (KeyError, AttributeError) as error:
        raise UserError(f"{path}:{number}: not a record as evaluations write it ({error!r})") from error


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _hashes(stages: dict[str, Any], kind: str, under: tuple[str, ...] = ("",)) -> dict[str, str]:
    """Path and hash of the stages' outs, or of their deps: what collect, cost and report read besides measures nothing.

    The report's own outs would change with every report.
    """
    passed = TAIL if kind == "deps" else TAIL[-1:]
    found = {
        str(entry["path"]): str(entry.get("md5", ""))
        for name, stage in stages.items()
        if name not in passed
        for entry in stage.get(kind, [])
    }
    return {path: found[path] for path in sorted(found) if path.startswith(under)}


def _digest_of(hashes: dict[str, str]) -> str | None:
    return _digest("\n".join(f"{path} {mark}" for path, mark in hashes.items()).encode()) if hashes else None


def _pins(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return dict(line.strip().split("==", 1) for line in lines if "==" in line and not line.startswith("#"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
