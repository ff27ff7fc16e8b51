"""Tokens by place: encodings with character offsets, spans, and the pairing of two models' tokens of one text."""

import copy
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

from genesis.common.errors import UserError
from genesis.rlt.prompts import Span, Text


@dataclass(frozen=True)
class Encoding:
    """A text's token ids and, for each, the characters [start, end) that it comes from (both lists never fall)."""

    ids: list[int]
    starts: list[int]
    ends: list[int]

    def span(self, characters: Span) -> Span:
        """The tokens [first, last) that lie wholly inside the characters; empty where none does."""
        first = bisect_left(self.starts, characters[0])
        return first, max(first, bisect_right(self.ends, characters[1]))


class SpanTokenizer:
    """Encodes rendered texts; a template writes its own special tokens, so none are added.

    Raises:
        UserError: a tokenizer of transformers' slow kind, which cannot say where its tokens come from.
    """

    def __init__(self, tokenizer: Any):
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                f"{tokenizer.name_or_path}: this tokenizer gives no character offsets, so the explanation's tokens "
                "cannot be found; use its fast (tokenizer.json) version"
            )
        # A copy without the post-processor, which may add tokens and trim white space off the offsets.
        self._backend = copy.deepcopy(tokenizer.backend_tokenizer)
        self._backend.post_processor = None
        self._backend.no_truncation()
        self._backend.no_padding()
        self.vocabulary = tokenizer.get_vocab()

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenise every text whole."""
        batch = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [Encoding(encoded.ids, *_columns(encoded.offsets)) for encoded in batch]


def _columns(offsets: list[Span]) -> tuple[list[int], list[int]]:
    return [start for start, _ in offsets], [end for _, end in offsets]


def explanation_span(encoding: Encoding, text: Text, with_blank: bool) -> Span:
    """The explanation's tokens; `with_blank` adds its opening blank line where the tokenizer keeps that line apart.

    Most tokenizers of the GPT-4 kind join the blank line to the tag before it; it is then no token of the explanation.
    Where a token begins exactly at the line the public code scores it too, though the prefill wrote it, not the teacher.
    An empty explanation has no tokens either way.
    """
    first, last = text.explanation
    if first == last:
        return encoding.span((first, last))[0], encoding.span((first, last))[0]
    at_thought = bisect_left(encoding.starts, text.thought)
    apart = with_blank and at_thought == bisect_right(encoding.ends, text.thought)
    return encoding.span((text.thought if apart else first, last))


@dataclass(frozen=True)
class Side:
    """One model's reading of the explanation: its text's encoding, the span scored, where the thought begins."""

    encoding: Encoding
    span: Span
    origin: int

    @property
    def ids(self) -> list[int]:
        """The span's token ids."""
        return self.encoding.ids[slice(*self.span)]

    def ends(self) -> dict[int, int]:
        """Characters, counted from the thought's beginning, where a token of the span ends and none straddles.

        The value is the next token's position; the span's own beginning is among them.
        """
        starts, ends = self.encoding.starts, self.encoding.ends
        first, last = self.span
        inner = {ends[i] - self.origin: i + 1 for i in range(first, last - 1) if ends[i] <= starts[i + 1]}
        return {starts[first] - self.origin: first, **inner, ends[last - 1] - self.origin: last}


def pair_tokens(teacher: Side, student: Side, same_vocabulary: bool) -> list[tuple[Span, Span]]:
    """Pair up the stretches of both spans that cover the same characters, as short as both tokenisations allow.

    With one vocabulary the pairs are single tokens. With two, a token of the one has no counterpart in the other, and a
    stretch runs from one common token boundary to the next; characters at the edges that only one side scores are out.

    Returns:
        ((teacher's first, last), (student's first, last)) token positions, half open, in order.
    """
    if teacher.span[0] == teacher.span[1] or student.span[0] == student.span[1]:
        return []
    if same_vocabulary and teacher.ids == student.ids:
        return list(zip(_singles(teacher.span), _singles(student.span), strict=True))
    ends_teacher, ends_student = teacher.ends(), student.ends()
    common = sorted(ends_teacher.keys() & ends_student.keys())
    pairs = []
    for begin, end in pairwise(common):
        pair = (ends_teacher[begin], ends_teacher[end]), (ends_student[begin], ends_student[end])
        ids = [side.encoding.ids[slice(*span)] for side, span in zip((teacher, student), pair, strict=True)]
        equal = same_vocabulary and ids[0] == ids[1]
        pairs += zip(_singles(pair[0]), _singles(pair[1]), strict=True) if equal else [pair]
    return pairs


def _singles(span: Span) -> list[Span]:
    return [(position, position + 1) for position in range(*span)]


def copied_share(solution: str, explanation: str) -> float:
    """The longest run of the solution's words that stands unbroken in the explanation, over the solution's words."""
    words, said = solution.split(), explanation.split()
    match = SequenceMatcher(None, said, words, autojunk=False).find_longest_match()
    return match.size / max(1, len(words))
