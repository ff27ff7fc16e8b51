"""Files for other tools: hooks, the development container, rented machines. They parse, and what they name exists and runs."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from imports import ROOT

BIN = Path(sys.executable).parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):.*##", MAKEFILE, re.MULTILINE))
COMMANDS = {path.stem for path in (ROOT / "src/genesis/commands").glob("*.py")}


def load(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def commands(text: str) -> list[list[str]]:
    """The simple commands of a shell text, by line and by the operators between them."""
    return [shlex.split(part) for line in text.splitlines() for part in re.split(r"&&|\|\|", line) if part.strip()]


def check_names(found: list[list[str]]) -> set[str]:
    """That make targets and commands of ours exist; gives the targets."""
    targets = {words[1] for words in found if words[0] == "make"}
    assert targets <= TARGETS
    assert {words[3].replace("-", "_") for words in found if words[:3] == ["python", "-m", "genesis"]} <= COMMANDS
    return targets


HOOKS = {hook["id"]: hook for hook in load(".pre-commit-config.yaml")["repos"][0]["hooks"]}


def run_hook(name: str, folder: Path, *files: str) -> subprocess.CompletedProcess:
    program, *arguments = shlex.split(HOOKS[name]["entry"])
    command = [str(BIN / Path(program).name), *arguments, *files]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_hooks_are_local_and_use_the_pinned_tools():
    assert all(repo["repo"] == "local" for repo in load(".pre-commit-config.yaml")["repos"])
    assert all(hook["language"] == "system" and hook["entry"].startswith(".venv/bin/") for hook in HOOKS.values())
    assert {hook["stages"][0] for hook in HOOKS.values() if "dvc" in hook["id"]} == {
        "pre-commit",
        "pre-push",
        "post-checkout",
    }


def test_the_hooks_mend_code_and_report_stale_data(tmp_path):
    (tmp_path / "bad.py").write_text("import os\nx = {  'a':1 }\n")
    run_hook("ruff", tmp_path, "bad.py")
    assert run_hook("ruff-format", tmp_path, "bad.py").returncode == 0
    assert (tmp_path / "bad.py").read_text() == 'x = {"a": 1}\n'
    for command in (["git", "init", "-q"], [str(BIN / "dvc"), "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    (tmp_path / "data.txt").write_text("one")
    subprocess.run([str(BIN / "dvc"), "add", "-q", "data.txt"], cwd=tmp_path, check=True)
    (tmp_path / "data.txt").write_text("two")
    done = run_hook("dvc-pre-commit", tmp_path)
    assert done.returncode == 0 and re.search(r"modified:\s+data.txt", done.stdout)


def test_the_development_container_installs_with_make():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert re.search(r"python:.*3\.11", container["image"])
    assert check_names(commands(container["postCreateCommand"])) == {"install"}
    assert "iterative.dvc" in container["customizations"]["vscode"]["extensions"]


def test_the_sky_task_names_what_exists_and_keeps_results_of_a_run_that_fails():
    task = load("infra/sky/train.yaml")
    assert set(task) == {"name", "resources", "envs", "secrets", "setup", "run"}
    assert (ROOT / f"conf/profile/{task['envs']['PROFILE']}.yaml").is_file()
    assert all(value is None for value in task["secrets"].values())
    for text in (task["setup"], task["run"]):
        assert subprocess.run(["bash", "-n", "-c", text], check=False).returncode == 0
        used = set(re.findall(r"\$\{?([A-Z_]+)", text)) - {"PATH", "PWD"}
        assert used <= {*task["envs"], *task["secrets"]}
    assert check_names(commands(task["setup"]) + commands(task["run"])) == {"install", "doctor"}
    assert task["run"].index("dvc repro") < task["run"].index("dvc push --run-cache") < task["run"].index("exit $code")
    assert re.search(r"dvc repro --pull \|\| code=\$\?", task["run"])
    caps = load("conf/config.yaml")["budget"]
    assert "budget.total_usd=" in task["run"] and "total_usd" in caps


def test_the_image_is_pinned_and_copies_what_exists():
    text = (ROOT / "infra/docker/Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert steps[0][0] == "FROM" and re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-devel-ubuntu\d\d\.\d\d", steps[0][1])
    assert {name for name, _ in steps} <= {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "ENV", "CMD"}
    for name, rest in steps:
        if name == "COPY":
            assert all((ROOT / source).exists() for source in rest.split()[:-1])
        if name == "RUN":
            assert check_names(commands(rest)) <= {"install"}
    assert json.loads(steps[-1][1]) == ["make", "doctor"]


def test_the_profile_of_eight_gpus_starts_eight_processes_and_names_its_sharding():
    compute = load("conf/profile/h100x8.yaml")["compute"]
    assert compute["processes"] == load("infra/accelerate/h100x8.yaml")["num_processes"] == 8
    assert (ROOT / compute["accelerate"]).is_file()
