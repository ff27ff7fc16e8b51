"""Let a teacher explain every training pair: python stages/traces.py sft|rl."""

import sys
from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.rlt.settings import Rlt
from genesis.rlt.traces import Traces, traces

name = sys.argv[1]
out = Path("data/traces") / name
teacher = {"sft": Path("models/rlt/sft/model"), "rl": Path("models/rlt/teacher/model")}[name]
student, data = Path("models/rlt/student/model"), Path("data/safety")
params, rlt = load_params(Traces, "traces"), load_params(Rlt, "rlt")

with measured("traces", name, out, [params, rlt], [teacher, student, data / "train.jsonl"]) as usage:
    traces(params, rlt, teacher, student, data, out, usage)
