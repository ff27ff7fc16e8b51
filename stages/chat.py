"""Teach the base to chat: python stages/chat.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.launch import launch
from genesis.nanochat.chat import Chat, chat
from genesis.training import Compute

out = Path("models/chat")
base = Path("models/base/model")
params = load_params(Chat, "chat")
compute = load_params(Compute, "compute")
launch(compute.processes, compute.accelerate)

with measured(
    "chat", None, out, params, [base, *(Path(s.path) for s in params.sources if s.kind == "folder")]
) as usage:
    chat(params, compute, base, out, usage)
