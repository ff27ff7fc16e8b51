"""Run the pipeline, several stages side by side, and print the headline numbers: python -m genesis repro --jobs 2."""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from genesis.common.budget import AGENT
from genesis.common.usage import STOP, dvc_root

SHARED = ("chat", "agent_sources")
TAIL = ("collect", "cost", "report")


@dataclass(frozen=True)
class Job:
    """Targets that one `dvc repro` runs in order, and the names of the jobs that must be done before."""

    name: str
    targets: tuple[str, ...]
    needs: frozenset[str] = frozenset()


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--jobs", type=int, default=2, help="stages run side by side (1: plain dvc repro)")


def run(args: argparse.Namespace) -> int:
    """What everything stands on, then agents and safety track side by side, then `dvc repro` for whatever is left.

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
        code = _dvc(SHARED) or _side_by_side(plan_jobs(Path(".")), jobs)
        if code:
            return code
    code = _dvc(())
    if code == 0:
        _headline()
    return code


def plan_jobs(root: Path) -> list[Job]:
    """The stages behind `SHARED` and before the tail as jobs, those that most others wait for first.

    An agent's stages are one job, since they follow one another; any other stage, and each item of it, is a job of its own.
    """
    import networkx as nx
    from dvc.repo import Repo

    from genesis.agents import agent_names

    with Repo(str(root)) as repo:
        users = nx.relabel_nodes(repo.index.graph, lambda stage: stage.addressing).reverse()
    done = set(SHARED).union(*(nx.ancestors(users, name) for name in SHARED))
    agents = agent_names(root / "params.yaml")
    order = [name for name in nx.lexicographical_topological_sort(users) if name not in done | set(TAIL)]
    own = {agent: tuple(name for name in order if name in {f"{stage}@{agent}" for stage in AGENT}) for agent in agents}
    rest = set(order).difference(*own.values())
    ahead = {name: len(nx.descendants(users, name)) for name in rest}
    jobs = [
        Job(name, (name,), frozenset(rest.intersection(users.predecessors(name)))) for name in order if name in rest
    ]
    jobs.sort(key=lambda job: -ahead[job.name])
    return jobs + [Job(agent, targets) for agent, targets in own.items()]


def _side_by_side(jobs: list[Job], at_once: int) -> int:
    """Run the jobs, each when what it needs is done; after a failure none is begun. Gives the worst exit code."""
    cores = os.cpu_count() or 1
    waiting, running, code = list(jobs), {}, 0
    with ThreadPoolExecutor(at_once) as pool:
        while waiting or running:
            unfinished = {job.name for job in [*waiting, *running.values()]}
            ready = [job for job in waiting if not job.needs & unfinished] if code == 0 else []
            for job in ready[: at_once - len(running)]:
                alone = len(ready) == 1 and not running
                future: Future[int] = pool.submit(_dvc, job.targets, cores if alone else max(1, cores // at_once))
                running[future] = job
                waiting.remove(job)
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                code = max(code, future.result())
                del running[future]
    return code


def _unchanged() -> bool:
    status = subprocess.run([*DVC, "status", "--quiet"], check=False)
    return status.returncode == 0


DVC = [sys.executable, "-m", "dvc"]


def _dvc(targets: tuple[str, ...], threads: int | None = None) -> int:
    """`dvc repro`; with `threads`, of the targets alone, beside others."""
    if threads is None:
        return subprocess.run([*DVC, "repro", *targets], check=False).returncode
    command = [*DVC, "--wait-for-lock", "repro", "--single-item", *targets]
    return abs(subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, check=False).returncode)


def _headline() -> None:
    report = Path("reports/report.md")
    if report.is_file():
        head = report.read_text(encoding="utf-8").split("\n## ", 1)[0]
        print(f"\n{head.strip()}\n\nreport: {Path('reports/index.html').resolve()}")
