"""Hash every agent's inputs, so that a changed file re-runs that agent alone: python stages/agent_sources.py."""

import shutil
import sys
from pathlib import Path

from genesis.common.errors import UserError
from genesis.prepare.agent_sources import agent_sources

out = Path("data/sources")
shutil.rmtree(out, ignore_errors=True)
try:
    agent_sources(out)
except UserError as error:
    sys.exit(f"error: agent_sources: {error}")
