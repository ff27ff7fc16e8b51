"""The two evaluation stages on a tiny model: what they write, and that the parts add up."""

import json

import pytest

from genesis.agents import Agent
from genesis.common.chat import read_jsonl, write_jsonl
from genesis.common.usage import Usage
from genesis.evals.eval_agent import EvalAgent, eval_agent
from genesis.evals.eval_core import EvalCore, eval_core
from genesis.ngrams import NgramIndex
from imports import ROOT

LONG = "please tell me which of our three teams should take the request about my lost parcel today"


@pytest.fixture
def folder(tmp_path):
    """Held-out rows of two parts, two scenarios, of which one stands in training, and both indexes."""
    parts = ["new_values"] * 3 + ["unseen_frames"] * 2
    rows = [
        {"id": f"r{k}", "prompt": f"Question {k}?", "completion": "yes", "meta": {"part": part}}
        for k, part in enumerate(parts)
    ]
    write_jsonl(tmp_path / "data/test.jsonl", rows)
    grader = {"kind": "label", "answer": "yes"}
    write_jsonl(
        tmp_path / "scenarios.jsonl",
        [{"id": f"s{k}", "prompt": p, "grader": grader} for k, p in enumerate(("Hm?", LONG))],
    )
    (tmp_path / "corpus").mkdir()
    NgramIndex.build([LONG]).save(tmp_path / "data/ngrams.npy")
    NgramIndex.build(["another text"]).save(tmp_path / "corpus/ngrams.npy")
    return tmp_path


@pytest.fixture
def usage(tmp_path):
    (tmp_path / "attempts").mkdir()
    return Usage(tmp_path / "attempts", "key")


def test_an_agent_is_measured_before_and_after_part_by_part(folder, tiny_folder, usage):
    params = EvalAgent(max_tokens=4, before_rows=2)
    agent = Agent(scenarios=str(folder / "scenarios.jsonl"))
    out = folder / "out"
    eval_agent(params, agent, tiny_folder, tiny_folder, folder / "data", folder / "corpus", out, usage)
    summary = json.loads((out / "summary.json").read_text())
    after, before = summary["after"], summary["before"]
    assert {part: after[part]["n"] for part in ("new_values", "unseen_frames", "scenarios")} == {
        "new_values": 3,
        "unseen_frames": 2,
        "scenarios": 2,
    }
    assert before["new_values"]["n"] == 2 and before["scenarios"]["n"] == 2
    assert after["scenarios"]["n_contaminated"] == 1
    low, high = after["new_values"]["interval"]
    assert low <= after["new_values"]["accuracy"] <= high
    records = [row for _, row in read_jsonl(out / "records.jsonl")]
    assert {row["id"] for row in records} == {"r0", "r1", "r2", "r3", "r4", "s0", "s1"}
    assert len(list(read_jsonl(out / "before/records.jsonl"))) == 4
    speed = summary["speed"]
    assert speed["tokens_per_s"] > 0 and 0 < speed["latency_p50_s"] <= speed["latency_p95_s"]
    assert usage.attempt.tokens > 0


def test_core_counts_what_the_corpus_holds(folder, tiny_folder, usage):
    bundle = ROOT / "data/seed/core_mini"
    (row, *_) = [row for _, row in read_jsonl(bundle / "squad.jsonl")]
    NgramIndex.build([row["context"]]).save(folder / "corpus/ngrams.npy")
    params = EvalCore(bundle=str(bundle), tasks=["squad", "copa"])
    eval_core(params, tiny_folder, folder / "corpus", folder / "out", usage)
    summary = json.loads((folder / "out/summary.json").read_text())
    assert summary["core"] is None and summary["core_mini"] is not None
    assert summary["results"]["squad"]["n_contaminated"] >= 1 and summary["results"]["copa"]["n_contaminated"] == 0
    records = [row for _, row in read_jsonl(folder / "out/records.jsonl")]
    assert len(records) == sum(result["n"] for result in summary["results"].values())
