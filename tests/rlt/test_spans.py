"""Tokens found by place, whatever the text repeats, and the pairing of two tokenisations."""

import pytest

from genesis.common.errors import UserError
from genesis.rlt.prompts import Text
from genesis.rlt.spans import Encoding, Side, SpanTokenizer, explanation_span, pair_tokens

TEXTS = ["plain words", "é🙂汉 🏳️‍🌈", "\n\n\n a", " . . .", "a<|end_of_thought|>b<|im_end|>", "e\u0301\u0302 ﷺ"]


@pytest.mark.parametrize("kind", ["own", "gpt4", "gpt2"])
@pytest.mark.parametrize("inner", TEXTS)
def test_a_span_is_every_token_wholly_inside_and_no_other(tokenizers, kind, inner):
    text = f"ab {inner} {inner} cd"
    encoded = SpanTokenizer(tokenizers[kind]).encode([text, "other"])[0]
    offsets = list(zip(encoded.starts, encoded.ends, strict=True))
    assert tokenizers[kind].decode(encoded.ids) == text
    for first in range(len(text)):
        for last in range(first, len(text) + 1):
            wanted = [i for i, (a, b) in enumerate(offsets) if a >= first and b <= last]
            assert list(range(*encoded.span((first, last)))) == wanted


def test_the_blank_line_counts_only_where_a_token_begins_with_it():
    #                    tag           blank   explanation
    apart = Encoding([1, 2, 3, 4], [0, 5, 7, 9], [5, 7, 9, 12])
    joined = Encoding([1, 2, 3], [0, 7, 9], [7, 9, 12])
    text = Text("x" * 12, thought=5, explanation=(7, 9))
    assert explanation_span(apart, text, with_blank=True) == (1, 3)
    assert explanation_span(apart, text, with_blank=False) == (2, 3)
    assert explanation_span(joined, text, with_blank=True) == explanation_span(joined, text, with_blank=False) == (1, 2)
    first, last = explanation_span(apart, Text("x" * 12, 5, (7, 7)), with_blank=True)
    assert first == last


def side(ids, cuts, origin=0, before=0):
    """Tokens between the cuts, after `before` others."""
    starts = [0] * before + [origin + cut for cut in cuts[:-1]]
    ends = [0] * before + [origin + cut for cut in cuts[1:]]
    return Side(Encoding([0] * before + ids, starts, ends), (before, before + len(ids)), origin)


def test_tokens_of_one_vocabulary_are_paired_one_by_one():
    pairs = pair_tokens(side([7, 8, 9], [0, 1, 3, 4]), side([7, 8, 9], [0, 1, 3, 4], 20, 5), same_vocabulary=True)
    assert pairs == [((0, 1), (5, 6)), ((1, 2), (6, 7)), ((2, 3), (7, 8))]


def test_stretches_run_from_one_common_boundary_to_the_next():
    teacher, student = side([1, 2, 3, 4], [0, 2, 4, 6, 9]), side([5, 6, 7], [0, 1, 4, 9], 30, 2)
    assert pair_tokens(teacher, student, same_vocabulary=False) == [((0, 2), (2, 4)), ((2, 4), (4, 5))]
    # Characters at an edge that only one side scores are out.
    assert pair_tokens(side([1, 2], [0, 2, 4]), side([5], [2, 4], 9), same_vocabulary=False) == [((1, 2), (0, 1))]
    assert pair_tokens(side([], [0]), student, same_vocabulary=False) == []


def test_bytes_of_one_character_are_never_cut_apart(tokenizers):
    teacher, student = (SpanTokenizer(tokenizers[name]).encode(["🙂🙂a"])[0] for name in ("own", "gpt2"))
    sides = [Side(one, (0, len(one.ids)), 0) for one in (teacher, student)]
    pairs = pair_tokens(*sides, same_vocabulary=False)
    for pair in pairs:
        starts = {one.starts[span[0]] for one, span in zip((teacher, student), pair, strict=True)}
        assert len(starts) == 1
    assert pairs[0][0][0] == 0 and pairs[-1][0][1] == len(teacher.ids)


def test_a_tokenizer_without_offsets_is_refused():
    class Slow:
        name_or_path, is_fast = "slow", False

    with pytest.raises(UserError, match="slow: this tokenizer gives no character offsets"):
        SpanTokenizer(Slow())
