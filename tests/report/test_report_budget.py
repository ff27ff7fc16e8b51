"""reports/COSTS.md: the declared table to the dollar, figures that follow the metrics, nothing invented."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from genesis.report.budget import document, risks
from genesis.report.facts import read_facts
from genesis.report.page import write


def put(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value))


def costs(root: Path) -> str:
    write(root / "COSTS.md", "costs.md.jinja", document(read_facts(root)))
    return (root / "COSTS.md").read_text().replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture
def repository(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "repository")


def test_the_first_plan_stands_both_ways_of_counting(untrained):
    text = costs(untrained)
    assert "| RLT at its whole budget | $107,500 | $11,440 | 89.4 % | $96,060 | $480,300 |" in text
    assert "| RLT at its planned hours | $107,500 | $2,688 | 97.5 % | $104,812 | $524,060 |" in text
    assert "| RLT: student, teacher, traces | $10,000 | $1,248 | 12.5 % | not measured | not measured |" in text
    assert "Nothing was trained yet" in text and "### Measured" not in text


def test_every_case_of_the_return_is_a_row_with_every_year(repository):
    text = costs(repository)
    rows = list(csv.DictReader((repository / "metrics/roi.csv").open()))
    cases = {(row["basis"], row["businesses"], row["retrainings_per_year"]) for row in rows}
    table = re.findall(r"^\| (?:1|10|100) \| (?:1|4|12) \| (.+) \|$", text, re.MULTILINE)
    assert len(table) == len(cases) == 27 and all(len(row.split(" | ")) == 6 for row in table)


def test_figures_follow_the_metrics(repository):
    cost = json.loads((repository / "metrics/cost.json").read_text())
    before = costs(repository)
    assert f"This run cost **${cost['total_usd']:.3f}**" in before
    put(repository / "metrics/cost.json", {**cost, "total_usd": 1234.0, "interrupted_usd": 123.4, "spot_usd": 77.0})
    after = costs(repository)
    assert "This run cost **$1,234**" in after and "| 10.0 % of the cost |" in after and "$77.00 on spot" in after


def test_risks_carry_this_runs_numbers(repository):
    agents = json.loads((repository / "metrics/agents.json").read_text())
    found = {risk.name: risk.measured.replace("\N{NO-BREAK SPACE}", " ") for risk in risks(read_facts(repository))}
    assert f"unseen frames {100 * agents['mean_unseen_frames']:.1f} %" in found["Generalisation"]
    assert "0 of 352 CORE items" in found["Contamination"]
    assert found["The judge"] == "agreement with people: not measured"
    gates = json.loads((repository / "metrics/gates.json").read_text())
    assert all(gate["label"] in found["Gates"] for gate in gates.values() if gate["verdict"] != "met")


def test_a_table_survives_a_hostile_name(repository):
    cost = json.loads((repository / "metrics/cost.json").read_text())
    put(repository / "metrics/cost.json", {**cost, "flags": ["a | b\n| c"]})
    row = next(line for line in costs(repository).splitlines() if line.startswith("| Priced elsewhere"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 4
