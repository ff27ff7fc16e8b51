"""Pretraining under a cap, through DVC: it stops within a step, exits with code 3, and goes on when the cap is raised."""

import json

import pytest
import yaml

from budgets import configure, ledger, python

HOUR = 3600.0
STAGE = """
from pathlib import Path
import torch
torch.set_num_threads(1)
from genesis.nanochat.pretrain import Pretrain, pretrain
from genesis.training import Compute
from genesis.common.usage import measured
params = Pretrain(**{small})
with measured("pretrain", None, Path("models/base"), params) as usage:
    pretrain(params, Compute(), Path("{corpus}"), Path("{tokenizer}"), Path("models/base"), usage)
"""
SMALL = {
    "depth": 2, "aspect": 32, "head_dim": 32, "length": 32, "context": 64, "steps": 10, "batch_tokens": 256, "rows": 4,
    "eval_every": 10, "eval_tokens": 256, "log_every": 3,
}  # fmt: skip


@pytest.mark.slow
def test_a_cap_of_one_cent_stops_pretrain_through_dvc_and_raised_it_resumes(tmp_path, small_corpus, tokenizer):
    folder = tmp_path
    tokenizer.save_pretrained(folder / "tokenizer")
    text = STAGE.format(small=SMALL, corpus=small_corpus, tokenizer=folder / "tokenizer")
    (folder / "stage.py").write_text(text)
    stage = {"cmd": "python stage.py", "deps": ["stage.py"], "outs": ["models/base"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"pretrain": stage}}))
    assert python(folder, "-m", "dvc", "init", "--no-scm", "-q").returncode == 0
    configure(folder, price=0.01 * HOUR / 0.2, total_usd=0.01)  # the cent lasts for 0.2 s
    first = python(folder, "-m", "genesis", "repro", "--jobs", "1")
    assert first.returncode == 3, first.stderr
    line = next(line for line in first.stderr.splitlines() if line.startswith("error: pretrain"))
    assert "the cap is $0.01" in line and "-S budget.total_usd=…" in line
    assert "exited with 3" in first.stderr and not (folder / "models/base/usage.json").exists()
    capped = ledger(folder)[-1]
    step = int(line.split("stopped after step ")[1].split(":")[0])
    assert step <= 3 and capped["outcome"] == "interrupted" and capped["tokens"] == step * SMALL["batch_tokens"]
    configure(folder, price=0.01 * HOUR / 0.2, total_usd=100.0)
    second = python(folder, "stage.py")
    assert second.returncode == 0, second.stderr
    usage = json.loads((folder / "models/base/usage.json").read_text())
    assert usage["resumed"] and [a["outcome"] for a in usage["attempts"]] == ["interrupted", "finished"]
    assert usage["tokens"] == SMALL["steps"] * SMALL["batch_tokens"]
    assert usage["active_s"] == pytest.approx(sum(row["active_s"] for row in ledger(folder)))
