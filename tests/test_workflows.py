"""The workflow files: pinned, least privileged, bounded, closed to forks, and naming only what exists."""

import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from genesis import commands
from genesis.report.pull_request.comment import MARKER
from imports import ROOT

FOLDER = ROOT / ".github/workflows"
SCRIPT = ROOT / ".github/scripts/keep-comment.sh"
PATHS = sorted(FOLDER.glob("*.yml"))
FILES = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in PATHS}
JOBS = {(file, name): job for file, found in FILES.items() for name, job in found["jobs"].items()}
STEPS = [(file, name, step) for (file, name), job in JOBS.items() for step in job.get("steps", [])]
RUNS = [(f"{file}.{name}", step["run"]) for file, name, step in STEPS if "run" in step]
SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"
TOOLS = Path(sys.executable).parent


def test_the_files_fit_githubs_schema():
    command = [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *PATHS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and set(FILES) == {"pull-request", "comment", "train"}, done.stdout + done.stderr


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it():
    lines = [line for path in PATHS for line in path.read_text().splitlines() if re.search(r"\buses:", line)]
    outside = [line for line in lines if "./.github/" not in line]
    assert len(outside) >= 7
    assert all(re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line) for line in outside), outside
    assert all((ROOT / line.split("uses: ./")[1]).is_file() for line in lines if line not in outside)


def test_permissions_are_the_least_and_every_run_is_bounded():
    wanted = {
        ("comment", "comment"): {"contents": "read", "pull-requests": "write"},
        ("train", "train"): {"contents": "write"},
    }
    for file, found in FILES.items():
        assert found["permissions"] == {} and found["concurrency"]["group"], file
    for (file, name), job in JOBS.items():
        called = "comment" if "uses" in job else file
        assert job["permissions"] == wanted.get((called, name), {"contents": "read"}), (file, name)
        assert "uses" in job or 0 < job["timeout-minutes"] <= 1440, (file, name)
        assert job.get("permissions") != "write-all"


def test_nothing_is_run_with_a_forks_code_and_our_rights():
    assert not any("pull_request_target" in path.read_text() for path in PATHS)
    train = JOBS["train", "train"]
    assert SAME_REPOSITORY in train["if"] and "github.event.label.name == 'train'" in train["if"]
    assert train["runs-on"] == ["self-hosted", "gpu"]
    hosted = [job["runs-on"] for key, job in JOBS.items() if "runs-on" in job and key != ("train", "train")]
    assert set(hosted) == {"ubuntu-24.04"}
    for file, name, step in STEPS:
        secret = re.search(r"secrets\.|github\.token", str(step))
        assert not secret or SAME_REPOSITORY in step.get("if", "") + JOBS[file, name].get("if", ""), step
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("where", "script"), RUNS, ids=[f"{where}-{k}" for k, (where, _) in enumerate(RUNS)])
def test_shell_is_sound_and_free_of_what_others_write(where, script):
    assert "${{" not in script, "an expression pasted into a shell runs what it holds; pass it by env"
    command = [TOOLS / "shellcheck", "--shell=bash", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_command_that_a_workflow_names_exists():
    known = {module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__)}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    text = "\n".join(script for _, script in RUNS)
    assert set(re.findall(r"-m genesis ([\w-]+)", text)) <= known
    assert set(re.findall(r"\bmake ([\w-]+)", text)) <= targets
    assert set(re.search(r"--single-item (.*?) \|\|", text)[1].split()) <= stages
    for script in (".ci/run", SCRIPT.relative_to(ROOT).as_posix()):
        assert script in text and os.access(ROOT / script, os.X_OK), script


def test_the_comments_script_is_sound():
    done = subprocess.run([TOOLS / "shellcheck", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("known", "cml", "called"),
    [
        ("", 0, ["cml comment update --target=pr/7"]),
        ("", 1, ["cml comment update", "gh api --silent --method POST repos/o/n/issues/7/comments --field body=@"]),
        ("42 false", 0, ["gh api --silent --method PATCH repos/o/n/issues/comments/42 --field body=@"]),
        ("42 true", 0, ["cml comment update"]),
        ("42 true", 1, ["cml comment update", "gh api --silent --method PATCH repos/o/n/issues/comments/42"]),
        ("", None, ["gh api --silent --method POST"]),
    ],
)
def test_one_comment_is_kept_current_with_or_without_cml(tmp_path, known, cml, called):
    done, log = keep_comment(
        tmp_path, f'case "$*" in *jq*) echo "{known}";; esac', None if cml is None else f"exit {cml}"
    )
    assert done.returncode == 0, done.stderr
    assert len(log) == len(called) + 1 and MARKER in log[0] and "--paginate" in log[0]
    assert all(line.startswith(start) for line, start in zip(log[1:], called, strict=True)), log


def test_a_token_that_may_not_write_is_told_and_fails_nothing(tmp_path):
    done, _ = keep_comment(tmp_path, "exit 1", "exit 1")
    assert done.returncode == 0 and "::warning::the comment could not be posted" in done.stdout


def keep_comment(folder: Path, gh: str, cml: str | None) -> tuple[subprocess.CompletedProcess, list[str]]:
    """Run the script with stand-ins for both clients that log how they are called."""
    for name, body in (("gh", gh), ("cml", cml)):
        if body is not None:
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/log\n{body}\n')
            (folder / name).chmod(0o755)
    (folder / "comment.md").write_text(f"{MARKER}\ntext\n")
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "NUMBER": "7", "GITHUB_REPOSITORY": "o/n"}
    done = subprocess.run([SCRIPT, folder / "comment.md"], env=environment, capture_output=True, text=True, check=False)
    return done, (folder / "log").read_text().splitlines()
