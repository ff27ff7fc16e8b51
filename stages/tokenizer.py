"""Train the tokenizer on the corpus: python stages/tokenizer.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.nanochat.tokenizer import TokenizerParams, tokenizer

out = Path("models/tokenizer")
corpus = Path("data/corpus")
params = load_params(TokenizerParams, "tokenizer")

with measured("tokenizer", None, out, params, [corpus / "train"]) as usage:
    tokenizer(params, corpus, out, usage)
