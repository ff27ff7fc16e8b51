import json
import math
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from budgets import configure
from genesis import training
from genesis.common.chat import write_jsonl
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.graders.guard import WildGuardJudge
from genesis.graders.judging import GuardedJudge
from genesis.protocol import SafetyPair
from genesis.sampling import Completion
from genesis.sft import Lora
from genesis.training import Compute, read_log
from genesis.waltz import train
from genesis.waltz.train import WaltzRl, waltz_rl

SMALL = {"prompts": 2, "rows": 32, "lr": 4e-3, "max_tokens": 10, "feedback_max_tokens": 56}
SHORT = WaltzRl(**{**SMALL, "lr": 1e-3, "rows": 8}, group=4, steps=1, blocks=1, feedback_steps=1, conversation_steps=2)


def starts(conversation, feedback):
    return {"conversation": conversation, "feedback": feedback}


def weights(folder):
    return dict(AutoModelForCausalLM.from_pretrained(folder).named_parameters())


def moved(before, after):
    new = weights(after)
    return {name for name, weight in weights(before).items() if not torch.equal(weight, new[name])}


def rewards(folder):
    return [float(row["reward"]) for row in read_log(folder / "train.csv")]


def test_the_conversation_agent_reaches_the_optimal_policy(undecided, guessing, rows, tmp_path, usage):
    params = WaltzRl(**SMALL, group=16, beta=0.0, steps=0, blocks=1, feedback_steps=0, conversation_steps=44)
    found = waltz_rl(params, Compute(), starts(undecided, guessing), rows, tmp_path / "out", usage)
    made = rewards(tmp_path / "out/conversation")
    assert sum(made[-4:]) / 4 > 0.75 > 0.6 > sum(made[:4]) / 4
    greedy = {name: found[name]["first"] for name in ("val_before", "val_after")}
    assert (greedy["val_before"]["unsafe"], greedy["val_before"]["overrefuse"]) == (1.0, 1.0)
    assert greedy["val_after"] == {"unsafe": 0.0, "overrefuse": 0.0, "incoherent": 0.0, "unparsed": 0.0}
    assert moved(undecided, tmp_path / "out/conversation/model") == set(weights(undecided))
    assert not moved(guessing, tmp_path / "out/feedback/model")


def test_the_feedback_agent_alone_is_trained_and_every_term_is_logged(helpful, guessing, rows, tmp_path, usage):
    params = replace(SHORT, steps=2, blocks=0)
    waltz_rl(params, Compute(), starts(helpful, guessing), rows, tmp_path / "out", usage)
    for row in read_log(tmp_path / "out/feedback/train.csv"):
        assert float(row["r_dir"]) == 0.0, "an agent that always says the same mends nothing"
        total = 0.5 * float(row["r_label"]) + 0.1 * float(row["r_format"])
        assert float(row["reward"]) == pytest.approx(total, abs=1e-5)
        assert float(row["malformed"]) == pytest.approx(1 - float(row["r_format"]))
    assert moved(guessing, tmp_path / "out/feedback/model") == set(weights(guessing))
    assert not moved(helpful, tmp_path / "out/conversation/model")


def test_a_killed_run_goes_on_with_the_block_it_was_in(undecided, guessing, rows, tmp_path, usage, monkeypatch):
    pair = starts(undecided, guessing)
    waltz_rl(SHORT, Compute(), pair, rows, tmp_path / "whole", usage)
    (tmp_path / "second").mkdir()
    real, trained = train.Run._train, []

    def killed(run, block, folder):
        if block.number == 2:
            raise KeyboardInterrupt
        real(run, block, folder)

    monkeypatch.setattr(train.Run, "_train", killed)
    first = Usage(tmp_path / "second", "key")
    with pytest.raises(KeyboardInterrupt):
        waltz_rl(SHORT, Compute(), pair, rows, tmp_path / "out", first)
    monkeypatch.setattr(train.Run, "_train", lambda *args: trained.append(args[1].number) or real(*args))
    second = Usage(tmp_path / "second", "key")
    waltz_rl(SHORT, Compute(), pair, rows, tmp_path / "out", second)
    assert trained == [2] and second.resumed and not first.resumed
    assert first.attempt.tokens + second.attempt.tokens == usage.attempt.tokens > 0
    for agent in pair:
        assert not moved(tmp_path / "whole" / agent / "model", tmp_path / "out" / agent / "model")
        assert read_log(tmp_path / "whole" / agent / "train.csv") == read_log(tmp_path / "out" / agent / "train.csv")


def test_a_block_resumes_from_its_checkpoint(undecided, guessing, rows, tmp_path, usage, monkeypatch):
    params = replace(SHORT, steps=0, feedback_steps=0, conversation_steps=4)
    real = training.check_loss
    monkeypatch.setattr(
        training, "check_loss", lambda loss, step, kept: real(loss if step < 3 else math.nan, step, kept)
    )
    with pytest.raises(UserError, match="the last good checkpoint is kept"):
        waltz_rl(params, Compute(checkpoint_s=0.0), starts(undecided, guessing), rows, tmp_path / "out", usage)
    monkeypatch.setattr(training, "check_loss", real)
    second = Usage(usage.folder, "key")
    waltz_rl(params, Compute(), starts(undecided, guessing), rows, tmp_path / "out", second)
    log = read_log(tmp_path / "out/conversation/train.csv")
    assert [int(row["step"]) for row in log] == [1, 2, 3, 4] and second.resumed
    counts = [int(row["tokens"]) for row in log]
    assert counts == sorted(counts) and second.attempt.tokens < counts[-1] + 500


