"""What `dvc repro` would do with each stage, asked of DVC itself; nothing is run or changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx

RUNS, FOLLOWS, RESTORED, DONE = "runs", "follows", "restored", "done"


@dataclass(frozen=True)
class Step:
    """One stage, or one item of it.

    Attributes:
        stage, item: its name in two parts; item None where it runs once.
        state: `runs` (it or its inputs changed), `follows` (something before it runs; it runs unless that gives the same
            again), `restored` (its result is in the cache) or `done`. DVC may find more in its run cache.
        outs: where it writes.
    """

    stage: str
    item: str | None
    state: str
    outs: tuple[Path, ...]

    @property
    def name(self) -> str:
        """As DVC names it."""
        return f"{self.stage}@{self.item}" if self.item else self.stage


def steps(root: Path) -> list[Step]:
    """Every stage of the repository at `root`, makers before users."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        graph = repo.index.graph  # an edge leads from a stage to one that it needs
        found: dict[Any, Step] = {}
        status = repo.status()
        for stage in nx.dfs_postorder_nodes(graph):
            if stage.cmd:
                before = {found[need].state for need in graph.successors(stage) if need in found}
                name, _, item = stage.addressing.partition("@")
                outs = tuple(Path(out.fs_path) for out in stage.outs)
                state = _state(stage, status.get(stage.addressing, []), before, set(_outs(graph)))
                found[stage] = Step(name, item or None, state, outs)
    return list(found.values())


def _state(stage, changes: list, before: set[str], made: set[str]) -> str:
    if _changed(changes, made):
        return RUNS
    if before & {RUNS, FOLLOWS}:
        return FOLLOWS
    if not any("changed outs" in entry for entry in changes):
        return DONE
    return RESTORED if stage.outs_cached() else RUNS


def _changed(changes: list, made: set[str]) -> bool:
    """The command, a parameter or an input; an absent input that another stage makes is that stage's affair."""
    for entry in changes:
        if not isinstance(entry, dict):
            return True
        for path, what in entry.get("changed deps", {}).items():
            if what != "deleted" or not any(path == out or path.startswith(f"{out}/") for out in made):
                return True
    return False


def _outs(graph: nx.DiGraph) -> Iterator[str]:
    return (str(out.def_path) for stage in graph for out in stage.outs)
