"""WaltzRL (arXiv 2510.08240): a conversation and a feedback agent trained together, each with TRL's GRPO.

Stage 1 trains the feedback agent alone, so that its flags mean something. Stage 2 alternates: a block of steps for the
feedback agent, one for the conversation agent, the other one frozen; every block samples its prompts anew from the agents
as they stand. A block that is finished stays finished: an interrupted stage goes on with the block it was in, from that
block's last checkpoint.
"""

import csv
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import AutoConfig

from genesis.common.chat import read_jsonl, user_turn, write_json, write_jsonl
from genesis.common.errors import UserError
from genesis.common.jsonfile import read_json
from genesis.common.usage import Usage
from genesis.graders.judging import Exchange, Judge, make_judge
from genesis.grpo import COLUMNS, Grpo, check, grpo
from genesis.models import load_model, load_tokenizer
from genesis.protocol import play
from genesis.sampling import TransformersSampler
from genesis.tracking import keep, keep_from
from genesis.training import Compute, read_log
from genesis.waltz.rewards import Weights, label_reward
from genesis.waltz.rollout import (
    LABELS,
    Case,
    ConversationRewards,
    CountedSampler,
    FeedbackRewards,
    Limits,
    Row,
    balanced,
    conversation_cases,
    feedback_cases,
    mean,
    read_rows,
    shares,
)

AGENTS = ("conversation", "feedback")
FRAME_TOKENS = 128  # what the protocol's own words and the chat template may take


@dataclass
class WaltzRl(Grpo):
    """Section `waltz_rl`.

    Attributes:
        steps: of stage 1, the feedback agent alone.
        blocks: how often stage 2 trains both, `feedback_steps` and then `conversation_steps` each time.
        alpha, gamma: weights of R_DIR and R_format; `lambda_1` and `lambda_2` of R_label in the two stages.
        max_tokens, feedback_max_tokens: length of replies and of feedback.
        sample_batch: conversations that a frozen agent answers at a time.
        val_rows: held-out questions on which the pair is measured before and after.
        samples: rows of each block's last step that are kept.
        guard: a guard model as judge instead of the refusal grader; `guard_format` is wildguard or llama_guard.
    """

    steps: int = 10
    prompts: int = 16
    group: int = 8
    lr: float = 5e-7
    beta: float = 0.01
    temperature: float = 1.0
    sync_every: int = 0
    blocks: int = 2
    feedback_steps: int = 5
    conversation_steps: int = 5
    alpha: float = 0.65
    lambda_1: float = 0.5
    lambda_2: float = 0.0
    gamma: float = 0.1
    max_tokens: int = 96
    feedback_max_tokens: int = 96
    sample_batch: int = 128
    val_rows: int = 64
    samples: int = 4
    guard: str = ""
    guard_format: str = "wildguard"

    @property
    def limits(self) -> Limits:
        """What the rollouts need of it."""
        return Limits(self.max_tokens, self.feedback_max_tokens, self.temperature)


@dataclass(frozen=True)
class Block:
    """So many steps of one agent."""

    number: int
    agent: str
    stage: int
    steps: int


def schedule(params: WaltzRl) -> list[Block]:
    """The blocks in order."""
    plan = [("feedback", 1, params.steps)]
    plan += [("feedback", 2, params.feedback_steps), ("conversation", 2, params.conversation_steps)] * params.blocks
    return [Block(number, *block) for number, block in enumerate(block for block in plan if block[2])]


def waltz_rl(
    params: WaltzRl, compute: Compute, starts: dict[str, Path], data: Path, out: Path, usage: Usage
) -> dict[str, Any]:
    """Train the pair on `data`/train.jsonl; writes `out`/{conversation,feedback}/{model,train.csv,samples.jsonl,summary.json}.

    Args:
        starts: the model folder of each of AGENTS.

    Returns:
        How the pair did on rows of val.jsonl before and after, and what there is to warn of.

    Raises:
        UserError: params that contradict each other, bad rows, no row that fits the models' context, a guard that is never
            readable, a loss that is not finite.
    """
    check(params, "waltz_rl")
    starts = {agent: merged(starts[agent], usage.resume / f"start-{agent}") for agent in AGENTS}
    train, dropped = fitting(read_rows(data / "train.jsonl"), params, starts)
    held_out, _ = fitting(read_rows(data / "val.jsonl"), params, starts)
    run = Run(params, compute, starts, train, make_judge(params.guard, params.guard_format), usage)
    val = balanced(held_out, min(params.val_rows, 2 * rarest(held_out)), params.seed)
    before = run.once("before.json", lambda: run.measure(val))
    blocks = [run.block(block) for block in schedule(params)]
    after = run.once("after.json", lambda: run.measure(val))
    flags = [f"block {block['number']} ({block['agent']}): {block['flag']}" for block in blocks if block["flag"]]
    found = {"val_before": before, "val_after": after, "dropped_long": dropped, "flags": flags}
    if PartialState().is_main_process:
        for agent in AGENTS:
            run.write(agent, [block for block in blocks if block["agent"] == agent], found, out / agent)
    return found


