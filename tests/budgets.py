"""A folder in which stages run under a budget: params.yaml, a price list, DVC, and the ledger that they leave."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from genesis.common.prices import COLUMNS


def configure(folder: Path, price: float = 24.0, mirror: str | None = None, tracking: list[str] = (), **budget) -> None:
    """params.yaml with the sections that a stage reads at its start, and a price list with the node `own`."""
    row = f"own,box,none,0,{price},,1,2026-01-01,mine"
    (folder / "prices.csv").write_text(f"{','.join(COLUMNS)}\n{row}\n")
    cost = {"node": "box", "prices": "prices.csv", "declared": "declared.yaml"}
    sections = {"budget": budget, "cost": cost, "training": {"checkpoint_mirror": mirror}, "tracking": [*tracking]}
    (folder / "params.yaml").write_text(yaml.safe_dump(sections))


def ledger(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / ".cache/ledger.jsonl").read_text().splitlines()]


def python(folder: Path, *command: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
