import json
from pathlib import Path

import pytest

from genesis.common.errors import UserError
from genesis.evals.scenarios import evaluate_scenarios, read_scenarios, speed
from genesis.sampling import Completion

SEED = Path(__file__).parents[2] / "data/seed/scenarios"
ROWS = [
    {"id": "a", "prompt": "Which team?", "grader": {"kind": "label", "answer": "billing"}, "meta": {"task": "route"}},
    {"id": "b", "prompt": "How many?", "grader": {"kind": "number", "value": 3, "tolerance": 0}},
    {"id": "c", "prompt": "Write f.", "grader": {"kind": "python", "tests": "assert f() == 1"}},
    {"id": "d", "prompt": "Which?", "grader": {"kind": "label", "answer": "legal"}},
]


class Scripted:
    """Answers from a list."""

    def __init__(self, *answers):
        self.answers = answers

    def sample(self, conversations, *, max_tokens, temperature=0.0, seed=0):
        return [Completion(text, 10, True, float(1 + n)) for n, text in enumerate(self.answers)]


def test_each_scenario_is_graded_by_its_own_kind():
    sampler = Scripted("Billing.", "many", "def f(): return 1", "billing")
    records, summary = evaluate_scenarios(sampler, ROWS, max_tokens=9, contaminated=lambda text: text == "Which?")
    assert [(record.verdict, record.grader) for record in records] == [
        (True, "label"),
        (None, "number"),
        (True, "python"),
        (False, "label"),
    ]
    assert (summary["accuracy"], summary["n_unparsed"]) == (0.5, 1)
    assert summary["interval"][0] < 0.5 < summary["interval"][1]
    assert {kind: (part["n"], part["n_right"]) for kind, part in summary["kinds"].items()} == {
        "label": (2, 1),
        "number": (1, 0),
        "python": (1, 1),
    }
    assert (summary["n_contaminated"], summary["clean_accuracy"]) == (1, pytest.approx(2 / 3))
    assert (summary["tokens_per_s"], summary["latency_p50_s"]) == (4.0, 2.5)
    assert 3.8 < summary["latency_p95_s"] <= 4.0
    assert records[0].meta["task"] == "route"
    json.dumps(summary, allow_nan=False)


def test_speed_is_none_where_no_time_was_measured():
    assert set(speed([Completion("", 1, True, 0.0)]).values()) == {None}
    assert speed([Completion("", 4, True, 2.0)]) == {"tokens_per_s": 2.0, "latency_p50_s": 2.0, "latency_p95_s": 2.0}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROWS[0], "f.jsonl:2: field 'id': a stands in line 1 already"),
        ({"id": "x", "prompt": " ", "grader": ROWS[0]["grader"]}, "f.jsonl:2: field 'prompt': expected text"),
        ({"id": 3, "prompt": "p", "grader": ROWS[0]["grader"]}, "field 'id': expected text"),
        ({"id": "x", "prompt": "p"}, "field 'grader': missing"),
        ({"id": "x", "prompt": "p", "grader": {"kind": "regex", "pattern": "["}}, "field 'grader': field 'pattern'"),
        ({**ROWS[1], "meta": "hard"}, "field 'meta': expected an object"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, said):
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError) as error:
        read_scenarios(path)
    assert said in str(error.value)


def test_the_seed_scenarios_are_valid():
    paths = sorted(SEED.glob("*.jsonl"))
    assert paths
    for path in paths:
        assert read_scenarios(path)
