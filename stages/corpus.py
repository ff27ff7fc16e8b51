"""Gather, clean and split the pretraining text: python stages/corpus.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.prepare.corpus import Corpus, corpus

out = Path("data/corpus")

with measured("corpus", None, out) as usage:
    corpus(load_params(Corpus, "corpus"), out, usage)
