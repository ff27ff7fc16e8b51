"""Run the pipeline, several agents at a time, and print the headline numbers: python -m genesis repro --jobs 2."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from genesis.agents import agent_names
from genesis.usage import STOP, dvc_root

SHARED = ["chat", "agent_sources"]
OWN = ["agent_data", "finetune", "eval_agent"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--jobs", type=int, default=2, help="agents trained side by side (1: plain dvc repro)")


def run(args: argparse.Namespace) -> int:
    """What all agents stand on, then the agents in lanes, then `dvc repro` for whatever is left.

    One `dvc repro` runs one stage at a time; DVC lets go of its lock while a stage runs, so several may work side by side.
    Small models use two cores better as two processes of one thread than as one of two. Where a budget cap stopped a stage,
    the exit code is 3, which DVC's own would hide.
    """
    started = time.time()
    code = _repro(args.jobs)
    stop = dvc_root() / ".cache" / STOP
    return 3 if code and stop.is_file() and stop.stat().st_mtime >= started else code


def _repro(jobs: int) -> int:
    if jobs > 1 and not _unchanged():
        code = _dvc(SHARED)
        if code:
            return code
        agents = agent_names()
        threads = str(max(1, (os.cpu_count() or 1) // jobs))
        lanes = [
            _start([f"{stage}@{agent}" for agent in agents[lane::jobs] for stage in OWN], threads)
            for lane in range(jobs)
        ]
        code = max(lane.wait() for lane in lanes)
        if code:
            return code
    code = _dvc([])
    if code == 0:
        _headline()
    return code


def _unchanged() -> bool:
    status = subprocess.run([*DVC, "status", "--quiet"], check=False)
    return status.returncode == 0


DVC = [sys.executable, "-m", "dvc"]


def _dvc(targets: list[str]) -> int:
    return subprocess.run([*DVC, "repro", *targets], check=False).returncode


def _start(targets: list[str], threads: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    command = [*DVC, "--wait-for-lock", "repro", "--single-item", *targets]
    return subprocess.Popen(command, env=environment)


def _headline() -> None:
    report = Path("reports/report.md")
    if report.is_file():
        head = report.read_text(encoding="utf-8").split("\n## ", 1)[0]
        print(f"\n{head.strip()}\n\nreport: {Path('reports/index.html').resolve()}")
