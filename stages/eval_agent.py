"""Measure one agent before and after its fine-tune: python stages/eval_agent.py <agent>."""

import sys
from pathlib import Path

from genesis.agents import load_agent
from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.evals.eval_agent import EvalAgent, eval_agent

name = sys.argv[1]
out = Path("data/evals/agents") / name
model = Path("models/agents") / name / "model"
chat = Path("models/chat/model")
data = Path("data/agents") / name
params = load_params(EvalAgent, "eval_agent")

with measured("eval_agent", name, out, params, [model, chat, data / "test.jsonl"]) as usage:
    eval_agent(params, load_agent(name), model, chat, data, Path("data/corpus"), out, usage)
