"""Train one of the two baselines and let it answer: python stages/waltz_baselines.py before|overcautious."""

import sys
from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.launch import launch
from genesis.training import Compute
from genesis.waltz.baselines import WaltzBaselines, waltz_baselines

name = sys.argv[1]
out = Path("models/waltz/baselines") / name
data = Path("data/safety")
params = load_params(WaltzBaselines, "waltz_baselines")
compute = load_params(Compute, "compute")
launch(compute.processes, compute.accelerate)

deps = [Path(params.start), data / "train.jsonl", data / "val.jsonl"]
with measured("waltz_baselines", name, out, params, deps) as usage:
    waltz_baselines(params, compute, name, data, out, usage)
