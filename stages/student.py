"""Teach the student to read explanations: python stages/student.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.launch import launch
from genesis.rlt.settings import Rlt
from genesis.rlt.student import Student, student
from genesis.training import Compute

out = Path("models/rlt/student")
data = Path("data/safety")
params, rlt = load_params(Student, "student"), load_params(Rlt, "rlt")
deps = [Path(params.start), data / "train.jsonl", data / "val.jsonl"]
compute = load_params(Compute, "compute")
launch(compute.processes, compute.accelerate)

with measured("student", None, out, [params, rlt], deps) as usage:
    student(params, rlt, compute, data, out, usage)
