import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.nanochat import pretrain as module
from genesis.nanochat.pretrain import Pretrain, Validation, build_model, pretrain
from genesis.training import Compute, read_log

SMALL = {
    "depth": 2, "aspect": 32, "head_dim": 32, "length": 32, "context": 64, "steps": 12, "batch_tokens": 256, "rows": 4,
    "eval_every": 6, "eval_tokens": 512, "log_every": 3,
}  # fmt: skip


@pytest.fixture
def tokenizer_folder(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_it_learns_every_weight_moves_and_the_model_loads(small_corpus, tokenizer_folder, tokenizer, tmp_path, usage):
    params = Pretrain(**{**SMALL, "steps": 60})
    out = tmp_path / "base"
    pretrain(params, Compute(), small_corpus, tokenizer_folder, out, usage)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["bpb"] < 0.85 * summary["bpb_start"]
    assert summary["tokens"] == usage.attempt.tokens == 60 * 256
    assert usage.attempt.flops == pytest.approx(60 * 256 * summary["flops_per_token"])
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    torch.manual_seed(params.seed)
    fresh = build_model(params, tokenizer)
    for (name, trained), (_, initial) in zip(model.named_parameters(), fresh.named_parameters(), strict=True):
        assert not torch.equal(trained, initial), name
    rows = read_log(out / "train.csv")
    assert [int(row["step"]) for row in rows if row["bpb"]] == [0, *range(6, 61, 6)]


def test_the_first_loss_is_the_entropy_of_a_uniform_guess(small_corpus, tokenizer):
    params = Pretrain(**SMALL)
    model = module.NextTokenLoss(build_model(params, tokenizer), compiled=False)
    validate = Validation(small_corpus / "val", tokenizer, params, torch.device("cpu"))
    bpb = validate.bits_per_byte(model)
    targets = torch.cat([rows[:, 1:].reshape(-1) for rows in validate.batches])
    sizes = [0 if int(t) in tokenizer.all_special_ids else len(tokenizer.decode([int(t)]).encode()) for t in targets]
    counted = sum(size > 0 for size in sizes)
    assert bpb == pytest.approx(9 * counted / sum(sizes), rel=1e-5)  # log2(512) = 9


def run_stage(folder):
    return subprocess.Popen([sys.executable, "stage.py"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


STAGE = """
from pathlib import Path
import torch
torch.set_num_threads(1)
from genesis.nanochat.pretrain import Pretrain, pretrain
from genesis.training import Compute
from genesis.common.usage import measured
params = Pretrain(**{small})
with measured("pretrain", None, Path("base"), params, [Path("{corpus}")]) as usage:
    pretrain(params, Compute(checkpoint_s=0.0), Path("{corpus}"), Path("{tokenizer}"), Path("base"), usage)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_to_the_same_weights(small_corpus, tokenizer_folder, tmp_path):
    small = {**SMALL, "steps": 40}
    text = STAGE.format(small=small, corpus=small_corpus, tokenizer=tokenizer_folder)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stage.py").write_text(text)
    assert run_stage(tmp_path / "whole").wait() == 0
    folder = tmp_path / "killed"
    for wanted in (5, 20):
        process = run_stage(folder)
        while not any(int(p.stem[5:]) >= wanted for p in folder.glob(".cache/pretrain/_/*/resume/rank-0/step-*.pt")):
            assert process.poll() is None, process.stdout.read().decode()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert run_stage(folder).wait() == 0
    whole, resumed = (load_file(tmp_path / name / "base/model/model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    usage = json.loads((folder / "base/usage.json").read_text())
    assert [attempt["outcome"] for attempt in usage["attempts"]] == ["interrupted", "interrupted", "finished"]
    assert usage["resumed"] and usage["active_s"] > usage["wall_s"]
    steps = [int(row["step"]) for row in read_log(folder / "base/train.csv")]
    assert steps == sorted(set(steps)) and steps[-1] == 40
    assert not list(folder.glob(".cache/pretrain/_/*"))


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    small_corpus, tokenizer_folder, tmp_path, usage, monkeypatch
):
    real, calls = module.summed_loss, 0

    def poisoned(*args):
        nonlocal calls
        calls += 1
        return real(*args) * (float("nan") if calls > 14 else 1.0)

    monkeypatch.setattr(module, "summed_loss", poisoned)
    with pytest.raises(UserError, match=r"nan at step 8; the last good checkpoint is kept"):
        pretrain(Pretrain(**SMALL), Compute(checkpoint_s=0.0), small_corpus, tokenizer_folder, tmp_path / "out", usage)
    assert [path.name for path in (usage.resume / "rank-0").iterdir()] == ["step-00000007.pt"]
    again = Usage(usage.folder, "key")
    monkeypatch.setattr(module, "summed_loss", real)
    pretrain(Pretrain(**SMALL), Compute(), small_corpus, tokenizer_folder, tmp_path / "out", again)
    assert again.resumed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_tokens": 10**6, "rows": 4, "length": 2500}, "fewer than one batch"),
        ({"batch_tokens": 300}, "no multiple of rows"),
        ({"aspect": 30}, "no multiple of head_dim"),
    ],
)
def test_sizes_that_cannot_be_are_refused(change, says, small_corpus, tokenizer_folder, tmp_path, usage):
    with pytest.raises(UserError, match=says):
        pretrain(Pretrain(**{**SMALL, **change}), Compute(), small_corpus, tokenizer_folder, tmp_path / "o", usage)
