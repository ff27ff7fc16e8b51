"""python -m genesis repro, with DVC replaced by a list of what it was asked for."""

from types import SimpleNamespace

import pytest
import yaml

from genesis.__main__ import main
from genesis.commands import repro


@pytest.fixture
def dvc(tmp_path, monkeypatch):
    """Every DVC command asked for, in order; `status` and `codes` (by first target) say how each ends."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"agents": ["a", "b", "c"]}))
    asked = SimpleNamespace(commands=[], threads=[], status=1, codes={}, root=tmp_path)

    def code(command: list[str]) -> int:
        asked.commands.append(command[len(repro.DVC) :])
        return asked.status if "status" in command else max([asked.codes.get(word, 0) for word in command])

    def start(command, env):
        asked.threads.append(env["OMP_NUM_THREADS"])
        found = code(command)
        return SimpleNamespace(wait=lambda: found, returncode=found)

    monkeypatch.setattr(repro.subprocess, "run", lambda command, **_: SimpleNamespace(returncode=code(command)))
    monkeypatch.setattr(repro.subprocess, "Popen", start)
    monkeypatch.setattr(repro.os, "cpu_count", lambda: 4)
    return asked


def lanes(dvc) -> list[list[str]]:
    return [command for command in dvc.commands if "--single-item" in command]


def test_agents_run_in_lanes_between_what_they_share_and_the_rest(dvc, capsys):
    (dvc.root / "reports").mkdir()
    (dvc.root / "reports/report.md").write_text("# Report\n\nall good\n\n## Gates\n\nlong\n")
    assert main(["repro", "--jobs", "2"]) == 0
    first, *middle, last = [command for command in dvc.commands if "repro" in command]
    assert first[:2] == ["repro", "chat"] and last == ["repro"]
    assert [sorted({word.split("@")[1] for word in lane if "@" in word}) for lane in middle] == [["a", "c"], ["b"]]
    for lane in middle:
        own = [word for word in lane if word.endswith(f"@{lane[-1][-1]}")]
        assert [word.split("@")[0] for word in own] == ["agent_data", "finetune", "eval_agent"]
    assert dvc.threads == ["2", "2"]
    said = capsys.readouterr().out
    assert "all good" in said and "long" not in said and said.endswith(f"report: {dvc.root / 'reports/index.html'}\n")


def test_nothing_changed_or_one_job_is_a_plain_repro(dvc):
    dvc.status = 0
    assert main(["repro"]) == 0 and not lanes(dvc)
    assert dvc.commands[-1] == ["repro"]
    dvc.status = 1
    assert main(["repro", "--jobs", "1"]) == 0 and not lanes(dvc)


@pytest.mark.parametrize(("failing", "then"), [("chat", 0), ("finetune@b", 2)])
def test_what_fails_stops_the_rest_and_its_code_is_told(dvc, failing, then):
    dvc.codes[failing] = 255
    assert main(["repro", "--jobs", "2"]) == 255
    assert len(lanes(dvc)) == then and dvc.commands[-1] != ["repro"]
