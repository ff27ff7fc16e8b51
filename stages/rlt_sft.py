"""Warm the teacher up: python stages/rlt_sft.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.launch import launch
from genesis.rlt.settings import Rlt
from genesis.rlt.sft import RltSft, rlt_sft
from genesis.training import Compute

out = Path("models/rlt/sft")
data = Path("data/safety")
params, rlt = load_params(RltSft, "rlt_sft"), load_params(Rlt, "rlt")
deps = [Path(params.start), data / "train.jsonl", data / "val.jsonl"]
compute = load_params(Compute, "compute")
launch(compute.processes, compute.accelerate)

with measured("rlt_sft", None, out, [params, rlt], deps) as usage:
    rlt_sft(params, rlt, compute, data, out, usage)
