"""Distil the safety pair's first agents, the ablation and the baselines: python stages/waltz_sft.py."""

from pathlib import Path

from genesis.launch import launch
from genesis.params import load_params
from genesis.training import Compute
from genesis.usage import measured
from genesis.waltz.sft import WaltzSft, waltz_sft

out = Path("models/waltz/sft")
data = Path("data/safety")
traces = {name: Path("data/traces") / name / "traces.jsonl" for name in ("sft", "rl")}
chats = Path("models/chat/train.jsonl")
params = load_params(WaltzSft, "waltz_sft")
deps = [Path(params.start), data / "train.jsonl", data / "val.jsonl", *traces.values(), chats]
compute = load_params(Compute, "compute")
launch(compute.processes, compute.accelerate)

with measured("waltz_sft", None, out, params, deps) as usage:
    waltz_sft(params, compute, data, traces, chats, out, usage)
