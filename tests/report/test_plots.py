"""What dvc.yaml declares for people: DVC itself shows the metrics, draws every plot that has data, knows the artifacts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vl_convert
import yaml

from genesis.report.plots import write_plots

ROOT = Path(__file__).parents[2]
AGENTS = ["qa", "support", "seo"]
DECLARED = yaml.safe_load((ROOT / "dvc.yaml").read_text())


def dvc(root, *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def repository(trained, tmp_path_factory):
    """A git and DVC repository with the metrics of a run, its safety made up, and the declarations of the real dvc.yaml."""
    root = tmp_path_factory.mktemp("plots")
    shutil.copytree(trained / "metrics", root / "metrics")
    agents = json.loads((root / "metrics/agents.json").read_text())
    rates = {f"pair_{rate}": 0.1 for rate in ("unsafe_rate", "overrefusal_rate", "incoherent_rate")}
    line = {"tokens": None, "loss": 2.0, "bpb": 1.9, "reward": 0.1, "r_ss": 0.2, "r_kl": 0.1, "format": 0.0}
    stages = [(name, None) for name in ("pretrain", "chat", "student", "rlt_sft", "rlt_rl")]
    stages += [("waltz_rl", "conversation"), ("waltz_rl", "feedback"), ("finetune", "qa"), ("finetune", "seo")]
    curves = [{"stage": stage, "item": item, "step": step, **line} for stage, item in stages for step in range(3)]
    ends = {f"{key}{end}": value for key in rates for end, value in (("_low", 0.0), ("_high", 1.0))}
    write_plots(curves, agents, AGENTS, rates | ends, root / "metrics/plots")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    dvc(root, "init", "-q")
    shutil.copytree(ROOT / ".dvc/plots", root / ".dvc/plots", dirs_exist_ok=True)
    kept = {name: DECLARED[name] for name in ("metrics", "plots", "artifacts")}
    (root / "dvc.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
    return root


def test_every_declared_plot_is_drawn(repository):
    found = json.loads(dvc(repository, "plots", "show", "--json"))
    assert "errors" not in found
    names = [next(iter(plot)) for plot in DECLARED["plots"]]
    assert list(found["data"]) == names
    for name in names:
        svg = vl_convert.vegalite_to_svg(found["data"][name][0]["content"])
        assert 'class="mark-line' in svg or 'class="mark-rect' in svg, name
        assert "<DVC" not in svg and ">undefined<" not in svg and ">NaN<" not in svg, name


def test_metrics_and_artifacts_are_known(repository):
    found = json.loads(dvc(repository, "metrics", "show", "--json"))[""]["data"]
    assert set(found) == set(DECLARED["metrics"])
    assert found["metrics/gates.json"]["data"]["agent_accuracy"]["verdict"]
    names = ("base", "agents", "teacher", "pair")
    assert set(DECLARED["artifacts"]) == set(names)
    for entry in DECLARED["artifacts"].values():
        assert entry["type"] == "model" and entry["desc"] and entry["labels"]


def test_a_run_without_results_leaves_headers_alone_and_dvc_silent(repository, tmp_path):
    root = shutil.copytree(repository, tmp_path / "empty")
    write_plots([], {}, AGENTS, {}, root / "metrics/plots")
    files = sorted((root / "metrics/plots").rglob("*.csv"))
    assert len(files) == 15 and all(len(path.read_text().splitlines()) == 1 for path in files)
    assert "errors" not in json.loads(dvc(root, "plots", "show", "--json"))


def test_rows_with_an_empty_cell_are_left_out(tmp_path):
    curves = [
        {"stage": "pretrain", "item": None, "step": step, "loss": 1.0 if step else None, "bpb": None}
        for step in range(3)
    ]
    write_plots(curves, {"qa_scenarios": 0.5}, ["qa"], {}, tmp_path / "plots")
    assert (tmp_path / "plots/loss/pretrain.csv").read_text() == "step,loss\n1,1.0\n2,1.0\n"
    assert (tmp_path / "plots/bpb/pretrain.csv").read_text() == "step,bpb\n"
    assert (tmp_path / "plots/agents/scenarios.csv").read_text() == "name,value,low,high\n"
