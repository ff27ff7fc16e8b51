"""Budget caps: what was spent so far, and how much more a stage may spend before it must stop.

Spent is what the pipeline, as it stands in this workspace, was paid for: the attempts behind every finished out (its
usage.json) and every attempt at work that is not finished yet (the heartbeats under .cache), be it running in another
process, interrupted, or given up for other parameters; `make clean` forgets the last two. Results that a later run replaced
do not count. All of it at the price of `cost.node`.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from genesis.common.errors import BudgetError, UserError
from genesis.common.estimate import Estimate
from genesis.common.params import load_params
from genesis.common.prices import Cost, own_price, usd_text

RLT = ("safety_data", "student", "rlt_sft", "rlt_rl", "traces")
AGENT = ("agent_data", "finetune", "eval_agent")


@dataclass
class Budget:
    """Section `budget`: upper limits in dollars and in hours of the node `cost.node`; null is no limit.

    Attributes:
        total_usd, total_hours: of all stages together.
        rlt_usd, rlt_hours: of the safety track up to its traces.
        agent_usd, agent_hours: of each agent's own stages.
        stages_usd, stages_hours: by the stage's name, all its items together.
    """

    total_usd: float | None = None
    total_hours: float | None = None
    rlt_usd: float | None = None
    rlt_hours: float | None = None
    agent_usd: float | None = None
    agent_hours: float | None = None
    stages_usd: dict[str, float] = field(default_factory=dict)
    stages_hours: dict[str, float] = field(default_factory=dict)


class Spent(NamedTuple):
    """Node seconds of one attempt or of one finished out."""

    stage: str
    item: str | None
    seconds: float


@dataclass(frozen=True)
class Cap:
    """One limit, in dollars or hours; `stages` None covers every stage, `item` None every item."""

    key: str
    limit: float
    stages: tuple[str, ...] | None = None
    item: str | None = None

    def covers(self, stage: str, item: str | None) -> bool:
        """Whether what this stage spends counts."""
        return (self.stages is None or stage in self.stages) and self.item in (None, item)

    def amount(self, seconds: float, usd_per_hour: float) -> float:
        """Node seconds in the cap's own unit."""
        return seconds / 3600 * (usd_per_hour if self.key.split(".")[1].endswith("_usd") else 1.0)

    def text(self, amount: float) -> str:
        """An amount with its unit."""
        return usd_text(amount) if self.key.split(".")[1].endswith("_usd") else f"{amount:.4g} h"


def caps(budget: Budget, stage: str, item: str | None) -> list[Cap]:
    """Every cap that covers a stage.

    Raises:
        UserError: a limit below zero.
    """
    found = []
    for unit in ("usd", "hours"):
        limits = [("total", None, None)]
        limits += [("rlt", RLT, None)] if stage in RLT else []
        limits += [("agent", AGENT, item)] if stage in AGENT else []
        found += [Cap(f"{name}_{unit}", getattr(budget, f"{name}_{unit}"), *where) for name, *where in limits]
        found.append(Cap(f"stages_{unit}.{stage}", getattr(budget, f"stages_{unit}").get(stage), (stage,)))
    for cap in found:
        if cap.limit is not None and not cap.limit >= 0:
            raise UserError(f"budget.{cap.key}: expected 0 or more, or null for no cap, found {cap.limit}")
    return [Cap(f"budget.{cap.key}", cap.limit, cap.stages, cap.item) for cap in found if cap.limit is not None]


def spending(workspace: Path, cache: Path, but: Path | None = None) -> Iterator[Spent]:
    """What finished outs cost, and what was tried since; the work folder `but` left out."""
    for top in ("data", "models"):
        for depth in ("*", "*/*", "*/*/*"):
            for path in workspace.glob(f"{top}/{depth}/usage.json"):
                values = _read(path)
                if values and not any(part.startswith(".") for part in path.relative_to(workspace).parts):
                    yield Spent(values["stage"], values["item"], values["active_s"])
    for path in cache.glob("*/*/*/attempt-*.json"):
        values = _read(path)
        if values and path.parent != but:
            stage, item = path.relative_to(cache).parts[:2]
            yield Spent(stage, None if item == "_" else item, values["active_s"])


def _read(path: Path) -> dict[str, Any]:
    """A file that another process may be writing or removing at this moment; what cannot be read counts at the next look."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


class Guard:
    """Holds one running stage under every cap that covers it.

    Args:
        own: the caps; `usd_per_hour` prices the seconds.
        look: reads what all the others have spent.
    """

    def __init__(self, own: list[Cap], usd_per_hour: float, look: Callable[[], Iterable[Spent]]):
        self.caps, self.usd_per_hour, self.look = own, usd_per_hour, look
        self.others: dict[Cap, float] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again at what the others have spent."""
        rows = list(self.look()) if self.caps else []
        self.others = {
            cap: math.fsum(row.seconds for row in rows if cap.covers(row.stage, row.item)) for cap in self.caps
        }

    def reached(self, own_s: float) -> str | None:
        """One line about the first cap that `own_s` seconds of this work reach, else None."""
        for cap in self.caps:
            spent = cap.amount(self.others[cap] + own_s, self.usd_per_hour)
            if spent >= cap.limit:
                return f"{cap.key}: {cap.text(spent)} spent, the cap is {cap.text(cap.limit)}; {_raise(cap)}"
        return None

    def check_start(self, own_s: float, estimate: Estimate) -> None:
        """Refuse work that would pass a cap; `own_s` is what earlier attempts at it took.

        Raises:
            BudgetError: which cap, what was spent, what is expected and from where, how to raise it.
        """
        line = self.reached(own_s)
        if line:
            raise BudgetError(f"not started: {line}")
        ahead_s = max(0.0, (estimate.seconds or 0.0) - own_s)
        for cap in self.caps:
            spent, ahead = (cap.amount(s, self.usd_per_hour) for s in (self.others[cap] + own_s, ahead_s))
            if spent + ahead > cap.limit:
                raise BudgetError(
                    f"not started: {cap.key}: {cap.text(spent)} spent and {cap.text(ahead)} expected ({estimate.source}), "
                    f"the cap is {cap.text(cap.limit)}; {_raise(cap)}"
                )


def guard(stage: str, item: str | None, work: Path, cache: Path, params: Path = Path("params.yaml")) -> Guard:
    """The guard of one stage from the sections `budget` and `cost`; without a params file there is no cap.

    Raises:
        UserError: see `load_params`, `caps` and `own_price`.
    """
    if not params.is_file():
        return Guard([], 0.0, list)
    own = caps(load_params(Budget, "budget", params), stage, item)
    cost = load_params(Cost, "cost", params)
    return Guard(own, own_price(cost).usd_per_hour(cost.market), lambda: spending(params.parent, cache, work))


def _raise(cap: Cap) -> str:
    return f"raise it with dvc exp run -S {cap.key}=… (or in conf/config.yaml, then make params): the stage resumes"
