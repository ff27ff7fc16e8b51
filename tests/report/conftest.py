"""A repository as it looks after a cpu run, in small: what collect, cost and report read, made up but in real shapes."""

import json
import math
import shutil
from pathlib import Path
from random import Random

import pytest
import yaml

from genesis.costs.cost import Cost, cost
from genesis.evals.core_bundle import OFFICIAL
from genesis.evals.records import wilson_interval
from genesis.report.collect import collect

ROOT = Path(__file__).parent.parent.parent
AGENTS = ("qa", "support", "legal", "analyst", "marketing", "builder", "deploy", "spec")
AGENTS += ("security", "seo", "email", "content", "onboarding", "maintenance", "billing")

EACH = "    foreach: ${{agents}}\n    do:\n      cmd: x\n      deps: [{deps}]\n      outs: [{outs}]\n"
ONCE = "    cmd: x\n    deps: [{deps}]\n    outs: [{outs}]\n"
STAGES = {
    "corpus": ("data/seed/corpus", "data/corpus"),
    "tokenizer": ("data/corpus/train", "models/tokenizer"),
    "pretrain": ("data/corpus/train, models/tokenizer/model", "models/base"),
    "chat": ("data/seed/chat, models/base/model", "models/chat"),
    "agent_sources": ("data/seed/agents", "data/sources"),
    "agent_data@": ("'data/sources/pairs/${item}.json'", "'data/agents/${item}'"),
    "finetune@": ("'data/agents/${item}/train.jsonl', models/chat/model", "'models/agents/${item}'"),
    "eval_core": ("models/base/model, data/corpus/ngrams.npy", "data/evals/core"),
    "eval_agent@": ("'models/agents/${item}/model', data/corpus/ngrams.npy", "'data/evals/agents/${item}'"),
    "collect": ("data/evals/agents, data/evals/core", "metrics/usage.json"),
    "cost": ("metrics/usage.json", "metrics/cost.json"),
    "report": ("metrics/cost.json", "reports/index.html"),
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A repository whose specialist track was run; treat it as read-only."""
    return make_repository(tmp_path_factory.mktemp("trained"), AGENTS)


@pytest.fixture
def untrained(tmp_path) -> Path:
    """A repository in which nothing was run but collect and cost."""
    pipeline(tmp_path, AGENTS)
    return gather(tmp_path, AGENTS)


def make_repository(root: Path, agents: tuple[str, ...]) -> Path:
    """Outs of every specialist stage, then the real collect and cost on them."""
    draw = Random(7)
    pipeline(root, agents)
    put(root / "data/corpus/statistics.json", CORPUS)
    usage(root / "data/corpus", "corpus", None, 21.4)
    put(root / "models/tokenizer/summary.json", {"vocab_size": 2048, "val_bytes_per_token": 3.142})
    usage(root / "models/tokenizer", "tokenizer", None, 6.8)
    base(root / "models/base", draw)
    chat = {"parameters": 1311744, "loss": 1.04, "val_loss_start": 3.9, "val_loss": 1.41, "examples": 436}
    put(root / "models/chat/summary.json", {**chat, "train_tokens": 151552})
    curve(root / "models/chat/train.csv", "loss", 110, 3.6, 1.0, draw)
    usage(root / "models/chat", "chat", None, 38.2, tokens=151552, flops=1.19e12)
    core(root / "data/evals/core", draw)
    for number, agent in enumerate(agents):
        one_agent(root, agent, 0.55 + 0.4 * math.sin(number + 1) ** 2, draw)
    return gather(root, agents)


def pipeline(root: Path, agents: tuple[str, ...]) -> None:
    """The repository's own files."""
    root.mkdir(exist_ok=True)
    text = "stages:\n"
    for name, (deps, outs) in STAGES.items():
        text += f"  {name.rstrip('@')}:\n" + (EACH if name.endswith("@") else ONCE).format(deps=deps, outs=outs)
    (root / "dvc.yaml").write_text(text)
    (root / "params.yaml").write_text(yaml.safe_dump({"agents": list(agents)}))
    (root / "requirements.txt").write_text("# pins\ntorch==2.13.0\ntransformers==5.17.0\n-e .\n")
    lock = {"stages": {"corpus": {"outs": [{"path": "data/corpus", "md5": "0cc175b9c0f1b6a831c399e269772661.dir"}]}}}
    lock["stages"]["report"] = {"outs": [{"path": "reports/index.html", "md5": "92eb5ffee6ae2fec3ad71c777531578f"}]}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    (root / "data/seed").mkdir(parents=True)
    for name in ("prices.csv", "declared.yaml"):
        shutil.copy(ROOT / "data/seed" / name, root / "data/seed" / name)


def gather(root: Path, agents: tuple[str, ...]) -> Path:
    """The real collect and cost."""
    (root / "metrics").mkdir(exist_ok=True)
    collect(list(agents), list(OFFICIAL), root, root / "metrics")
    files = {
        name: str(root / "data/seed" / file) for name, file in (("prices", "prices.csv"), ("declared", "declared.yaml"))
    }
    cost(Cost(**files), list(agents), root / "metrics")
    return root


def put(path: Path, value: dict) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def usage(out: Path, stage: str, item: str | None, seconds: float, tokens: int = 0, flops: float = 0.0) -> None:
    """A usage.json; pretraining was interrupted once."""
    attempt = {"started_at": "2025-07-01T10:00:00+00:00", "active_s": seconds, "tokens": tokens, "flops": flops}
    attempts = [{**attempt, "outcome": "finished"}]
    if stage == "pretrain":
        attempts.insert(0, {**attempt, "active_s": 12.5, "outcome": "interrupted"})
    whole = {"stage": stage, "item": item, "started_at": attempt["started_at"], "wall_s": seconds, "resumed": False}
    whole |= {"active_s": sum(a["active_s"] for a in attempts), "device": {"name": "cpu", "count": 2}}
    put(
        out / "usage.json",
        {**whole, "tokens": tokens, "flops": flops, "peak_memory_bytes": 902_000_000, "attempts": attempts},
    )


def curve(path: Path, column: str, steps: int, start: float, end: float, draw: Random, every: int = 0) -> None:
    """A train.csv that falls, with the validation's bits per byte every so many steps."""
    lines = [f"step,tokens,{column},bpb"]
    for step in range(0, steps + 1, 5):
        value = end + (start - end) * math.exp(-4 * step / steps) + draw.gauss(0, 0.03)
        bpb = (
            f"{0.37 * (1.8 * end + (start - end) * math.exp(-3 * step / steps)):.4f}"
            if every and step % every == 0
            else ""
        )
        lines.append(f"{step},{step * 4096},{value:.5f},{bpb}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def base(out: Path, draw: Random) -> None:
    """The pretrained base."""
    summary = {"parameters": 1311744, "tokens": 1228800, "bpb_start": 3.70, "bpb": 1.83, "loss": 3.98}
    put(out / "summary.json", {**summary, "tokens_per_s": 9800.0, "packing_kept": 0.94, "steps": 300})
    curve(out / "train.csv", "loss", 300, 6.1, 3.9, draw, every=50)
    usage(out, "pretrain", None, 133.0, tokens=1228800, flops=9.7e12)


def core(out: Path, draw: Random) -> None:
    """The mini bundle, each task scored on a few items."""
    results = {}
    for label in OFFICIAL:
        right, n = draw.randint(2, 9), 16
        centred = (right / n - 0.25) / 0.75
        results[label] = {"accuracy": right / n, "centered": centred, "centered_v1": centred, "n": n, "n_failed": 0}
        results[label] |= {"n_contaminated": 0, "interval": wilson_interval(right, n)}
    mean = sum(result["centered"] for result in results.values()) / len(results)
    names = {"core": None, "core_v1": None, "core_mini": mean, "core_mini_v1": mean, "core_mini_clean": mean}
    put(out / "summary.json", {**names, "results": results})
    usage(out, "eval_core", None, 24.1)


def part(share: float, n: int) -> dict:
    """One part's summary."""
    right = round(share * n)
    return {"accuracy": right / n, "interval": wilson_interval(right, n), "n": n, "n_right": right, "n_failed": 0}


def one_agent(root: Path, agent: str, skill: float, draw: Random) -> None:
    """Data, model and evaluation of one agent."""
    usage(root / "data/agents" / agent, "agent_data", agent, 2.1)
    put(root / "data/agents" / agent / "quality.json", {**QUALITY, "agent": agent})
    put(root / "models/agents" / agent / "summary.json", {"loss": 0.08, "val_loss": round(1.2 - skill, 3)})
    curve(root / "models/agents" / agent / "train.csv", "loss", 220, 3.0 + draw.random(), 0.1 * draw.random(), draw)
    usage(root / "models/agents" / agent, "finetune", agent, 24 + 8 * draw.random(), tokens=140_000, flops=1.1e12)
    out = root / "data/evals/agents" / agent
    usage(out, "eval_agent", agent, 7.4, tokens=4100)
    shares = {
        "new_values": (0.04, skill, 300),
        "unseen_frames": (0.03, skill * 0.8, 60),
        "scenarios": (0.0, skill * 0.6, 18),
    }
    when = {
        name: {key: part(value[k], min(value[2], 60)) for key, value in shares.items()}
        for k, name in enumerate(("before", "after"))
    }
    speed = {"tokens_per_s": 640 + 90 * draw.random(), "latency_p50_s": 0.041, "latency_p95_s": 0.052}
    put(out / "summary.json", {**when, "speed": speed})
    rows = [record(agent, k, kind, right) for kind in shares for k, right in enumerate((True, False, None, True))]
    (out / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def record(agent: str, number: int, kind: str, right: bool | None) -> dict:
    """One answer of an evaluation."""
    prompt = f"{agent}: the checkout page <b>freezes</b> for every customer since release 4.2. Severity of this bug?"
    answer = {True: "critical", False: "minor", None: ""}[right]
    meta = {"prompt": prompt, "detail": f"read {answer!r}"}
    if kind != "scenarios":
        meta = {"part": kind, "gold": "critical", "prompt": prompt}
    row = {"id": f"{agent}-{kind}-{number}", "output": answer, "verdict": right, "grader": "label", "seconds": 0.02}
    return {**row, "failed": None, "meta": meta}


QUALITY = {"rows": {"train": 428, "val": 22, "test": 360}, "test_parts": {"unseen_frames": 60, "new_values": 300}}
QUALITY |= {
    "answers": 15,
    "dropped_duplicates": 3,
    "dropped_secrets": {"email": 1},
    "leaked": 0,
    "flags": [],
    "reviewed": 0.0,
}
SOURCE = {"train_documents": 733, "train_chars": 2084454, "val_documents": 21, "val_chars": 64390}
CORPUS = {"documents_read": 956, "dropped_exact": 1, "dropped_near": 4, "python_version": "3.11.7", "flags": []}
CORPUS |= {
    "sources": {"python/prose": SOURCE, "folder/data/seed/corpus": {"train_documents": 225, "train_chars": 269526}}
}
CORPUS |= {"splits": {"train": {"documents": 1076, "bytes": 2862160}, "val": {"documents": 25, "bytes": 81864}}}
