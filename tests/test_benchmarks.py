"""Benchmarks of the RLT track at toy size: that they run and agree, not how fast they are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_gpu_benchmarks_tiny_run_measures_every_part(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/gpu_rl.py"), "--tiny", "--name", "toy", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "toy.json").read_text())
    assert found["tiny"] and found["steps_counted"] == 1 and found["device"]["count"] >= 1
    assert sum(found["share_of_time"].values()) == pytest.approx(1)
    assert all(0 < share < 1 for share in found["share_of_time"].values())
    assert found["completions_per_s"] == pytest.approx(4 / found["step_s_median"])
    assert found["peak_memory_bytes"] > 0 and found["command"].endswith(f"--out {tmp_path}")


def test_the_rewards_benchmark_finds_both_ways_equal():
    command = [sys.executable, str(ROOT / "benchmarks/rlt_reward.py"), "--completions=3", "--tokens=8", "--rounds=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["ours", "naive"]
