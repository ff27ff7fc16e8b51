"""Train conversation and feedback agent together: python stages/waltz_rl.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.launch import launch
from genesis.training import Compute
from genesis.waltz.train import WaltzRl, waltz_rl

out = Path("models/waltz/rl")
data = Path("data/safety")
starts = {
    "conversation": Path("models/waltz/sft/rl/model"),
    "feedback": Path("models/waltz/sft/feedback/model"),
}
params = load_params(WaltzRl, "waltz_rl")
compute = load_params(Compute, "compute")
launch(compute.processes, compute.accelerate)

with measured("waltz_rl", None, out, params, [*starts.values(), data / "train.jsonl", data / "val.jsonl"]) as usage:
    waltz_rl(params, compute, starts, data, out, usage)
