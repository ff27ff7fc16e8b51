"""Whether an evaluation's item stands, in part, in what the model was trained on."""

from pathlib import Path

from genesis.ngrams import NgramIndex


class Contamination:
    """True for a text that shares a 13-gram with any of the indexes (the corpus, an agent's training pairs)."""

    def __init__(self, paths: list[Path]):
        self.indexes = [NgramIndex.load(path) for path in paths]

    def __call__(self, text: str) -> bool:
        return any(index.contains(text) for index in self.indexes)
