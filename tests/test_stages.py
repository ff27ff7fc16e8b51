"""The training and evaluation stages from their own files: what bad input and a full disk do, and what stays."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from budgets import configure
from genesis.common.chat import write_jsonl
from genesis.common.errors import UserError
from genesis.nanochat.tokenizer import train_bpe
from imports import ROOT

FINETUNE = {"start": "models/chat/model", "epochs": 1, "batch": 4, "rows": 4, "max_length": 64, "log_every": 1}


class Repository:
    """A folder with a tiny chat model and the pairs of agent a, in which the stages' own files run."""

    def __init__(self, folder: Path, model: Path, monkeypatch, capsys):
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        configure(folder)
        self.params = yaml.safe_load((folder / "params.yaml").read_text())
        self.params |= {"agents": ["a"], "finetune": dict(FINETUNE), "compute": {}, "eval_agent": {"max_tokens": 8}}
        shutil.copytree(model, folder / "models/chat/model")
        rows = [
            {"id": str(k), "prompt": f"Question {k}?", "completion": "yes", "meta": {"part": "test"}} for k in range(16)
        ]
        for part in ("train", "val", "test"):
            write_jsonl(folder / f"data/agents/a/{part}.jsonl", rows)
        agent = {"about": "x", "sources": [{"kind": "file", "path": "rows.csv"}]}
        self.write("conf/agent/a.yaml", yaml.safe_dump(agent))

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")

    def stage(self, name: str, *items: str) -> tuple[int, list[str]]:
        """Run one; its exit code and the lines of stderr that are no progress bar."""
        self.write("params.yaml", yaml.safe_dump(self.params))
        path = str(ROOT / f"stages/{name}.py")
        self.monkeypatch.setattr(sys, "argv", [path, *items])
        try:
            runpy.run_path(path, run_name="__main__")
            code = 0
        except SystemExit as exit:
            code = exit.code
        except UserError as error:
            sys.excepthook(UserError, error, None)  # what the interpreter does with it
            code = 1
        lines = self.capsys.readouterr().err.splitlines()
        return code, [line for line in lines if "it/s]" not in line]


@pytest.fixture
def repository(folder, tiny_folder, monkeypatch, capsys):
    return Repository(folder, tiny_folder, monkeypatch, capsys)


def cut_short(repository):
    weights = repository.folder / "models/chat/model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def larger_tokenizer(repository):
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "data/seed/corpus").glob("*.md"))]
    train_bpe(iter(texts), 600).save_pretrained(repository.folder / "models/chat/model")


def raise_the_rate(repository):
    repository.params["finetune"] |= {"lr": 1e30, "warmup": 0.0, "max_grad_norm": 1e30, "schedule": "constant"}
    repository.params["compute"]["checkpoint_s"] = 0.0


BAD = {
    "model cut short": (cut_short, "models/chat/model: the model cannot be loaded ("),
    "vocabularies": (larger_tokenizer, "the tokenizer has 600 tokens and the model 512 embeddings"),
    "NaN loss": (raise_the_rate, "the loss became nan at step "),
    "malformed pairs": (
        lambda repository: repository.write("data/agents/a/train.jsonl", '{"prompt": "x", "completion": "y"}\n{"pro\n'),
        "data/agents/a/train.jsonl:2: not JSON (",
    ),
    "empty completion": (
        lambda repository: repository.write("data/agents/a/train.jsonl", '{"prompt": "x"}\n{"prompt": "y"}\n'),
        "data/agents/a/train.jsonl:1: field 'completion': expected text, found None (2 problems in all)",
    ),
    "unknown key": (
        lambda repository: repository.params["finetune"].update(epoch=1),
        "params.yaml: finetune: unknown key 'epoch'; known keys: ",
    ),
    "nothing fits": (
        lambda repository: repository.params["finetune"].update(max_length=4),
        "none of 16 examples fits into max_length 4; raise it",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_to_a_fine_tune_is_one_line_and_the_finished_model_stays(repository, name):
    finished = repository.folder / "models/agents/a/model/model.safetensors"
    finished.parent.mkdir(parents=True)
    finished.write_bytes(b"finished")
    change, said = BAD[name]
    change(repository)
    code, lines = repository.stage("finetune", "a")
    assert code == 1
    assert lines[-1].startswith("error: ") and said in lines[-1], lines
    assert "Traceback" not in "\n".join(lines)
    assert finished.read_bytes() == b"finished"


def test_an_unknown_agent_is_told_the_known_ones(repository):
    assert repository.stage("finetune", "b") == (
        1,
        ["error: conf/agent/b.yaml: no agent 'b'; known agents: a; to add one, write this file"],
    )


def test_an_evaluation_of_a_model_cut_short_scores_nothing(repository):
    shutil.copytree(repository.folder / "models/chat/model", repository.folder / "models/agents/a/model")
    cut_short(repository)
    empty_indexes(repository)
    code, lines = repository.stage("eval_agent", "a")
    assert code == 1 and "the model cannot be loaded (" in lines[-1]
    assert not (repository.folder / "data/evals/agents/a/summary.json").exists()


def empty_indexes(repository):
    from genesis.ngrams import NgramIndex

    for path in ("data/corpus/ngrams.npy", "data/agents/a/ngrams.npy"):
        (repository.folder / path).parent.mkdir(parents=True, exist_ok=True)
        NgramIndex.build([]).save(repository.folder / path)


def test_a_corpus_smaller_than_a_batch_is_refused(repository, tokenizer, seed_texts):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    tokenizer.save_pretrained(repository.folder / "models/tokenizer/model")
    for split in ("train", "val"):
        (repository.folder / f"data/corpus/{split}").mkdir(parents=True)
        parquet.write_table(pa.table({"text": seed_texts[:2]}), repository.folder / f"data/corpus/{split}/s.parquet")
    repository.params["pretrain"] = {"length": 512, "batch_tokens": 8192, "rows": 16}
    code, lines = repository.stage("pretrain")
    assert code == 1 and lines[-1].startswith("error: pretrain: data/corpus/train: ")
    assert "tokens are fewer than one batch of 8192; add text or lower pretrain.batch_tokens" in lines[-1]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a megabyte, smaller than the tiny model."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_while_saving_loses_nothing_and_the_next_run_ends(repository, small_disk):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(300_000))
    agents = repository.folder / "models/agents"
    finished = small_disk / "agents/a/model/model.safetensors"
    finished.parent.mkdir(parents=True)
    finished.write_bytes(b"finished")
    agents.symlink_to(small_disk / "agents")
    code, lines = repository.stage("finetune", "a")
    assert code == 1, lines
    assert lines[-1].startswith("error: disk full while finetune@a was at work ("), lines
    assert lines[-1].endswith("free space and run again: the stage resumes") and "Traceback" not in "\n".join(lines)
    assert finished.read_bytes() == b"finished"
    filler.unlink()
    assert repository.stage("finetune", "a")[0] == 0
    usage = json.loads((agents / "a/usage.json").read_text())
    assert [attempt["outcome"] for attempt in usage["attempts"]] == ["failed", "finished"]
