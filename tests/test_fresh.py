"""The freshness gate: on this repository, and on a small pipeline that goes stale in every way."""

import subprocess
import sys
import time

import pytest

from genesis.__main__ import main
from imports import ROOT

PIPELINE = """
stages:
  make:
    cmd: cp seed.txt made.txt
    deps: [seed.txt]
    params: [make]
    outs: [made.txt]
  each:
    foreach: ${agents}
    do:
      cmd: cp made.txt ${item}.txt
      deps: [made.txt]
      outs:
        - ${item}.txt
  gather:
    cmd: wc -c < a.txt > metrics.json
    deps: [a.txt, b.txt]
    outs:
      - metrics.json:
          cache: false
"""


def run(folder, *command):
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small pipeline that has run, with its results committed."""
    folder = tmp_path_factory.mktemp("finished")
    for name, text in {
        "dvc.yaml": PIPELINE,
        "seed.txt": "seed",
        "conf/config.yaml": "agents: [a, b]\nmake: {steps: 1}\n",
        ".dvc/config": "[hydra]\n    enabled = True\n[core]\n    analytics = false\n",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)
    run(folder, "git", "init", "-q")
    run(folder, sys.executable, "-m", "genesis", "params")
    run(folder, sys.executable, "-m", "dvc", "repro")
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "run")
    return folder


@pytest.fixture
def clone(finished, tmp_path, monkeypatch):
    """A clone without data or cache: what CI has."""
    run(tmp_path, "git", "clone", "-q", finished, "clone")
    monkeypatch.chdir(tmp_path / "clone")
    return tmp_path / "clone"


def test_this_repositorys_lock_and_metrics_are_fresh(monkeypatch, capsys):
    if not (ROOT / "dvc.lock").is_file():
        pytest.skip("dvc.lock of the reference run is not committed yet")
    monkeypatch.chdir(ROOT)
    started = time.perf_counter()
    assert main(["fresh"]) == 0, capsys.readouterr().err
    assert time.perf_counter() - started < 30


def test_a_clone_without_any_data_is_fresh(clone, capsys):
    assert not (clone / "made.txt").exists()
    assert main(["fresh"]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.startswith("fresh: ")


@pytest.mark.parametrize(
    ("path", "change", "stages", "said"),
    [
        ("seed.txt", "other", {"make"}, "stale: make: seed.txt modified"),
        ("seed.txt", None, {"make"}, "stale: make: seed.txt deleted"),
        ("metrics.json", "5\n", {"gather"}, "stale: gather: metrics.json modified"),
        ("metrics.json", None, {"gather"}, "stale: gather: metrics.json deleted"),
        ("dvc.yaml", PIPELINE.replace("cp seed", "cp -f seed"), {"make"}, "stale: make: changed command"),
    ],
)
def test_what_is_stale_is_named_with_its_reason(clone, capsys, path, change, stages, said):
    (clone / path).unlink() if change is None else (clone / path).write_text(change)
    assert main(["fresh"]) == 1
    error = capsys.readouterr().err
    assert said in error and "run `dvc repro` and commit dvc.lock" in error
    assert {line.split(": ")[1] for line in error.splitlines() if line.startswith("stale: ")} == stages


def test_a_value_in_conf_that_was_not_composed_is_stale(clone, capsys):
    (clone / "conf/config.yaml").write_text("agents: [a, b]\nmake: {steps: 2}\n")
    assert main(["fresh"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "params.yaml: make.steps: 1, but conf/ composes 2",
        "write the values into conf/ and run `make params`",
    ]
    assert main(["fresh", "--as-committed"]) == 0


def test_a_new_value_or_item_without_its_run_is_stale(clone, capsys):
    (clone / "conf/config.yaml").write_text("agents: [a, b, c]\nmake: {steps: 2}\n")
    assert main(["params"]) == 0 and main(["fresh"]) == 1
    error = capsys.readouterr().err
    assert "stale: make: params.yaml: make modified" in error and "stale: each@c: " in error
    assert "each@a" not in error and "conf/ composes" not in error


def test_no_lock_and_a_broken_pipeline_are_told(clone, capsys):
    (clone / "dvc.yaml").write_text("stages: [")
    assert main(["fresh"]) == 1 and capsys.readouterr().err.startswith("error: dvc status: ")
    (clone / "dvc.lock").unlink()
    assert main(["fresh"]) == 1
    assert "dvc.lock: no such file; run `dvc repro` and commit it" in capsys.readouterr().err
