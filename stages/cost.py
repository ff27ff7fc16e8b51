"""Price what was measured, check the gates, work out the return: python stages/cost.py."""

import sys
from pathlib import Path

from genesis.agents import agent_names
from genesis.common.errors import UserError
from genesis.common.params import load_params
from genesis.common.prices import Cost
from genesis.costs.cost import cost

try:
    cost(load_params(Cost, "cost"), agent_names(), Path("metrics"))
except UserError as error:
    sys.exit(f"error: cost: {error}")
