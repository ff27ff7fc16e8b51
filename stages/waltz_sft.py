"""Distil one of the safety pair's first agents: python stages/waltz_sft.py solutions|source|sft|rl|feedback."""

import sys
from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.launch import launch
from genesis.training import Compute
from genesis.waltz.sft import WaltzSft, waltz_sft

part = sys.argv[1]
out = Path("models/waltz/sft") / part
data = Path("data/waltz") / part
params = load_params(WaltzSft, "waltz_sft")
if part == "feedback":
    params = load_params(WaltzSft, "waltz_sft", **params.feedback)
compute = load_params(Compute, "compute")
launch(compute.processes, compute.accelerate)

with measured("waltz_sft", part, out, params, [Path(params.start), data]) as usage:
    waltz_sft(params, compute, data, out, usage)
