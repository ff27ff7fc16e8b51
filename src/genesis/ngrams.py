"""Word 13-grams as 64-bit hashes: which texts stand in a corpus (contamination as in GPT-3, arXiv 2005.14165)."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xxhash

N = 13
_WORD = re.compile(r"\w+")
_PRIME = 0x9E3779B97F4A7C15
_POWERS_N = np.array([pow(_PRIME, k, 2**64) for k in range(N)], dtype=np.uint64)


class NgramIndex:
    """A sorted set of n-gram hashes; a text of fewer than 13 words has no n-gram and is never contained."""

    def __init__(self, hashes_M: np.ndarray):
        self.hashes_M = hashes_M

    @classmethod
    def build(cls, texts: Iterable[str]) -> "NgramIndex":
        """Index every 13-gram of the texts (case and punctuation ignored)."""
        cache: dict[str, int] = {}
        parts = [np.unique(_hashes(text, cache)) for text in texts]
        return cls(np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64))

    def contains(self, text: str) -> bool:
        """Any 13-gram of the text is in the index."""
        found_T = _hashes(text, {})
        if not len(found_T) or not len(self.hashes_M):
            return False
        places_T = np.searchsorted(self.hashes_M, found_T)
        return bool((self.hashes_M[np.minimum(places_T, len(self.hashes_M) - 1)] == found_T).any())

    def save(self, path: Path) -> None:
        """Write the index as a .npy file."""
        np.save(path, self.hashes_M)

    @classmethod
    def load(cls, path: Path) -> "NgramIndex":
        """Read an index, memory-mapped: a lookup touches a few pages of it only."""
        return cls(np.load(path, mmap_mode="r"))


def _hashes(text: str, cache: dict[str, int]) -> np.ndarray:
    words = _WORD.findall(text.lower())
    if len(words) < N:
        return np.empty(0, np.uint64)
    for word in set(words) - cache.keys():
        cache[word] = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))
    ids_T = np.array([cache[word] for word in words], dtype=np.uint64)
    windows_TN = np.lib.stride_tricks.sliding_window_view(ids_T, N)
    return (windows_TN * _POWERS_N).sum(axis=1, dtype=np.uint64)
