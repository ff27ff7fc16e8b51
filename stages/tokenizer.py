"""Train the tokenizer on the corpus: python stages/tokenizer.py."""

from pathlib import Path

from genesis.nanochat.tokenizer import TokenizerParams, tokenizer
from genesis.params import load_params
from genesis.usage import measured

out = Path("models/tokenizer")
corpus = Path("data/corpus")
params = load_params(TokenizerParams, "tokenizer")

with measured("tokenizer", None, out, params, [corpus / "train"]) as usage:
    tokenizer(params, corpus, out, usage)
