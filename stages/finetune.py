"""Fine-tune one specialist: python stages/finetune.py <agent>."""

import sys
from pathlib import Path

from genesis.agents import load_agent
from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.launch import launch
from genesis.nanochat.finetune import Finetune, finetune
from genesis.training import Compute

name = sys.argv[1]
out = Path("models/agents") / name
data = Path("data/agents") / name
params = load_params(Finetune, "finetune", **load_agent(name).finetune)
compute = load_params(Compute, "compute")
launch(compute.processes, compute.accelerate)

with measured("finetune", name, out, params, [Path(params.start), data / "train.jsonl", data / "val.jsonl"]) as usage:
    finetune(params, compute, data, out, usage)
