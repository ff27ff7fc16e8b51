"""The README's table of gates is the committed run's, and its other promises about files hold."""

import json
import re
from argparse import ArgumentParser
from pathlib import Path

import pytest

from genesis.commands import readme
from genesis.common.errors import UserError
from genesis.report.readme import END, NONE, START, refreshed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_gates_is_that_of_the_committed_run():
    assert refreshed(README, ROOT / "metrics/gates.json") == README


def test_every_file_and_folder_that_the_readme_links_exists():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    made = ("reports/", "metrics/")  # by the run that is committed
    assert [path for path in links if not path.startswith(made) and not (ROOT / path).exists()] == []


def test_a_changed_verdict_makes_it_out_of_date_until_refreshed(trained, tmp_path, capsys):
    text, gates = tmp_path / "README.md", tmp_path / "gates.json"
    text.write_text(f"# Title\n\n{START}\nold\n{END}\n\nThe rest.\n")
    values = json.loads((trained / "metrics/gates.json").read_text())
    gates.write_text(json.dumps(values))

    def run(*words: str) -> int:
        parser = ArgumentParser()
        readme.arguments(parser)
        return readme.run(parser.parse_args(["--file", str(text), "--gates", str(gates), *words]))

    assert run("--check") == 1 and "old" in text.read_text()
    assert run() == 0 and run("--check") == 0
    shown = text.read_text()
    assert shown.startswith("# Title\n\n") and shown.endswith("\n\nThe rest.\n")
    assert all(gate["label"] in shown for gate in values.values()) and "metrics/agents.json" not in shown
    values["agent_accuracy"] |= {"verdict": "not met", "value": 0.1}
    gates.write_text(json.dumps(values))
    assert run("--check") == 1 and "out of date" in capsys.readouterr().out
    gates.unlink()
    assert run() == 0 and NONE in text.read_text()


def test_a_readme_without_marks_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected the marks"):
        refreshed("# Title\n", tmp_path / "gates.json")
