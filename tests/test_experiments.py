"""Experiments on the finished smoke clone: what one runs, queued sweeps, branches, and the comment a reviewer gets."""

import json
import subprocess

import pytest
import yaml

from imports import ROOT
from smoke import stages_run

pytestmark = pytest.mark.slow

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
TAIL = {"collect", "cost", "report"}


@pytest.fixture(scope="module")
def lab(smoke, tmp_path_factory):
    """A copy of the finished clone with its results committed on main, to be experimented in."""
    clone = smoke.copy(tmp_path_factory.mktemp("lab") / "clone")
    git(clone, "config", "user.name", "tester")
    git(clone, "config", "user.email", "tester@example.com")
    git(clone, "checkout", "-qB", "main")
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "run the smoke profile")
    return clone


@pytest.fixture
def clean(lab):
    """The lab, back on main as it was committed."""
    git(lab, "checkout", "-qf", "main")
    git(lab, "clean", "-fdq")
    lab.run("dvc", "checkout", "--quiet")
    return lab


def git(clone, *args) -> str:
    return subprocess.run(["git", *args], cwd=clone.root, check=True, capture_output=True, text=True).stdout


def would_run(clone, *overrides: str) -> tuple[set[str], set[str]]:
    """Stages that changed parameters make stale, and those with everything that follows them; nothing runs."""
    clone.run("genesis", "params", "profile=smoke", *overrides)
    first = stages_run(clone.run("dvc", "repro", "--dry"))
    return first, stages_run(clone.run("dvc", "repro", "--dry", "--force-downstream"))


def after(stage: str) -> set[str]:
    """The stage and every stage that reads, directly or not, what it makes; names without their items."""

    def uses(reader: str, made: str) -> bool:
        block = PIPELINE[reader]
        deps = [
            *block.get("do", block)["deps"],
            *(block["foreach"].values() if isinstance(block.get("foreach"), dict) else ()),
        ]
        outs = [
            out if isinstance(out, str) else next(iter(out)) for out in PIPELINE[made].get("do", PIPELINE[made])["outs"]
        ]
        folders = [out.split("/${")[0] for out in outs]
        return any(
            f"{dep}/".startswith(f"{out}/") or f"{out}/".startswith(f"{dep}/") for dep in deps for out in folders
        )

    found, new = set(), {stage}
    while new:
        found |= new
        new = {reader for reader in PIPELINE for made in new if uses(reader, made)} - found
    return found


@pytest.mark.parametrize(("override", "stage"), [("pretrain.steps=7", "pretrain"), ("rl.steps=5", "rlt_rl")])
def test_a_parameter_starts_its_stage_and_nothing_before_it(clean, override, stage):
    first, whole = would_run(clean, override)
    assert {name.split("@")[0] for name in first} == {stage}
    stages = {name.split("@")[0] for name in whole}
    assert stages == after(stage) and "corpus" not in stages
    if stage == "rlt_rl":
        assert "traces@rl" in whole and not {"traces@sft", "finetune@support", "eval_agent@support"} & whole


def test_an_experiment_runs_what_depends_on_its_parameter_and_its_comment_says_so(clean):
    said = clean.run("dvc", "exp", "run", "-S", "profile=smoke", "-S", "cost.market=spot", "-n", "spot")
    assert stages_run(said) == {"cost", "report"} and "Ran experiment(s): spot" in said
    text = clean.run("genesis", "pr-comment", "--base", "main")
    assert "| `cost.market` | `on_demand` | `spot` |" in text
    assert "The change cost nothing: no measured stage ran again." in text
    assert "| `total_usd` |" in text and "🟢 better" in text
    assert "`params.yaml` is the profile `smoke` but for `cost.market`: an experiment's values." in text
    assert "fresh: " in clean.run("genesis", "fresh", "--as-committed")
    clean.run("dvc", "exp", "branch", "spot", "spot-prices")
    git(clean, "checkout", "-qf", "spot-prices")
    assert yaml.safe_load((clean.root / "params.yaml").read_text())["cost"]["market"] == "spot"
    assert "| `cost.market` | `on_demand` | `spot` |" in clean.run("genesis", "pr-comment", "--base", "main")


def test_a_queued_sweep_gives_one_experiment_a_value(clean):
    said = clean.run("dvc", "exp", "run", "--queue", "-S", "profile=smoke", "-S", "cost.vendor=openai,anthropic")
    assert said.count("Queued experiment") == 2
    clean.run("dvc", "exp", "run", "--run-all")
    assert git(clean, "status", "--porcelain") == "", "queued experiments run in folders of their own"
    shown = json.loads(clean.run("dvc", "exp", "show", "--json"))
    rows = [row["revs"][0]["data"] for entry in shown for row in entry["experiments"] or []]
    baselines = {row["params"]["params.yaml"]["data"]["cost"]["vendor"]: row["metrics"] for row in rows}
    usd = {vendor: found["metrics/cost.json"]["data"]["baseline_usd"] for vendor, found in baselines.items()}
    # declared: the safety pair's 100,000, and two agents at 500 or 1,000
    assert usd == {"openai": 101_000, "anthropic": 102_000}
    table = clean.run("dvc", "exp", "show", "--md", "--drop", ".*", "--keep", "Experiment|baseline_usd")
    assert table.splitlines()[0].startswith("| Experiment") and table.count("\n|") >= 4
