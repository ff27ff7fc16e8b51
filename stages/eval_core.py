"""Score the base on CORE: python stages/eval_core.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.evals.eval_core import EvalCore, eval_core

out = Path("data/evals/core")
model = Path("models/base/model")
params = load_params(EvalCore, "eval_core")

with measured("eval_core", None, out, params, [model, Path(params.bundle)]) as usage:
    eval_core(params, model, Path("data/corpus"), out, usage)
