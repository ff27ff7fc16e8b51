"""Gather, clean and split the pretraining text: python stages/corpus.py."""

from pathlib import Path

from genesis.params import load_params
from genesis.prepare.corpus import Corpus, corpus
from genesis.usage import measured

out = Path("data/corpus")

with measured("corpus", None, out) as usage:
    corpus(load_params(Corpus, "corpus"), out, usage)
