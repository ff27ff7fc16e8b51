"""Measure every model of the safety track on held-out prompts: python stages/eval_safety.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.evals.eval_safety import EvalSafety, eval_safety

out = Path("data/evals/safety")
test = Path("data/safety/test.jsonl")
models = Path("models")
params = load_params(EvalSafety, "eval_safety")
pair = models / "waltz/rl"
deps = [test, pair / "conversation/model", pair / "feedback/model", Path(params.agreement), Path(params.bundle)]

with measured("eval_safety", None, out, params, deps) as usage:
    eval_safety(params, test, models, out, usage)
