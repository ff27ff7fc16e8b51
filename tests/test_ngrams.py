import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genesis.ngrams import N, NgramIndex

CORPUS = (
    "The quick brown fox jumps over the lazy dog while seven small birds sing in the old apple tree behind the house"
)
WORDS = CORPUS.split()


def test_thirteen_words_in_a_row_are_found_and_twelve_are_not():
    index = NgramIndex.build(["Nothing of interest.", CORPUS])
    for start in (0, 3, len(WORDS) - N):
        shared = WORDS[start : start + N]
        assert index.contains("Before it: " + ", ".join(shared).upper() + "! After it.")
        assert not index.contains("before it " + " ".join(shared[:-1]) + " something else " + shared[-1])
    assert not index.contains(" ".join(reversed(WORDS)))
    assert not index.contains("")


def test_an_index_survives_on_disk_memory_mapped(tmp_path):
    NgramIndex.build([CORPUS]).save(tmp_path / "ngrams.npy")
    index = NgramIndex.load(tmp_path / "ngrams.npy")
    assert isinstance(index.hashes_M, np.memmap)
    assert index.contains(CORPUS) and not index.contains(CORPUS[20:60])


def test_texts_too_short_for_a_gram_make_an_index_that_contains_nothing(tmp_path):
    for texts in ([], ["", "twelve words are not enough to make even a single n gram"]):
        NgramIndex.build(texts).save(tmp_path / "ngrams.npy")
        assert not NgramIndex.load(tmp_path / "ngrams.npy").contains(CORPUS)


@given(
    st.lists(st.lists(st.sampled_from("ab"), max_size=24), max_size=4),
    st.lists(st.sampled_from("ab"), max_size=24),
)
def test_it_agrees_with_a_plain_set(texts, query):
    def grams(words):
        return {tuple(words[k : k + N]) for k in range(len(words) - N + 1)}

    index = NgramIndex.build(" ".join(words) for words in texts)
    assert index.contains(" ".join(query)) == bool(grams(query) & set().union(*map(grams, texts)))
