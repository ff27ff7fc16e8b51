import json

import pytest

from genesis.__main__ import main
from genesis.common.errors import UserError
from genesis.costs.declared import Gate
from genesis.costs.gates import check_gates, table

GATES = [
    Gate("high", "High", ">=", 0.7, "share", "agents.json", "mean"),
    Gate("cheap", "Cheap", "<", 100, "USD", "cost.json", "usd"),
    Gate("null", "Null", ">", 0.2, "", "agents.json", "nothing"),
    Gate("absent", "Absent", ">", 0.2, "", "gone.json", "nothing"),
    Gate("never", "Never", ">", 0.995, "share", needs="a service"),
]


@pytest.fixture
def metrics(tmp_path):
    values = {"mean": 0.7, "mean_low": 0.65, "mean_high": 0.75, "nothing": None}
    (tmp_path / "agents.json").write_text(json.dumps(values))
    (tmp_path / "cost.json").write_text(json.dumps({"usd": 100.0}))
    (tmp_path / "gates.json").write_text(json.dumps(check_gates(GATES, tmp_path)))
    return tmp_path


def test_a_gate_is_met_not_met_or_not_measured(metrics):
    found = check_gates(GATES, metrics)
    assert {name: gate["verdict"] for name, gate in found.items()} == {
        "high": "met",
        "cheap": "not met",
        "null": "not measured",
        "absent": "not measured",
        "never": "not measured",
    }
    assert found["high"]["interval"] == [0.65, 0.75] and found["cheap"]["interval"] is None
    assert found["high"]["source"] == "metrics/agents.json: mean" and found["never"]["source"] is None
    lines = table(found).splitlines()
    assert len(lines) == 6 and lines[1].split("  ")[0] == "high" and "65.0 % … 75.0 %" in lines[1]
    assert "< $100.00  $100.00" in lines[2]
    assert "needs a service" in lines[5]


@pytest.mark.parametrize(
    ("comparison", "verdicts"),
    [("<", "met,not met,not met"), ("<=", "met,met,not met"), (">", "not met,not met,met"), (">=", "not met,met,met")],
)
def test_the_comparison_at_the_edge(tmp_path, comparison, verdicts):
    gate = Gate("g", "G", comparison, 0.5, "", "m.json", "v")
    found = []
    for value in (0.4, 0.5, 0.6):
        (tmp_path / "m.json").write_text(json.dumps({"v": value}))
        found.append(check_gates([gate], tmp_path)["g"]["verdict"])
    assert ",".join(found) == verdicts


def test_a_value_that_is_no_number_is_an_error(metrics):
    (metrics / "cost.json").write_text('{"usd": "12"}')
    with pytest.raises(UserError, match=r"cost.json: usd: expected a number or null, found '12'"):
        check_gates(GATES, metrics)


def test_the_command_prints_the_table_and_requires(metrics, capsys):
    file = str(metrics / "gates.json")
    assert main(["gates", "--file", file]) == 0
    assert "not measured" in capsys.readouterr().out
    assert main(["gates", "--file", file, "--require", "high"]) == 0
    assert main(["gates", "--file", file, "--require", "high", "cheap", "never"]) == 1
    said = capsys.readouterr().err
    assert "gate cheap: not met" in said and "gate never: not measured" in said and "gate high" not in said
    assert main(["gates", "--file", file, "--require", "hihg"]) == 1
    assert "no gate 'hihg'; known gates: high, cheap" in capsys.readouterr().err
    assert main(["gates", "--file", str(metrics / "gone.json")]) == 1
    assert "gone.json: no such file" in capsys.readouterr().err
