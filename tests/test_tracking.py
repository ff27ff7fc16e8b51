"""Trackers: what DVCLive writes beside the out's own log, and what is said where a package is missing."""

import importlib.util
import json
from pathlib import Path

import pytest

from budgets import configure
from genesis.common.chat import read_text
from genesis.common.errors import UserError
from genesis.common.usage import measured
from genesis.sft import Sft, sft
from genesis.tracking import LoopTrackers, keep, wanted
from genesis.training import Compute, read_log


def test_a_trainer_leaves_dvclive_in_the_out_and_nothing_in_the_repository(folder, tiny_folder):
    configure(folder, tracking=["dvclive"])
    rows = [
        [{"role": "user", "content": f"count {n}"}, {"role": "assistant", "content": f"it is {n}"}] for n in range(8)
    ]
    out = folder / "models/agents/qa"
    with measured("finetune", "qa", out) as usage:
        sft(Sft(epochs=2, batch=4, rows=4, log_every=1), Compute(), tiny_folder, rows, [], out, usage)
    curve = read_text(out / "dvclive/plots/metrics/loss.tsv").splitlines()
    assert len(curve) - 1 == len(read_log(out / "train.csv")) == 4
    assert {path.name for path in folder.iterdir() if path.name != "tiny"} == {
        ".cache",
        "models",
        "params.yaml",
        "prices.csv",
    }


def test_a_plain_loop_reports_through_the_same_callbacks_and_goes_on_after_a_stop(folder, tiny_model):
    configure(folder, tracking=["dvclive"])
    for steps in ((1, 2), (3,)):
        try:
            with measured("pretrain", None, Path("models/base")) as usage:
                record = LoopTrackers(usage, tiny_model)
                for step in steps:
                    record.log(step, {"loss": 4.0 - step, "bpb": float("nan")})
                record.end()
                keep(usage, Path("models/base"))
                assert step == 3, "stopped"
        except AssertionError:
            continue
    rows = read_text(Path("models/base/dvclive/plots/metrics/loss.tsv")).splitlines()
    assert [float(row.split("\t")[-1]) for row in rows[1:]] == [3.0, 2.0, 1.0]
    assert "bpb" not in json.loads(read_text(Path("models/base/dvclive/metrics.json")))


def test_an_unknown_or_absent_tracker_is_named(folder, monkeypatch):
    assert wanted() == []
    configure(folder, tracking=["tensorbord"])
    with pytest.raises(
        UserError, match=r"params.yaml: tracking: unknown tracker 'tensorbord'; expected a list of dvclive and"
    ):
        wanted()
    configure(folder, tracking=["wandb"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"tracking: wandb is not installed; pip install wandb, or take it off the list"
    ):
        wanted()


def test_wandb_starts_offline_in_the_resume_folder(folder, monkeypatch):
    started = {}
    fake = type("Fake", (), {"init": lambda **values: started.update(values), "__spec__": None})
    monkeypatch.setitem(__import__("sys").modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr("transformers.integrations.WandbCallback", lambda: "callback")
    from genesis.tracking import MAKE

    assert MAKE["wandb"](folder / "resume/wandb", "finetune@qa") == "callback"
    assert started == {
        "project": "genesis",
        "name": "finetune@qa",
        "dir": str(folder / "resume/wandb"),
        "mode": "offline",
    }
