"""The teacher's reinforcement learning (RLT's second phase, arXiv 2506.08388): GRPO with the student's reward.

What it is worth is measured on held-out pairs: the same questions are explained by the warmed-up and by the trained teacher,
and the same reward is taken of both.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from genesis.common.chat import write_json, write_jsonl
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.grpo import Grpo, check, grpo
from genesis.rlt.cases import Scored
from genesis.rlt.pairs import read_pairs
from genesis.rlt.prompts import teacher_prompt
from genesis.rlt.reward import LOGGED, RltReward
from genesis.rlt.settings import Rlt
from genesis.rlt.teacher import explain, load_teacher, make_reward, means
from genesis.sampling import TransformersSampler
from genesis.tracking import keep
from genesis.training import Compute

SHOWN = 40


@dataclass
class Rl(Grpo):
    """Section `rl`.

    Attributes:
        eval_pairs: held-out pairs that measure the gain; 0 for all.
        eval_samples: explanations of each.
    """

    eval_pairs: int = 0
    eval_samples: int = 2


def rlt_rl(
    params: Rl, rlt: Rlt, compute: Compute, start: Path, student: Path, data: Path, out: Path, usage: Usage
) -> None:
    """Write `out`/model, train.csv, samples.jsonl (held-out explanations before and after) and summary.json.

    Raises:
        UserError: no pair fits, values that contradict each other, a loss that is not finite, no completion with a reward.
    """
    check(params, "rl")
    if params.temperature != rlt.temperature:
        raise UserError(
            f"rl.temperature: {params.temperature} is not rlt.temperature ({rlt.temperature}); the reward needs one"
        )
    model, tokenizer = load_teacher(start)
    model.set_attn_implementation(compute.attention)
    held_out = read_pairs(data / "val.jsonl")
    held_out = (
        held_out[:: max(1, len(held_out) // params.eval_pairs)][: params.eval_pairs] if params.eval_pairs else held_out
    )
    dtype = torch.bfloat16 if compute.bf16 else None
    reward = make_reward(rlt, model, tokenizer, student, dtype)
    before = measure(params, rlt, reward, tokenizer, held_out)
    rows = [_row(row, tokenizer, rlt) for row in read_pairs(data / "train.jsonl", "teacher")]
    trainer = grpo(params, compute, model, tokenizer, rows, reward, usage, list(LOGGED), forwards=4)
    model = trainer.accelerator.unwrap_model(trainer.model).eval()
    reward = make_reward(rlt, model, tokenizer, student, dtype)
    after = measure(params, rlt, reward, tokenizer, held_out)
    if not trainer.is_world_process_zero():
        return
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    (out / "train.csv").write_bytes((usage.resume / "train.csv").read_bytes())
    keep(usage, out)
    write_jsonl(out / "samples.jsonl", samples(held_out, before, after, params.eval_samples))
    write_json(out / "summary.json", summary(trainer, before, after))


def measure(params: Rl, rlt: Rlt, reward: RltReward, tokenizer, rows: list[dict]) -> list[tuple[str, Scored]]:
    """Explanations of held-out pairs by the teacher of `reward`, each with its score.

    Raises:
        UserError: not one could be scored.
    """
    sampler = TransformersSampler(reward.teacher, tokenizer, batch_size=params.prompts * params.group)
    cases = explain(sampler, rows, rlt, samples=params.eval_samples, max_tokens=params.max_tokens, seed=params.seed)
    scored = reward.score(cases)
    if all(row.reward is None for row in scored):
        reason = scored[0].error if scored else "there are no held-out pairs"
        raise UserError(f"rl: no held-out explanation could be scored ({reason})")
    return [(case.completion, row) for case, row in zip(cases, scored, strict=True)]


def summary(trainer: Any, before: list[tuple[str, Scored]], after: list[tuple[str, Scored]]) -> dict[str, Any]:
    """What summary.json holds: the gain on held-out pairs and every term before and after."""
    warm, trained = means([row for _, row in before]), means([row for _, row in after])
    rewards = [row["reward"] for row in trainer.state.log_history if row.get("reward") is not None]
    return {
        "steps": trainer.state.global_step,
        "reward_warmup": warm["reward"],
        "reward_rl": trained["reward"],
        "reward_gain": (trained["reward"] - warm["reward"]) / abs(warm["reward"]) if warm["reward"] else None,
        "train_reward_first": rewards[0] if rewards else None,
        "train_reward_last": rewards[-1] if rewards else None,
        **{f"warmup_{name}": value for name, value in warm.items() if name != "reward"},
        **{f"rl_{name}": value for name, value in trained.items() if name != "reward"},
    }


def samples(
    rows: list[dict], before: list[tuple[str, Scored]], after: list[tuple[str, Scored]], each: int
) -> list[dict[str, Any]]:
    """The first explanation of some held-out pairs, before and after, with every term."""
    return [
        {
            "id": row["id"],
            "question": row["question"],
            "solution": row["solution"],
            "warmup": {"explanation": before[index * each][0], **asdict(before[index * each][1])},
            "rl": {"explanation": after[index * each][0], **asdict(after[index * each][1])},
        }
        for index, row in enumerate(rows[:SHOWN])
    ]


def _row(row: dict, tokenizer, rlt: Rlt) -> dict[str, Any]:
    systems = {name: text for name, text in rlt.systems.items()}
    prompt = teacher_prompt(tokenizer, row["question"], row["solution"], systems["teacher_system"])
    return {"prompt": prompt, "question": row["question"], "solution": row["solution"], **systems}
