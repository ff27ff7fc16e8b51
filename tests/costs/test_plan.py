"""The plan: what DVC would run, what that would take, and what it says of budgets, baseline and past estimates."""

import json
from pathlib import Path

import pytest
import yaml

from budgets import configure
from genesis.__main__ import main
from genesis.common.chat import write_json
from genesis.common.prices import COLUMNS
from genesis.costs.pending import Step, steps
from genesis.costs.plan import UNMEASURED, Abandoned, find_abandoned, plan, table

ROOT = Path(__file__).parents[2]
HOUR = 3600.0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "declared.yaml").write_bytes((ROOT / "data/seed/declared.yaml").read_bytes())
    return tmp_path


@pytest.fixture
def pipeline(folder):
    """make → use@a, and other, which stands alone; all done."""
    from dvc.repo import Repo

    out = "mkdir -p {0} && cat params.yaml > {0}/rows"
    stages = {
        "make": {"cmd": out.format("data/make"), "params": ["size"], "outs": ["data/make"]},
        "use": {
            "foreach": ["a"],
            "do": {
                "cmd": "mkdir -p data/use && cp data/make/rows data/use",
                "deps": ["data/make"],
                "outs": ["data/use"],
            },
        },
        "other": {"cmd": out.format("data/other"), "params": ["other"], "outs": ["data/other"]},
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (folder / "params.yaml").write_text("size: 1\nother: 1\n")
    Repo.init(str(folder), no_scm=True).reproduce()
    return folder


def states(folder: Path) -> dict[str, str]:
    return {step.name: step.state for step in steps(folder)}


def test_it_says_what_dvc_would_do_with_each_stage(pipeline):
    assert states(pipeline) == {"make": "done", "use@a": "done", "other": "done"}
    assert list(states(pipeline)).index("make") < list(states(pipeline)).index("use@a")
    (pipeline / "params.yaml").write_text("size: 2\nother: 1\n")
    assert states(pipeline) == {"make": "runs", "use@a": "follows", "other": "done"}
    (pipeline / "params.yaml").write_text("size: 1\nother: 1\n")
    for name in ("make", "other"):
        for path in (pipeline / "data" / name).iterdir():
            path.unlink()
        (pipeline / "data" / name).rmdir()
    assert states(pipeline) == {"make": "restored", "use@a": "done", "other": "restored"}


def test_stages_that_measure_nothing_are_the_ones_that_the_plan_leaves_out():
    silent = {path.stem for path in (ROOT / "stages").glob("*.py") if "with measured(" not in path.read_text()}
    assert silent == set(UNMEASURED)


def gpu(folder: Path, **budget) -> None:
    """A node like the declared plan's, under caps."""
    configure(folder, **budget)
    row = "own,box,H100,8,24,12,989,2026-01-01,mine"
    (folder / "prices.csv").write_text(f"{','.join(COLUMNS)}\n{row}\n")


def test_on_a_node_that_never_ran_it_the_declared_plan_stands_against_the_budgets(folder):
    gpu(folder, rlt_usd=10_000, agent_usd=90, total_hours=100)
    rows = [Step(name, None, "runs", ()) for name in ("pretrain", "rlt_sft", "rlt_rl")]
    rows += [Step("finetune", agent, "runs", ()) for agent in ("qa", "seo")]
    found = table(plan(rows)).splitlines()
    assert "finetune ×2  runs   8 h    $192.00    declared" in found
    assert "rlt_rl       runs   48 h   $1,152.00  declared: plan.rlt_rl_hours" in found
    assert "ahead: 5 of 5 stages, 60 h on box, $1,440.00, without 1 stages that nothing is known of" in found
    assert any(line.startswith("whole pipeline: $1,440.00 against $101,000.00") for line in found)
    assert "budget.rlt_usd: $1,248.00 of $10,000.00, 12.5 %" in found
    assert "budget.total_hours: 60 h of 100 h, 60.0 %" in found
    assert "budget.agent_usd (dearest: qa): $96.00 of $90.00, 106.7 % - over the cap: the run would stop" in found


def usage(path: str, seconds: float, expected: float | None, device: str = "cpu") -> Path:
    attempt = {"active_s": seconds, "estimate_s": expected, "outcome": "finished"}
    values = {"stage": "x", "item": None, "active_s": seconds, "device": {"name": device}, "attempts": [attempt]}
    write_json(Path(path) / "usage.json", values)
    return Path(path)


def test_what_ran_counts_as_measured_and_is_held_against_its_estimate(folder):
    configure(folder, price=36.0, total_usd=100)
    base = usage("models/base", 1.5 * HOUR, expected=1.0 * HOUR)
    chat = usage("models/chat", 0.5 * HOUR, expected=0.4 * HOUR)
    lock = {"stages": {"chat": {"params": {"params.yaml": {"chat": {"epochs": 2, "lr": 0.1}}}}}}
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    params = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump({**params, "chat": {"epochs": 3, "lr": 0.1}}))
    write_json(folder / ".cache/chat/_/key/attempt-1.json", {"active_s": 0.25 * HOUR})
    found = table(plan([Step("pretrain", None, "done", (base,)), Step("chat", None, "runs", (chat,))]))
    assert "pretrain  done   1.5 h     $54.00  measured: base/usage.json" in found
    assert "chat      runs   45.0 min  $27.00  measured: chat/usage.json, × 1.5 for chat.epochs" in found
    assert "budget.total_usd: $90.00 of $100.00, 90.0 %" in found
    assert "last estimates, 1 stages: expected 1 h, took 1.5 h (+50 %); farthest off: pretrain (+50 %)" in found
    assert "attempts at work not finished: 15.0 min, $9.00" in found
    (folder / "params.yaml").write_text(yaml.safe_dump({**params, "chat": {"epochs": 3, "lr": 0.2}}))
    found = table(plan([Step("chat", None, "runs", (chat,))]))
    assert "chat   runs   30.0 min  $18.00  measured with other parameters: chat/usage.json" in found


def test_a_measurement_on_another_kind_of_device_is_no_estimate(folder):
    gpu(folder)
    base = usage("models/base", HOUR, None)
    assert "never measured on such a node" in table(plan([Step("pretrain", None, "runs", (base,))]))
    base = usage("models/base", HOUR, None, device="NVIDIA H100")
    assert "pretrain  runs   1 h    $24.00  measured: base/usage.json" in table(
        plan([Step("pretrain", None, "runs", (base,))])
    )


def test_attempts_that_other_parameters_replaced_are_named(tmp_path):
    rows = [
        ("pretrain", None, "old", 10.0, "interrupted"),
        ("pretrain", None, "old", 5.0, "failed"),
        ("finetune", "qa", "k", 7.0, "interrupted"),
        ("pretrain", None, "new", 20.0, "interrupted"),
        ("pretrain", None, "new", 20.0, "finished"),
        ("chat", None, "done", 3.0, "finished"),
        ("chat", None, "again", 3.0, "finished"),
    ]
    names = ("stage", "item", "key", "active_s", "outcome")
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    (tmp_path / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    assert find_abandoned(tmp_path / "ledger.jsonl") == [Abandoned("pretrain", 2, 15.0)]


def test_the_command_prints_it(pipeline, capsys):
    configure(pipeline, price=36.0, total_usd=100)
    assert main(["plan"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("stage") and "budget.total_usd: $0.00 of $100.00, 0.0 %" in said
