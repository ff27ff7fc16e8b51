import csv
import itertools
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from genesis.common.errors import UserError
from genesis.report.collect import CORE, collect
from genesis.report.curves import thin
from genesis.report.scores import Score, combine
from genesis.safety_rows import keys

ROOT = Path(__file__).parents[2]
AGENTS = ["support", "analyst", "banking"]
TASKS = ["copa", "squad"]
ATTEMPTS = [
    {"started_at": "2026-01-01T00:00:00+00:00", "active_s": 2.5, "tokens": 1, "flops": 1.0, "outcome": "interrupted"},
    {"started_at": "2026-01-01T00:01:00+00:00", "active_s": 4.0, "tokens": 9, "flops": 9.0, "outcome": "finished"},
]
USAGE = {
    "started_at": "2026-01-01T00:00:00+00:00",
    "wall_s": 4.0,
    "active_s": 6.5,
    "resumed": True,
    "device": {"name": "cpu", "count": 2},
    "tokens": 10,
    "flops": 10.0,
    "peak_memory_bytes": 5000,
    "attempts": ATTEMPTS,
}
SFT = {"parameters": 7, "examples": 3, "loss": 0.5, "val_loss_start": 3.0, "val_loss": 0.75, "train_tokens": 10}
SFT_LOG = "step,tokens,loss,learning_rate,grad_norm,mean_token_accuracy\n1,10,2.5,0.1,,0.5\n2,20,0.5,0.1,1.0,\n"


def score(right: int, n: int, failed: int = 0) -> dict:
    ran = n - failed
    half = 0.1
    counts = {"n": n, "n_right": right, "n_failed": failed, "n_unparsed": 0}
    return {"accuracy": right / ran, "interval": [max(0, right / ran - half), min(1, right / ran + half)], **counts}


