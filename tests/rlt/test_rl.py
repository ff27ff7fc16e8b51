"""The teacher's reinforcement learning on tiny models: what moves, what is logged, what a kill costs, what is refused."""

import csv
import json
import math
from dataclasses import replace

import pytest
import torch
from rlt_models import make_model

from genesis import grpo
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.models import load_model, load_tokenizer
from genesis.rlt.reward import LOGGED, RltReward
from genesis.rlt.rl import Rl, rlt_rl
from genesis.rlt.settings import Rlt
from genesis.sft import Lora
from genesis.training import Compute

PARAMS = Rl(
    steps=3, prompts=2, group=2, rows=4, lr=1e-2, beta=0.1, sync_every=2, max_tokens=6, eval_pairs=2, eval_samples=1
)
PLAIN = Rlt(teacher_system="", student_system="")


@pytest.fixture
def place(tmp_path, tokenizers):
    """Teacher, student and data as earlier stages leave them."""
    for seed, name in enumerate(("sft", "student"), start=1):
        make_model(tokenizers["own"], seed, context=256).save_pretrained(tmp_path / name)
        tokenizers["own"].save_pretrained(tmp_path / name)
    rows = [
        {"id": str(i), "question": f"What is {i}?", "solution": f"It is {i}.", "reasoning_trace": "t", "part": part}
        for i, part in enumerate(["teacher", "student", "teacher", "teacher", "teacher"])
    ]
    (tmp_path / "data").mkdir()
    for part in ("train", "val"):
        (tmp_path / f"data/{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(place, name="out", params=PARAMS, rlt=PLAIN, compute=None, usage=None):
    if usage is None:
        (place / f"{name}.work").mkdir()
        usage = Usage(place / f"{name}.work", "key")
    start, student, data, out = place / "sft", place / "student", place / "data", place / name
    out.mkdir(exist_ok=True)
    rlt_rl(params, rlt, compute or Compute(), start, student, data, out, usage)
    return usage, out


def weights(folder):
    return dict(load_model(folder, device=torch.device("cpu")).named_parameters())


def logged(out):
    with (out / "train.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_weight_moves_but_the_students_and_every_term_is_logged(place, monkeypatch):
    asked = []
    real = RltReward.__call__
    monkeypatch.setattr(RltReward, "__call__", lambda *args, **kw: asked.extend(kw["question"]) or real(*args, **kw))
    student = (place / "student/model.safetensors").read_bytes()
    usage, out = run(place)
    before, after = weights(place / "sft"), weights(out / "model")
    for name, old in before.items():
        assert not torch.equal(old, after[name]), name
    assert (place / "student/model.safetensors").read_bytes() == student
    assert len(asked) == PARAMS.steps * 4 and "What is 1?" not in asked  # the student's family stays unseen
    rows = logged(out)
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    for row in rows:
        for name in ("loss", "reward", "reward_std", "frac_reward_zero_std", "kl", *LOGGED):
            assert math.isfinite(float(row[name])), name
        terms = float(row["r_ss"]) - float(row["r_kl"]) + float(row["format"])
        assert float(row["reward"]) == pytest.approx(terms, abs=1e-3)
        assert float(row["malformed"]) == pytest.approx(-float(row["format"]))
    summary = json.loads((out / "summary.json").read_text())
    gain = (summary["reward_rl"] - summary["reward_warmup"]) / abs(summary["reward_warmup"])
    assert summary["reward_gain"] == pytest.approx(gain) and summary["steps"] == 3
    for side in ("warmup", "rl"):
        terms = summary[f"{side}_r_ss"] - summary[f"{side}_r_kl"] + summary[f"{side}_format"]
        assert terms == pytest.approx(summary[f"reward_{side}"]) and summary[f"{side}_n"] == 2
    samples = [json.loads(line) for line in (out / "samples.jsonl").open()]
    assert len(samples) == 2 and samples[0]["warmup"]["reward"] is not None and "explanation" in samples[0]["rl"]
    assert usage.attempt.tokens > 0 and usage.attempt.flops > 0


def test_a_killed_run_goes_on_to_the_same_weights_synced_reference_included(place, monkeypatch):
    params = replace(PARAMS, steps=5, sync_alpha=0.5)
    _, whole = run(place, "whole", params)

    class Killed(BaseException):
        pass

    real = grpo.GrpoLog.on_log

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.global_step == 4:
            raise Killed
        return real(self, args, state, control, logs, **kwargs)

    (place / "work").mkdir()
    monkeypatch.setattr(grpo.GrpoLog, "on_log", on_log)
    with pytest.raises(Killed):
        run(place, "out", params, compute=Compute(checkpoint_s=0.0), usage=Usage(place / "work", "key"))
    monkeypatch.setattr(grpo.GrpoLog, "on_log", real)
    (checkpoint,) = (place / "work/resume").glob("checkpoint-*")
    assert checkpoint.name == "checkpoint-3"
    reference = torch.load(checkpoint / grpo.REFERENCE, weights_only=True)
    start = weights(place / "sft")
    assert any(not torch.equal(reference[name], start[name]) for name in start)  # synced at step 2
    second, out = run(place, "out", params, usage=Usage(place / "work", "key"))
    assert second.resumed
    wanted, found = weights(whole / "model"), weights(out / "model")
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=0, atol=1e-6)
    rows, all_rows = logged(out), logged(whole)
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [float(row["kl"]) for row in rows] == pytest.approx([float(row["kl"]) for row in all_rows], abs=1e-5)
    assert rows[-1]["tokens"] == all_rows[-1]["tokens"]


def test_a_lora_run_saves_an_adapter_that_loads(place):
    params = replace(PARAMS, steps=2, sync_every=0, lora=Lora(rank=4))
    _, out = run(place, params=params)
    model = load_model(out / "model", load_tokenizer(out / "model"))
    adapters = {name: weight for name, weight in model.named_parameters() if "lora_B" in name}
    assert adapters and all(weight.abs().max() > 0 for weight in adapters.values())
    assert math.isfinite(float(logged(out)[-1]["kl"]))


def test_equal_rewards_in_a_group_teach_nothing_and_are_visible(place, monkeypatch):
    monkeypatch.setattr(
        RltReward, "__call__", lambda self, prompts, completions, *args, **kwargs: [-2.0] * len(prompts)
    )
    params = replace(PARAMS, steps=2, beta=0.0, sync_every=0)
    _, out = run(place, params=params)
    assert [float(row["frac_reward_zero_std"]) for row in logged(out)] == [1.0, 1.0]
    assert [float(row["reward_std"]) for row in logged(out)] == [0.0, 0.0]
    before, after = weights(place / "sft"), weights(out / "model")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_completions_without_a_reward_are_counted_and_harm_nothing(place, tokenizers, monkeypatch):
    make_model(tokenizers["own"], 2, context=64).save_pretrained(place / "student")
    train = (place / "data/train.jsonl").read_text()
    (place / "data/train.jsonl").write_text(train.replace("What is 3?", "What is 3? " * 12))
    scored, shares = [], []
    real = RltReward.__call__

    def watched(self, *args, log_metric, **kwargs):
        def log(name, value):
            shares.extend([value] if name == "rlt/unscored" else [])
            log_metric(name, value)

        scored.append(rewards := real(self, *args, log_metric=log, **kwargs))
        return rewards

    monkeypatch.setattr(RltReward, "__call__", watched)
    _, out = run(place, params=replace(PARAMS, steps=2))
    rows = logged(out)
    assert len(rows) == 2 and all(math.isfinite(float(row["loss"])) for row in rows)
    assert shares == [rewards.count(None) / len(rewards) for rewards in scored] and max(shares) > 0 and min(shares) < 1
    before, after = weights(place / "sft"), weights(out / "model")
    assert all(after[name].isfinite().all() and not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"group": 1}, "rl.group: expected 2 or more"),
        ({"rows": 3}, "rl.rows: 2 prompts × 2 completions are no multiple of 3"),
        ({"lora": Lora(rank=4)}, "rl.lora.rank and rl.sync_every"),
        ({"beta": 0.0}, "rl.sync_every: without a reference model"),
        ({"temperature": 1.0}, "rl.temperature: 1.0 is not rlt.temperature"),
    ],
)
def test_values_that_contradict_each_other_are_refused(tmp_path, change, said):
    params = replace(PARAMS, **change)
    with pytest.raises(UserError, match=said):
        rlt_rl(params, PLAIN, Compute(), tmp_path, tmp_path, tmp_path, tmp_path, None)
