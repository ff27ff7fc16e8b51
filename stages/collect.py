"""Gather every summary, usage and training log into metrics/: python stages/collect.py."""

import sys
from pathlib import Path

from genesis.agents import agent_names
from genesis.common.errors import UserError
from genesis.evals.core_bundle import OFFICIAL
from genesis.report.collect import collect

out = Path("metrics")
out.mkdir(exist_ok=True)
try:
    collect(agent_names(), list(OFFICIAL), Path("."), out)
except UserError as error:
    sys.exit(f"error: collect: {error}")