class Run:
    """The pair while it is trained; `pair` names each agent's newest model folder."""

    def __init__(
        self, params: WaltzRl, compute: Compute, pair: dict[str, Path], rows: list[Row], judge: Judge, usage: Usage
    ):
        self.params, self.compute, self.judge, self.usage = params, compute, judge, usage
        self.starts, self.pair, self.rows = pair, dict(pair), rows

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What an interrupted attempt has worked out need not be worked out again."""
        path = self.usage.resume / name
        with PartialState().main_process_first():
            if not path.is_file():
                write_json(path, make())
        return read_json(path)

    def sampler(self, agent: str) -> CountedSampler:
        """An agent as it stands, frozen."""
        return CountedSampler(TransformersSampler.load(self.pair[agent], self.params.sample_batch), self.usage)

    def measure(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Play greedily: rates of the first and of the final answers, and how good the feedback is."""
        played = play(
            self.sampler("conversation"),
            self.sampler("feedback"),
            [user_turn(row.question) for row in rows],
            max_tokens=self.params.max_tokens,
            feedback_max_tokens=self.params.feedback_max_tokens,
        )
        first, final = (
            self.judge.verdicts(
                [
                    Exchange(row.label, row.question, each.answers[place], each.finished[place])
                    for row, each in zip(rows, played, strict=True)
                ]
            )
            for place in (0, -1)
        )
        labels = [label_reward(each.feedbacks[0], verdict) for each, verdict in zip(played, first, strict=True)]
        return {
            "n": len(rows),
            "first": shares(rows, first),
            "final": shares(rows, final),
            "triggered": mean(each.revised for each in played),
            "malformed": mean(each.ended == "malformed" for each in played),
            "label_accuracy": mean(labels),
        }

    def block(self, block: Block) -> dict[str, Any]:
        """Train one block, or find it finished; the agent's newest model is the block's from here on."""
        folder = self.usage.resume / f"block-{block.number:02d}"
        old = self.pair[block.agent]
        if not (folder / "block.json").is_file():
            self._train(block, folder)
        else:
            self.usage.resumed = True
        self.pair[block.agent] = folder / "model"
        if old != self.starts[block.agent]:
            shutil.rmtree(old, ignore_errors=True)
        return read_json(folder / "block.json")

    def _train(self, block: Block, folder: Path) -> None:
        usage = self.usage.part(folder.name)
        cases = self._cases(block, folder / "cases.jsonl")
        reward = self._reward(block, cases)
        length = self.params.feedback_max_tokens if block.agent == "feedback" else self.params.max_tokens
        params = replace(self.params, steps=block.steps, max_tokens=length, seed=self.params.seed + block.number)
        tokenizer = load_tokenizer(self.pair[block.agent])
        model = load_model(self.pair[block.agent], tokenizer, dtype=torch.float32)
        model.set_attn_implementation(self.compute.attention)
        model.config._name_or_path = str(self.starts[block.agent])  # the KL term's reference in every block
        prompts = [{"prompt": case.prompt, "index": index} for index, case in enumerate(cases)]
        trainer = grpo(params, self.compute, model, tokenizer, prompts, reward, usage, reward.columns, shuffle=False)
        self.usage.resumed |= usage.resumed
        save(trainer, tokenizer, folder / "model")
        if trainer.is_world_process_zero():
            log = read_log(usage.resume / "train.csv")
            shown = [{**asdict(block), **row} for row in reward.samples[: self.params.samples]]
            write_jsonl(folder / "samples.jsonl", shown)
            shutil.copyfile(usage.resume / "train.csv", folder / "train.csv")
            keep(usage, folder)
            write_json(folder / "block.json", {**asdict(block), **learnt(log)})
            shutil.rmtree(usage.resume)
        trainer.accelerator.wait_for_everyone()

    def _cases(self, block: Block, path: Path) -> list[Case]:
        """Prompts for every step of the block, sampled by the first process and read by all."""
        with PartialState().main_process_first():
            if not path.is_file():
                count = self.params.prompts * block.steps * PartialState().num_processes
                rows = balanced(self.rows, count, self.params.seed + block.number)
                seed = self.params.seed + 1000 * block.number
                conversation, limits = self.sampler("conversation"), self.params.limits
                if block.agent == "feedback":
                    cases = feedback_cases(rows, conversation, self.judge, limits, seed)
                else:
                    cases = conversation_cases(rows, conversation, self.sampler("feedback"), limits, seed)
                write_jsonl(path.with_suffix(".part"), map(asdict, cases))
                path.with_suffix(".part").rename(path)
        return [Case.read(values) for _, values in read_jsonl(path)]

    def _reward(self, block: Block, cases: list[Case]) -> FeedbackRewards | ConversationRewards:
        if block.agent == "feedback":
            label = self.params.lambda_1 if block.stage == 1 else self.params.lambda_2
            weights = Weights(self.params.alpha, label, self.params.gamma)
            return FeedbackRewards(cases, self.sampler("conversation"), self.judge, weights, self.params.limits)
        return ConversationRewards(cases, self.judge, self.params.max_tokens)

    def write(self, agent: str, blocks: list[dict[str, Any]], found: dict[str, Any], out: Path) -> None:
        """Write an agent's model, log, samples and summary."""
        folders = [self.usage.resume / f"block-{block['number']:02d}" for block in blocks]
        tokenizer = load_tokenizer(self.pair[agent])
        model = load_model(self.pair[agent], tokenizer)
        model.save_pretrained(out / "model")
        tokenizer.save_pretrained(out / "model")
        steps, tokens = join_logs([folder / "train.csv" for folder in folders], blocks, out / "train.csv")
        write_jsonl(
            out / "samples.jsonl", (row for folder in folders for _, row in read_jsonl(folder / "samples.jsonl"))
        )
        for folder in folders:
            keep_from(folder, out / folder.name)
        summary = {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "steps": steps,
            "train_tokens": tokens,
            "blocks": blocks,
            **found,
        }
        write_json(out / "summary.json", summary)


