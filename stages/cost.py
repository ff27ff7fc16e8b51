"""Price what was measured, check the gates, work out the return: python stages/cost.py."""

import sys
from pathlib import Path

from genesis.agents import agent_names
from genesis.costs.cost import cost
from genesis.errors import UserError
from genesis.params import load_params
from genesis.prices import Cost

try:
    cost(load_params(Cost, "cost"), agent_names(), Path("metrics"))
except UserError as error:
    sys.exit(f"error: cost: {error}")
