"""Prepare one agent's pairs: python stages/agent_data.py <agent>."""

import sys
from pathlib import Path

from genesis.agents import load_agent
from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.prepare.agents import AgentData, agent_data

name = sys.argv[1]
out = Path("data/agents") / name

with measured("agent_data", name, out) as usage:
    agent = load_agent(name)
    agent_data(name, agent, load_params(AgentData, "agent_data", **agent.agent_data), out, usage)
