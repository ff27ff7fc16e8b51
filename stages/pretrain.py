"""Pretrain the shared base: python stages/pretrain.py (several GPUs: compute.processes)."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.launch import launch
from genesis.nanochat.pretrain import Pretrain, pretrain
from genesis.training import Compute

out = Path("models/base")
corpus = Path("data/corpus")
tokenizer = Path("models/tokenizer/model")
params = load_params(Pretrain, "pretrain")
compute = load_params(Compute, "compute")
launch(compute.processes)

with measured("pretrain", None, out, params, [corpus / "train", corpus / "val", tokenizer]) as usage:
    pretrain(params, compute, corpus, tokenizer, out, usage)
