"""python -m genesis repro, with DVC replaced by a list of what it was asked for."""

import threading
import time
from types import SimpleNamespace

import pytest
import yaml
from dvc.repo import Repo

from genesis.__main__ import main
from genesis.commands import repro

EACH = {"foreach": "${agents}"}
STAGES: dict = {
    "chat": {"outs": ["chat"]},
    "agent_sources": {"outs": ["sources"]},
    "agent_data": EACH | {"do": {"deps": ["sources"], "outs": ["data/${item}"]}},
    "finetune": EACH | {"do": {"deps": ["data/${item}", "chat"], "outs": ["models/${item}"]}},
    "safety_data": {"deps": ["sources"], "outs": ["safety"]},
    "student": {"deps": ["safety", "chat"], "outs": ["student"]},
    "traces": {
        "foreach": {"sft": "student", "rl": "safety"},
        "do": {"deps": ["${item}", "student"], "outs": ["traces/${key}"]},
    },
    "collect": {"deps": ["models", "traces"], "outs": ["metrics"]},
}
for block in STAGES.values():
    block.get("do", block)["cmd"] = "never run"


@pytest.fixture
def dvc(tmp_path, monkeypatch):
    """Every DVC command asked for, in order; `status` and `codes` (by target) say how each ends."""
    monkeypatch.chdir(tmp_path)
    Repo.init(str(tmp_path), no_scm=True).close()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"agents": ["a", "b", "c"]}))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    asked = SimpleNamespace(jobs=[], plain=[], threads=[], status=1, codes={}, root=tmp_path, busy=0, most=0)
    lock = threading.Lock()

    def run(command, env=None, **_):
        words = command[len(repro.DVC) :]
        if "status" in words:
            return SimpleNamespace(returncode=asked.status)
        code = max((asked.codes.get(word, 0) for word in words), default=0)
        if "--single-item" not in words:
            asked.plain.append(words[1:])
            return SimpleNamespace(returncode=code)
        with lock:
            asked.jobs.append([*words[words.index("--single-item") + 1 :]])
            asked.threads.append(env["OMP_NUM_THREADS"])
            asked.busy += 1
            asked.most = max(asked.most, asked.busy)
        time.sleep(0.05)
        with lock:
            asked.busy -= 1
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(repro.subprocess, "run", run)
    monkeypatch.setattr(repro.os, "cpu_count", lambda: 4)
    return asked


def test_jobs_run_side_by_side_each_after_what_it_needs(dvc, capsys):
    (dvc.root / "reports").mkdir()
    (dvc.root / "reports/report.md").write_text("# Report\n\nall good\n\n## Gates\n\nlong\n")
    assert main(["repro", "--jobs", "2"]) == 0
    assert dvc.plain == [["chat", "agent_sources"], []]
    agents = [["agent_data@" + name, "finetune@" + name] for name in "abc"]
    assert sorted(dvc.jobs) == sorted([*agents, ["safety_data"], ["student"], ["traces@sft"], ["traces@rl"]])
    order = {job[0]: index for index, job in enumerate(dvc.jobs)}
    assert order["safety_data"] == 0 < order["student"] < min(order["traces@sft"], order["traces@rl"])
    assert dvc.most == 2 and set(dvc.threads) <= {"2", "4"} and dvc.threads[0] == "2"
    said = capsys.readouterr().out
    assert "all good" in said and "long" not in said and said.endswith(f"report: {dvc.root / 'reports/index.html'}\n")


def test_nothing_changed_or_one_job_is_a_plain_repro(dvc):
    dvc.status = 0
    assert main(["repro"]) == 0 and not dvc.jobs
    dvc.status = 1
    assert main(["repro", "--jobs", "1"]) == 0 and not dvc.jobs and dvc.plain == [[], []]


@pytest.mark.parametrize(("failing", "most"), [("chat", 0), ("safety_data", 2)])
def test_what_fails_stops_the_rest_and_its_code_is_told(dvc, failing, most):
    dvc.codes[failing] = 255
    assert main(["repro", "--jobs", "2"]) == 255
    assert len(dvc.jobs) <= most and [] not in dvc.plain
