"""Which questions stand, equal or nearly so, in another set: between splits, and against benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass

from genesis.ngrams import NgramIndex
from genesis.prepare.quality import fingerprint, leaks

EQUAL, ALIKE, NGRAM = "equal", "near-duplicate", "13 words in a row"


@dataclass(frozen=True)
class Overlap:
    """A question that stands in another set: its index, how, and the text it is like ("" for shared words)."""

    index: int
    how: str
    other: str

    def __str__(self) -> str:
        return f"{self.how}: '{self.other[:80]}'" if self.other else self.how


def overlaps(questions: Sequence[str], others: Sequence[str], threshold: float) -> list[Overlap]:
    """For each question found in `others`, one overlap: equal, word 3-grams `threshold` alike, or a shared 13-gram."""
    known = {fingerprint(text): text for text in others}
    index = NgramIndex.build(others)
    alike: dict[int, str] = {}
    for place, match in leaks(others, questions, threshold):
        alike.setdefault(place, others[match])
    found = []
    for place, question in enumerate(questions):
        if (key := fingerprint(question)) in known:
            found.append(Overlap(place, EQUAL, known[key]))
        elif place in alike:
            found.append(Overlap(place, ALIKE, alike[place]))
        elif index.contains(question):
            found.append(Overlap(place, NGRAM, ""))
    return found
