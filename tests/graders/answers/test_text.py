import time

import pytest

from genesis.graders.answers.grade import grade


def correct(spec, reply):
    return grade(spec, reply).correct


@pytest.mark.parametrize(
    "reply", ["billing", " Billing.\n", '"BILLING"', "\u201cbilling.\u201d", "`billing`!", "'billing'."]
)
def test_a_label_is_read_through_case_quotes_and_end_punctuation(reply):
    assert correct({"kind": "label", "answer": "Billing"}, reply) is True


@pytest.mark.parametrize("reply", ["The team is billing", "billing or shipping", "billings", "bill ing", "- billing"])
def test_a_label_among_other_text_is_wrong(reply):
    assert correct({"kind": "label", "answer": "billing"}, reply) is False


@pytest.mark.parametrize("spec", [{"kind": "label", "answer": "a"}, {"kind": "exact", "answer": "a"}])
def test_an_empty_reply_cannot_be_read(spec):
    assert correct(spec, " \n") is None


def test_exact_forgives_white_space_alone():
    spec = {"kind": "exact", "answer": "Refund in full."}
    assert correct(spec, "  Refund in\nfull. ") is True
    assert correct(spec, "refund in full.") is False
    assert correct(spec, "Refund in full") is False


def test_keywords_are_whole_words_in_any_case():
    spec = {"kind": "keywords", "all": ["refund"], "any": ["5 days", "don't wait"]}
    assert correct(spec, "REFUND within 5\ndays") is True
    assert correct(spec, "A refund: don\u2019t wait.") is True
    assert correct(spec, "A refund within 15 days") is False
    assert correct(spec, "Refunded in 5 days") is False
    assert correct(spec, "5 days") is False
    assert correct({"kind": "keywords", "all": ["c++"]}, "I know C++.") is True
    assert correct({"kind": "keywords", "any": ["sorry"]}, "") is None


def test_regex_searches_and_a_runaway_pattern_is_cut_off():
    assert correct({"kind": "regex", "pattern": r"(?i)\brollback\b"}, "Do a Rollback now") is True
    assert correct({"kind": "regex", "pattern": r"^\d+$"}, "no") is False
    started = time.monotonic()
    verdict = grade({"kind": "regex", "pattern": r"^(\w+\s?)*$"}, "aaaaaaaaaa " * 40 + "!")
    assert time.monotonic() - started < 3
    assert verdict.correct in (None, False)
    assert grade({"kind": "regex", "pattern": r"(a|aa)+$"}, "a" * 60 + "b").correct is None


def test_json_fields_are_compared_by_value():
    spec = {"kind": "json", "fields": {"city": "Utrecht", "quantity": 3, "blocked": True, "tags": ["A", None]}}
    good = '{"city": "utrecht ", "quantity": 3.0, "blocked": true, "tags": ["a", null], "extra": {}}'
    assert correct(spec, good) is True
    assert correct(spec, f"Here {{you}} are:\n```json\n{good}\n```\nDone.") is True
    assert correct(spec, good.replace("3.0", '"3"')) is False
    assert correct(spec, good.replace("true", "1")) is False
    assert correct(spec, good.replace('"city"', '"town"')) is False
    assert correct(spec, "{not json}") is None
    assert correct(spec, "[" * 50_000 + "{" * 50_000) is None
    assert correct({"kind": "json", "fields": {"n": 0.3}}, '{"n": 0.30000000000000004}') is True
    assert correct({"kind": "json", "fields": {"n": 1.5}}, '{"n": 1%s}' % ("0" * 400)) is False
    assert correct({"kind": "json", "fields": {"at": {"x": 1}}}, '{"at": {"x": 1, "y": 2}}') is False
