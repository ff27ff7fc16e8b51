"""The command line, and the commands params and doctor."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from genesis.__main__ import main
from genesis.agents import load_agent
from genesis.commands import doctor
from genesis.common.errors import BudgetError, UserError
from genesis.common.params import load_params, read_yaml
from genesis.prepare.agents import AgentData
from genesis.prepare.corpus import Corpus

ROOT = Path(__file__).parents[1]


def test_help_lists_every_command_with_its_first_line(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert "  doctor        Check this machine and clone" in listed
    assert "  params        Compose conf/ into params.yaml" in listed
    assert main([]) == 2


def test_an_unknown_command_is_an_error(capsys):
    assert main(["train"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: no command 'train'; expected one of ") and "doctor" in said


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(UserError("a:1: bad"), 1, "error: a:1: bad\n"), (BudgetError("cap"), 3, "budget: cap\n")],
)
def test_errors_become_exit_codes(monkeypatch, capsys, error, code, said):
    def run(args):
        raise error

    monkeypatch.setattr(doctor, "run", run)
    assert main(["doctor"]) == code
    assert capsys.readouterr().err == said


def compose(*overrides: str, out: Path) -> int:
    return main(["params", *overrides, "--out", str(out)])


@pytest.mark.parametrize("profile", sorted(path.stem for path in (ROOT / "conf/profile").glob("*.yaml")))
def test_every_profile_composes_into_params_that_the_data_stages_accept(profile, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "params.yaml"
    assert compose(f"profile={profile}", out=path) == 0
    assert load_params(Corpus, "corpus", path).sources
    for name in read_yaml(path)["agents"]:
        load_params(AgentData, "agent_data", path, **load_agent(name).agent_data)


def test_overrides_win_and_bad_ones_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "params.yaml"
    assert compose("corpus.val_share=0.25", out=path) == 0
    assert read_yaml(path)["corpus"]["val_share"] == 0.25
    for bad in ("corpus.val_shares=1", "profile=h900", "corpus.val_share"):
        assert compose(bad, out=path) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: conf/: ") and said.count("\n") == 1, said
    assert read_yaml(path)["corpus"]["val_share"] == 0.25


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A clone in which all is as needed; its parts can be broken one by one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(
        "agents: [a]\nchat: {sources: [{path: chats}]}\n"
        "corpus: {sources: [{kind: python}, {kind: folder, path: text}]}\n"
    )
    (tmp_path / "requirements.txt").write_text("# pins\nalpha==1.2\nbeta[x,y]==3.0.post1\n-e .\n")
    (tmp_path / "requirements-gpu.txt").write_text("gamma==4\n")
    (tmp_path / "conf/agent").mkdir(parents=True)
    (tmp_path / "conf/agent/a.yaml").write_text("sources: [{kind: file, path: a.csv}]")
    for name in ("text", "chats", "a.csv"):
        (tmp_path / name).touch()
    installed = {"alpha": "1.2+cpu", "beta": "3.0.post1"}

    def version(name):
        if name not in installed:
            raise doctor.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(doctor.metadata, "version", version)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False)))
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * doctor.GB))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=50 * doctor.GB))
    monkeypatch.setattr(doctor.sys, "version_info", (3, 11, 9))
    done = subprocess.CompletedProcess([], 0, stdout="")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *args, **kwargs: done)
    return SimpleNamespace(folder=tmp_path, installed=installed, remote=done)


def test_a_sound_machine_is_ready(machine, capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"✓ alpha 1.2", "✓ beta 3.0.post1", "✓ data: 3 of 3 inputs present", "✓ disk: 50.0 GB free"} <= set(lines)
    assert "- gamma not installed (pinned: 4)" in lines and "- DVC remote: none" in lines
    assert lines[-1] == "ready" and not any(line.startswith("✗") for line in lines)


def test_a_wrong_pin_is_marked_with_its_fix(machine, capsys):
    machine.installed["alpha"] = "1.3"
    del machine.installed["beta"]
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "✗ alpha 1.3 (pinned: 1.2)\n    fix: pip install -r requirements.txt\n" in said
    assert "✗ beta not installed (pinned: 3.0.post1)\n" in said
    assert said.endswith("\n2 to mend\n")


def test_a_gpu_profile_without_a_gpu_absent_data_and_bad_agents_are_marked(machine, capsys):
    with (machine.folder / "params.yaml").open("a") as file:
        file.write("compute: {bf16: true}\n")
    (machine.folder / "a.csv").unlink()
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "no GPU\n    fix: use a machine with a GPU, or `make params PROFILE=cpu`" in said
    assert "✗ data: 2 of 3 inputs present\n    fix: bring a.csv (dvc pull, dvc add)" in said
    (machine.folder / "conf/agent/a.yaml").write_text("about: x")
    assert main(["doctor"]) == 1
    assert "✗ agents: conf/agent/a.yaml: sources: expected at least one source" in capsys.readouterr().out