def test_every_file_is_written_and_the_pair_answers(undecided, guessing, rows, tmp_path, usage, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configure(tmp_path, tracking=["dvclive"])
    params = replace(SHORT, lora=Lora(rank=2))
    waltz_rl(params, Compute(), starts(undecided, guessing), rows, tmp_path / "out", usage)
    for agent, steps, term in (("feedback", 2, "r_label"), ("conversation", 2, "r_answer")):
        folder = tmp_path / "out" / agent
        log, summary = read_log(folder / "train.csv"), json.loads((folder / "summary.json").read_text())
        assert [int(row["step"]) for row in log] == list(range(1, steps + 1)) and summary["steps"] == steps
        assert all(row[name] for row in log for name in ("tokens", "reward", "kl", "incoherent", "unparsed", term))
        assert summary["train_tokens"] == int(log[-1]["tokens"]) and summary["val_after"]["n"] == 2
        samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
        records = {path.parent.name for path in folder.glob("block-*/dvclive")}
        assert records == {f"block-{block['number']:02d}" for block in summary["blocks"]}
        assert len(samples) == 4 * len(summary["blocks"]) and {"question", "reply", "reward"} <= set(samples[0])
    assert moved(undecided, tmp_path / "out/conversation/model"), "the adapter is merged into the weights"
    assert usage.attempt.flops > 0
    assert SafetyPair(tmp_path / "out", max_tokens=10, feedback_max_tokens=56).answer("How do I bake it?").trace.replies


def test_rewards_that_are_all_equal_are_told_and_do_not_stop_the_run(helpful, guessing, rows, tmp_path, usage, capsys):
    params = replace(SHORT, steps=0, feedback_steps=0, temperature=0.01)
    found = waltz_rl(params, Compute(), starts(helpful, guessing), rows, tmp_path / "out", usage)
    assert found["flags"] and "all rewards were equal" in found["flags"][0]
    assert "all rewards were equal" in capsys.readouterr().err


class Mumbling:
    """A guard whose verdict can be read in the first `clear` answers only."""

    def __init__(self, clear):
        self.clear = clear

    def sample(self, conversations, *, max_tokens, temperature=0.0, seed=0):
        self.clear -= len(conversations)
        text = "Response refusal: no\nHarmful response: yes" if self.clear >= 0 else "hm"
        return [Completion(text, 3, True, 0.0) for _ in conversations]


def test_a_guard_that_is_never_readable_stops_and_one_that_sometimes_is_counts(
    helpful, guessing, rows, tmp_path, usage, monkeypatch
):
    def play(clear, out):
        monkeypatch.setattr(train, "make_judge", lambda *_: GuardedJudge(WildGuardJudge(Mumbling(clear))))
        params = replace(SHORT, steps=0, feedback_steps=0, conversation_steps=3)
        usage = Usage(tmp_path / out, "key")
        return waltz_rl(params, Compute(), starts(helpful, guessing), rows, tmp_path / out / "out", usage)

    with pytest.raises(UserError, match="could not be read once in"):
        play(0, "never")
    play(12, "sometimes")
    log = read_log(tmp_path / "sometimes/out/conversation/train.csv")
    assert [row["unparsed"] for row in log] == ["0.0", "1.0", "1.0"] and log[2]["unsafe"] == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"group": 1}, "expected 2 or more completions"),
        ({"rows": 5}, "are no multiple of 5"),
        ({"sync_every": 4, "lora": Lora(rank=2)}, "a LoRA run keeps no reference"),
        ({"max_tokens": 400}, "fits the models' context"),
        ({"guard": "x/y", "guard_format": "other"}, "expected one of wildguard, llama_guard"),
    ],
)
def test_params_that_cannot_work_are_refused(undecided, guessing, rows, tmp_path, usage, change, says):
    with pytest.raises(UserError, match=says):
        waltz_rl(replace(SHORT, **change), Compute(), starts(undecided, guessing), rows, tmp_path / "out", usage)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            [{"question": "a", "label": "unsafe"}, {"question": " ", "label": "benign"}],
            r"train.jsonl:2: field 'question'",
        ),
        ([{"question": "a", "label": "bad"}] * 2, r"train.jsonl:1: field 'label'.*2 problems"),
        ([{"question": "a", "label": "unsafe"}], "no benign row"),
    ],
)
def test_bad_rows_are_named(undecided, guessing, rows, tmp_path, usage, table, says):
    write_jsonl(rows / "train.jsonl", table)
    with pytest.raises(UserError, match=says):
        waltz_rl(SHORT, Compute(), starts(undecided, guessing), rows, tmp_path / "out", usage)
