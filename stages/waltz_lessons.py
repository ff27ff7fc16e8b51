"""Write what each of the safety pair's first agents learns from: python stages/waltz_lessons.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.waltz.lessons import WaltzLessons, waltz_lessons

out = Path("data/waltz")
baselines = Path("models/waltz/baselines")
traces = {name: Path("data/traces") / name / "traces.jsonl" for name in ("sft", "rl")}
params = load_params(WaltzLessons, "waltz_lessons")

with measured("waltz_lessons", None, out):
    waltz_lessons(params, Path("data/safety"), baselines, traces, Path("models/chat/train.jsonl"), out)