def merged(path: Path, folder: Path) -> Path:
    """A model folder as it is; an adapter's is merged with its base into `folder`: the reference has to be a whole model."""
    if not (path / "adapter_config.json").is_file():
        return path
    with PartialState().main_process_first():
        if not (folder / "config.json").is_file():
            tokenizer = load_tokenizer(path)
            load_model(path, tokenizer, dtype=torch.float32).merge_and_unload().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    return folder


def save(trainer: Any, tokenizer: Any, folder: Path) -> None:
    """Save the policy whole: gathered where it is sharded, an adapter merged into it."""
    weights = trainer.accelerator.get_state_dict(trainer.model)
    if trainer.is_world_process_zero():
        model = trainer.accelerator.unwrap_model(trainer.model)
        if hasattr(model, "merge_and_unload"):
            model, weights = model.merge_and_unload(), None
        model.save_pretrained(folder, state_dict=weights)
        tokenizer.save_pretrained(folder)


def fitting(rows: list[Row], params: WaltzRl, starts: dict[str, Path]) -> tuple[list[Row], int]:
    """The rows whose longest prompt (question, answer, feedback) and reply fit both models, and how many do not.

    Raises:
        UserError: too few of a label fit.
    """
    room = []
    for start in starts.values():
        tokenizer = load_tokenizer(start)
        config = AutoConfig.from_pretrained(start).get_text_config()
        context = getattr(config, "max_position_embeddings", sys.maxsize)
        left = context - 2 * params.max_tokens - params.feedback_max_tokens - FRAME_TOKENS
        room.append({row.question for row in rows if len(tokenizer(row.question)["input_ids"]) <= left})
    kept = [row for row in rows if all(row.question in fit for fit in room)]
    if not rarest(kept):
        raise UserError(
            f"waltz_rl: of {len(rows)} questions no unsafe or no benign one fits the models' context together with "
            f"two replies of {params.max_tokens} tokens and feedback of {params.feedback_max_tokens}; lower "
            "max_tokens or feedback_max_tokens, or shorten the questions"
        )
    return kept, len(rows) - len(kept)


def rarest(rows: Sequence[Row]) -> int:
    """Rows of the label that has fewer."""
    return min(sum(row.label == label for row in rows) for label in LABELS)


def learnt(log: list[dict[str, str]]) -> dict[str, Any]:
    """Of a block's train.csv: its steps, tokens, mean reward at both ends, and a flag where no group taught anything."""
    rewards = [float(row["reward"]) for row in log if row["reward"]]
    still = [float(row["frac_reward_zero_std"]) for row in log if row["frac_reward_zero_std"]]
    flag = ""
    if still and min(still) == 1.0:
        flag = (
            "all rewards were equal in every group, so nothing was learnt; raise temperature or group, or vary the rows"
        )
        print(f"warning: {flag}", file=sys.stderr)
    return {
        "tokens": int(log[-1]["tokens"]) if log else 0,
        "reward_start": rewards[0] if rewards else None,
        "reward": rewards[-1] if rewards else None,
        "share_equal": sum(still) / len(still) if still else None,
        "flag": flag,
    }


def join_logs(paths: list[Path], blocks: list[dict[str, Any]], out: Path) -> tuple[int, int]:
    """One train.csv of an agent's blocks, steps and tokens counted on; returns both."""
    rows, step, tokens = [], 0, 0
    for path, block in zip(paths, blocks, strict=True):
        for row in read_log(path):
            counted = {"step": step + int(row["step"]), "tokens": tokens + int(row["tokens"])}
            rows.append({**row, **counted, "block": block["number"], "stage": block["stage"]})
        step, tokens = step + block["steps"], tokens + block["tokens"]
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["step", "tokens", *COLUMNS])
        writer.writeheader()
        writer.writerows(rows)
    return step, tokens
