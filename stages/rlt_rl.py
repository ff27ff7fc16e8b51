"""Train the teacher on its student's reward: python stages/rlt_rl.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.launch import launch
from genesis.rlt.rl import Rl, rlt_rl
from genesis.rlt.settings import Rlt
from genesis.training import Compute

out = Path("models/rlt/teacher")
start, student, data = Path("models/rlt/sft/model"), Path("models/rlt/student/model"), Path("data/safety")
params, rlt = load_params(Rl, "rl"), load_params(Rlt, "rlt")
deps = [start, student, data / "train.jsonl", data / "val.jsonl"]
compute = load_params(Compute, "compute")
launch(compute.processes, compute.accelerate)

with measured("rlt_rl", None, out, [params, rlt], deps) as usage:
    rlt_rl(params, rlt, compute, start, student, data, out, usage)
