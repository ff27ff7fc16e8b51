import random

import pytest

from genesis.common.usage import Usage

_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]


@pytest.fixture
def text():
    """A function: number → a text of invented words that shares no word 3-gram with another number's."""

    def make(number: int, words: int = 60) -> str:
        draw = random.Random(number)
        return " ".join("".join(draw.choices(_SYLLABLES, k=3)) for _ in range(words))

    return make


@pytest.fixture
def usage(tmp_path):
    (tmp_path / "attempts").mkdir()
    return Usage(tmp_path / "attempts", "key")