def write(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def repository(tmp_path):
    """A finished specialist track of two agents, one with its own test file only; `support` was not evaluated."""
    write(tmp_path / "data/corpus/statistics.json", {"documents_read": 9, "splits": {"train": {"bytes": 1234}}})
    write(tmp_path / "models/tokenizer/summary.json", {"vocab_size": 512, "val_bytes_per_token": 3.5})
    base = {"parameters": 7, "width": 128, "tokens": 100, "tokens_per_s": 9.5, "packing_kept": 0.99, "loss": 2.0}
    write(tmp_path / "models/base/summary.json", base | {"bpb_start": 4.0, "bpb": 1.0})
    log = "step,tokens,loss,lr,bpb,tokens_per_s\n0,0,,0.02,4.0,\n10,50,3.0,0.02,,9.5\n20,100,2.0,0.0,1.0,9.5\n"
    write(tmp_path / "models/base/train.csv", log)
    for folder in ("chat", "agents/support", "agents/analyst"):
        write(tmp_path / "models" / folder / "summary.json", SFT)
        write(tmp_path / "models" / folder / "train.csv", SFT_LOG)
    for stage, folder in (("corpus", "data/corpus"), ("pretrain", "models/base"), ("chat", "models/chat")):
        write(tmp_path / folder / "usage.json", {"stage": stage, "item": None, **USAGE})
    write(tmp_path / "models/agents/analyst/usage.json", {"stage": "finetune", "item": "analyst", **USAGE})
    copa, mine = score(6, 10) | {"centered": 0.2}, {"accuracy": None, "centered": None, "n": 4, "n_failed": 4}
    results = {"copa": copa, "mine": mine}
    means = {"core": None, "core_v1": None, "core_mini": 0.2, "core_mini_v1": 0.25, "core_mini_clean": 0.1}
    write(tmp_path / "data/evals/core/summary.json", {**means, "results": results})
    speed = {"tokens_per_s": 200.0, "latency_p50_s": 0.05, "latency_p95_s": 0.09}
    parts = {
        "new_values": score(9, 10),
        "unseen_frames": score(12, 30),
        "scenarios": score(4, 10) | {"clean_accuracy": 0.3},
    }
    before = {"new_values": score(0, 10), "unseen_frames": score(1, 10), "scenarios": score(0, 10)}
    after = parts | {"gsm8k": score(1, 10)}
    write(tmp_path / "data/evals/agents/analyst/summary.json", {"before": before, "after": after, "speed": speed})
    own = {"before": {"test": score(0, 10)}, "after": {"test": score(80, 110, failed=10)}, "speed": speed}
    write(tmp_path / "data/evals/agents/banking/summary.json", own)
    (tmp_path / "metrics").mkdir()
    return tmp_path


def run(root: Path, agents=AGENTS) -> dict[str, dict]:
    collect(list(agents), TASKS, root, root / "metrics")
    return {path.stem: json.loads(path.read_text()) for path in (root / "metrics").glob("*.json")}


def test_losses_and_core(repository):
    found = run(repository)
    loss, core = found["loss"], found["core"]
    assert (loss["corpus_bytes"], loss["tokenizer_bytes_per_token"]) == (1234, 3.5)
    assert (loss["pretrain_bpb_start"], loss["pretrain_bpb"], loss["pretrain_bpb_ratio"]) == (4.0, 1.0, 0.25)
    assert (loss["chat_val_loss_start"], loss["finetune_analyst_val_loss"]) == (3.0, 0.75)
    assert loss["finetune_banking_loss"] is None and loss["mean_finetune_loss"] == 0.5
    assert (core["core"], core["core_mini"], core["copa_centered"]) == (None, 0.2, 0.2)
    assert "squad_accuracy" in core and core["squad_accuracy"] is core["mine_accuracy"] is None
    assert core["copa_accuracy_low"] < 0.6 < core["copa_accuracy_high"]
    assert core["core_low"] is core["core_mini_low"] is None, "a task without a score leaves the mean's ends unknown"


def test_the_mean_of_core_has_the_interval_of_its_tasks(repository):
    path = repository / "data/evals/core/summary.json"
    found = json.loads(path.read_text())
    copa = score(6, 10) | {"centered": 0.2}
    write(path, found | {"core_mini": 0.4, "results": {"copa": copa, "squad": score(6, 10) | {"centered": 0.6}}})
    core, (low, high) = run(repository)["core"], copa["interval"]
    # centring around chance of one half doubles the first task's distances; each weighs one half
    assert core["core_mini_low"] == pytest.approx(0.4 - math.hypot(0.6 - low, (0.6 - low) / 2))
    assert core["core_mini_high"] == pytest.approx(0.4 + math.hypot(high - 0.6, (high - 0.6) / 2))
    assert core["core_low"] is None


def test_agents_own_parts_and_means_over_those_that_have_the_part(repository):
    agents = run(repository)["agents"]
    assert (agents["mean_new_values"], agents["mean_test"]) == (0.9, 0.8)
    assert (agents["analyst_new_values_low"], agents["analyst_new_values_high"]) == (0.8, 1.0)
    assert agents["analyst_held_out"] == pytest.approx(21 / 40)
    assert (agents["banking_test"], agents["banking_held_out"], agents["banking_new_values"]) == (0.8, 0.8, None)
    assert agents["mean_held_out"] == pytest.approx((21 / 40 + 0.8) / 2)
    assert agents["worst_held_out"] == pytest.approx(21 / 40) and agents["agents_measured"] == 2
    assert (agents["analyst_before"], agents["banking_before"]) == (pytest.approx(0.05), 0)
    assert agents["mean_before"] == pytest.approx(0.025)
    assert (agents["mean_scenarios"], agents["mean_scenarios_clean"]) == (0.4, 0.3)
    assert (agents["analyst_gsm8k"], agents["builder_humaneval"]) == (0.1, None)
    assert agents["support_held_out"] is None and agents["support_latency_p50_s"] is None
    assert (agents["analyst_latency_p50_s"], agents["mean_tokens_per_s"]) == (0.05, 200.0)


def test_usage_counts_attempts_and_lost_seconds(repository):
    usage = run(repository)["usage"]
    assert list(usage)[:5] == ["corpus", "tokenizer", "pretrain", "chat", "agent_data@support"]
    row = usage["finetune@analyst"]
    assert (row["active_s"], row["unfinished_s"], row["attempts"], row["device"]) == (6.5, 2.5, 2, "cpu")
    assert (row["group"], row["track"], usage["traces@rl"]["track"]) == ("agent", "specialist", "safety")
    assert usage["rlt_rl"]["active_s"] is None and set(usage["rlt_rl"]) == set(row)


def test_the_keys_do_not_depend_on_what_was_measured(repository):
    full = run(repository, ["support", "analyst"])
    shutil.rmtree(repository / "models")
    shutil.rmtree(repository / "data")
    empty = run(repository, ["support", "analyst"])
    extra = {"mine_accuracy", "mine_accuracy_low", "mine_accuracy_high", "mine_centered", "analyst_gsm8k_low"}
    for name, values in empty.items():
        assert set(full[name]) - set(values) <= extra and not set(values) - set(full[name])
        if name != "usage":
            assert {value for key, value in values.items() if key != "agents_measured"} == {None}
    assert (repository / "metrics/curves.csv").read_text().splitlines() == [
        "stage,item,step,tokens,loss,bpb,reward,r_ss,r_kl,format,malformed,copied"
    ]


def test_safety_is_read_where_it_exists(repository):
    write(repository / "data/evals/safety/summary.json", {"unsafe_reduction": 0.9, "unsafe_rate_pair": 0.05})
    write(repository / "models/rlt/teacher/summary.json", {"reward_gain": 0.31})
    write(repository / "models/rlt/sft/summary.json", {"loss": 0.4})
    safety = run(repository)["safety"]
    assert set(safety) == {*keys(), "rlt_reward_gain", "rlt_sft_loss"}
    assert {"pair_unsafe_rate", "rl_overrefusal_rate_low", "pair_flag_accuracy_n", "judge_agreement"} <= set(safety)
    assert "chat_flag_accuracy" not in safety and len(set(keys())) == len(list(keys()))
    assert (safety["unsafe_reduction"], safety["rlt_reward_gain"], safety["rlt_sft_loss"]) == (0.9, 0.31, 0.4)
    assert safety["overrefusal_reduction"] is None


def test_curves_are_one_table_with_nothing_invented(repository):
    write(repository / "models/waltz/sft/feedback/train.csv", SFT_LOG)
    run(repository)
    rows = list(csv.DictReader((repository / "metrics/curves.csv").open()))
    base = [row for row in rows if row["stage"] == "pretrain"]
    assert [(row["step"], row["loss"], row["bpb"]) for row in base] == [
        ("0", "", "4.0"),
        ("10", "3.0", ""),
        ("20", "2.0", "1.0"),
    ]
    assert {(row["stage"], row["item"]) for row in rows} == {
        ("pretrain", ""),
        ("chat", ""),
        ("finetune", "support"),
        ("finetune", "analyst"),
        ("waltz_sft", "feedback"),
    }


def test_thinning_keeps_the_ends_and_the_evaluations():
    rows = [{"step": step, "bpb": 1.0 if step % 500 == 0 else None} for step in range(5001)]
    kept = thin(rows)
    assert len(kept) == 200 and [row["step"] for row in kept] == sorted({row["step"] for row in kept})
    assert sum(row["bpb"] is not None for row in kept) == 11
    assert max(b["step"] - a["step"] for a, b in itertools.pairwise(kept)) <= 60
    every = thin([{"step": step, "bpb": 1.0} for step in range(1000)])
    assert len(every) == 200 and (every[0]["step"], every[-1]["step"]) == (0, 999)
    assert thin(rows[:200]) == rows[:200]


def test_a_mean_keeps_the_lopsided_intervals_of_its_parts():
    mean = combine([Score(1.0, 0.9, 1.0, 10), Score(0.5, 0.3, 0.7, 30)])
    assert (mean.value, mean.n) == (0.75, 40)
    assert (mean.low, mean.high) == (pytest.approx(0.75 - 0.05**0.5 / 2), pytest.approx(0.85))
    pooled = combine([Score(1.0, 0.9, 1.0, 10), Score(0.5, 0.3, 0.7, 30)], by_size=True)
    assert pooled.value == pytest.approx(0.625)
    one = combine([Score(0.5, 0.3, 0.7, 30)])
    assert (one.value, one.low, one.high) == (0.5, pytest.approx(0.3), pytest.approx(0.7))


@pytest.mark.parametrize(
    ("path", "damage", "said"),
    [
        ("models/base/summary.json", '{"loss": 2.0, ', "base/summary.json:1: not JSON"),
        ("models/base/summary.json", "[1]", "base/summary.json: expected a JSON object"),
        ("models/base/summary.json", '{"loss": NaN}', "base/summary.json: NaN is not a JSON value"),
        ("models/chat/summary.json", '{"loss": 1.0}', "chat/summary.json: val_loss_start: missing"),
        ("models/chat/summary.json", {**SFT, "loss": "low"}, "chat/summary.json: loss: expected a number or null"),
        ("models/chat/usage.json", {**USAGE, "active_s": -1}, "usage.json: active_s: expected at least 0, found -1"),
        ("models/chat/usage.json", {**USAGE, "attempts": None}, "usage.json: device or attempts"),
        ("models/chat/usage.json", {**USAGE, "flops": None}, "usage.json: a null where a measured number belongs"),
        ("models/chat/train.csv", "step,loss\n1,2.0\n2,high\n", "train.csv:3: loss: expected a number, found 'high'"),
        ("models/chat/train.csv", "step,loss\n1,2.0\n2\n", "train.csv:3: expected 2 fields, found 1"),
        ("models/chat/train.csv", "loss\n2.0\n", "train.csv:1: expected a header with a column 'step'"),
        ("data/evals/core/summary.json", dict.fromkeys(CORE),
         "core/summary.json: results: expected a mapping"),
        ("data/evals/agents/support/summary.json", {"before": {}, "after": {"new_values": {"accuracy": 1, "n": 3}}},
         "summary.json: new_values: n_failed: missing"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(repository, path, damage, said):
    write(repository / path, damage)
    with pytest.raises(UserError) as error:
        run(repository)
    assert said in str(error.value)


def test_the_two_stages_run_without_torch(repository):
    """collect, then cost, as DVC calls them, on the seed's prices and targets."""
    shutil.copytree(ROOT / "stages", repository / "stages")
    for name in ("prices.csv", "declared.yaml"):
        write(repository / "data/seed" / name, (ROOT / "data/seed" / name).read_text())
    write(repository / "params.yaml", "agents: [support, analyst, banking]\ncost: {node: cpu2}\n")
    script = (
        "import runpy, sys; [runpy.run_path(f'stages/{n}.py') for n in sys.argv[1:]]; assert 'torch' not in sys.modules"
    )

    def stages(*names: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-c", script, *names], cwd=repository, capture_output=True, text=True)

    done = stages("collect", "cost")
    assert done.returncode == 0, done.stderr
    files = {path.name: path.is_file() and path.read_bytes() for path in (repository / "metrics").iterdir()}
    assert set(files) == {
        *(f"{name}.json" for name in ("loss", "core", "agents", "safety", "usage", "cost", "gates")),
        "plots",
        *("curves.csv", "costs.csv", "roi.csv"),
    }
    gates = json.loads(files["gates.json"])
    assert gates["agent_accuracy"]["verdict"] == "not met" and gates["agent_accuracy"]["interval"]
    assert gates["gsm8k"]["verdict"] == "met" and gates["core"]["verdict"] == "not measured"
    assert stages("collect", "cost").returncode == 0
    assert {path.name: path.is_file() and path.read_bytes() for path in (repository / "metrics").iterdir()} == files
    write(repository / "params.yaml", "agents: [support, analyst, banking]\ncost: {node: gone}\n")
    failed = stages("cost")
    assert failed.returncode == 1 and failed.stderr.startswith("error: cost: data/seed/prices.csv: no price for node")
