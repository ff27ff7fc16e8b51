"""One stage as two processes: they share a global batch, the first one counts and writes, exit codes come through."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from safetensors.torch import load_file

from genesis.commands.params import run as compose
from genesis.common.errors import UserError
from genesis.launch import launch, sharding
from imports import ROOT

TINY = [
    "profile=smoke", "pretrain.steps=6", "pretrain.rows=4", "pretrain.batch_tokens=1024", "pretrain.eval_every=3",
    "pretrain.log_every=2", "compute.checkpoint_s=0",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, tokenizer, seed_texts, monkeypatch):
    """A folder in which stages/pretrain.py can run."""
    tokenizer.save_pretrained(tmp_path / "models/tokenizer/model")
    for split, texts in (("train", seed_texts[:-8]), ("val", seed_texts[-8:])):
        (tmp_path / "data/corpus" / split).mkdir(parents=True)
        table = pa.table({"text": texts, "source": ["seed"] * len(texts)})
        parquet.write_table(table, tmp_path / "data/corpus" / split / "shard-0000.parquet")
    for name in ("stages", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "data/seed").mkdir()
    for name in ("prices.csv", "declared.yaml"):
        shutil.copy(ROOT / "data/seed" / name, tmp_path / "data/seed" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def params(*overrides: str) -> None:
    compose(type("Arguments", (), {"overrides": [*TINY, *overrides], "out": Path("params.yaml")}))


def start() -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "stages/pretrain.py"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_are_counted_once(folder):
    weights = {}
    for processes in (1, 2):
        params(f"compute.processes={processes}")
        stage = start()
        assert stage.wait() == 0, stage.stdout.read()
        usage = json.loads(Path("models/base/usage.json").read_text())
        assert usage["tokens"] == 6 * 1024 and [attempt["outcome"] for attempt in usage["attempts"]] == ["finished"]
        rows = Path("models/base/train.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows] == ["step", "0", "2", "3", "4", "6"]
        weights[processes] = load_file("models/base/model/model.safetensors")
    assert len(Path(".cache/ledger.jsonl").read_text().splitlines()) == 2
    one, two = weights[1], weights[2]
    torch.manual_seed(0)
    for name, tensor in two.items():
        assert torch.isfinite(tensor).all() and not torch.equal(tensor, one[name]), name  # other rows in the batches
    near = torch.nn.functional.cosine_similarity(
        one["lm_head.weight"].flatten(), two["lm_head.weight"].flatten(), dim=0
    )
    assert near > 0.5


@pytest.mark.slow
def test_a_users_error_and_a_kill_reach_every_process(folder):
    params("compute.processes=2", "pretrain.batch_tokens=1000")
    stage = start()
    assert stage.wait() == 1
    assert "no multiple of rows" in stage.stdout.read()
    params("compute.processes=2", "pretrain.steps=100000")
    stage = start()
    while not list(Path(".cache").glob("pretrain/_/*/resume/rank-1/step-*.pt")):
        assert stage.poll() is None, stage.stdout.read()
        time.sleep(0.05)
    copies = psutil.Process(stage.pid).children(recursive=True)
    assert len(copies) == 2
    stage.kill()
    stage.wait()
    assert not psutil.wait_procs(copies, timeout=20)[1]  # none goes on, none holds the stage's lock


def test_one_process_and_a_copy_do_the_work_themselves(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert launch(1) is None


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="this machine has 2 GPUs; lower it to 2"):
        launch(8)


def test_accelerates_own_parser_takes_the_sharding_config(tmp_path):
    made = sharding(str(ROOT / "infra/accelerate/h100x8.yaml"))
    assert (made["ACCELERATE_USE_FSDP"], made["FSDP_VERSION"]) == ("true", "2")
    assert made["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"  # what sft saves is one whole model
    for text, says in (
        (None, "no such file"),
        ("compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nno_such_key: 1\n", "no_such_key"),
        (
            "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_processes: 2\n",
            "expected distributed_type FSDP",
        ),
    ):
        path = tmp_path / "config.yaml"
        path.write_text(text) if text else path.unlink(missing_ok=True)
        with pytest.raises(UserError, match=says):
            sharding(str(path))
