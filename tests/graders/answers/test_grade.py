import json
from pathlib import Path

import pytest

from genesis.common.errors import UserError
from genesis.graders.answers.grade import KINDS, grade, validate_grader

GOOD = [
    {"kind": "label", "answer": "billing"},
    {"kind": "exact", "answer": "Refund."},
    {"kind": "keywords", "all": ["refund"], "any": ["5 days"]},
    {"kind": "keywords", "any": ["5 days"]},
    {"kind": "number", "value": 42.5, "tolerance": 0.01},
    {"kind": "regex", "pattern": "(?i)\\brollback\\b"},
    {"kind": "json", "fields": {"priority": "high"}},
    {"kind": "python", "tests": "assert f() == 1"},
]


def test_every_kind_has_a_valid_example():
    assert [validate_grader(spec) for spec in GOOD] == [None] * len(GOOD)
    assert {spec["kind"] for spec in GOOD} == set(KINDS)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (None, "expected an object"),
        ({}, "field 'kind'"),
        ({"kind": ["label"]}, "field 'kind'"),
        ({"kind": "vibes"}, "found 'vibes'"),
        ({"kind": "label"}, "field 'answer': missing"),
        ({"kind": "label", "answer": 3}, "field 'answer': expected text"),
        ({"kind": "label", "answer": "?"}, "field 'answer'"),
        ({"kind": "label", "answer": "a", "any": []}, "field 'any': unknown"),
        ({"kind": "keywords"}, "field 'all'"),
        ({"kind": "keywords", "all": [], "any": []}, "field 'all'"),
        ({"kind": "keywords", "any": "refund"}, "field 'any': expected a list"),
        ({"kind": "number", "value": "3"}, "field 'value'"),
        ({"kind": "number", "value": True}, "field 'value'"),
        ({"kind": "number", "value": float("nan")}, "field 'value'"),
        ({"kind": "number", "value": 3, "tolerance": -1}, "field 'tolerance'"),
        ({"kind": "regex", "pattern": "("}, "field 'pattern': not a regular expression"),
        ({"kind": "json", "fields": {}}, "field 'fields'"),
        ({"kind": "python", "tests": "assert ("}, "field 'tests': not Python"),
    ],
)
def test_a_bad_spec_is_named_by_its_field(spec, said):
    assert said in validate_grader(spec)
    with pytest.raises(UserError):
        grade(spec, "reply")


def test_every_scenario_of_the_seed_data_has_a_valid_grader():
    for path in sorted((Path(__file__).parents[3] / "data/seed/scenarios").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert validate_grader(json.loads(line)["grader"]) is None, (path, line)
