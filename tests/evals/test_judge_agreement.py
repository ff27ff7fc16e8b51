import json
from pathlib import Path

import pytest

from genesis.common.errors import UserError
from genesis.evals.judge_agreement import grader_version, read_agreement

SEED = Path(__file__).parents[2] / "data/seed/judge_agreement.json"


def test_the_recorded_agreement_was_measured_with_the_grader_as_it_is():
    found = read_agreement(SEED)
    assert found["value"] >= 0.93 and found["low"] < found["value"] < found["high"] and found["n"] == 1350
    assert "leave one model out" in found["method"]


@pytest.mark.parametrize(
    ("change", "error"),
    [({"grader": "another"}, "measured with version 'another'"), ({"all": None}, "all: expected the agreement")],
)
def test_a_stale_or_broken_record_is_refused(tmp_path, change, error):
    path = tmp_path / "agreement.json"
    path.write_text(json.dumps({"grader": grader_version(), "all": {}} | change))
    with pytest.raises(UserError, match=error):
        read_agreement(path)


def test_without_a_record_the_command_that_makes_it_is_named(tmp_path):
    with pytest.raises(UserError, match=r"benchmarks/judge\.py --record"):
        read_agreement(tmp_path / "none.json")
