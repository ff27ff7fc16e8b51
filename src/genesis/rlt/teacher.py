"""A trained teacher at work: loading it, asking it for explanations, scoring them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from genesis.models import load_model, load_tokenizer
from genesis.rlt.cases import Case, Scored
from genesis.rlt.prompts import asked, teacher_opening
from genesis.rlt.reward import RltReward
from genesis.rlt.settings import Rlt
from genesis.sampling import Sampler
from genesis.tags import BLANK, END_EXPLANATION


def load_teacher(path: str | Path):
    """Model and tokenizer; where the end tag is one token, the model ends its completions there."""
    tokenizer = load_tokenizer(path)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = load_model(path, tokenizer)
    tag = tokenizer(END_EXPLANATION, add_special_tokens=False)["input_ids"]
    ends = [tokenizer.eos_token_id, *(tag if len(tag) == 1 else [])]
    model.generation_config.eos_token_id = ends
    return model, tokenizer


def make_reward(
    rlt: Rlt, teacher: Any, tokenizer: Any, student_path: Path, dtype: torch.dtype | None = None
) -> RltReward:
    """The reward of section `rlt` with a frozen student, in `dtype` or as `load_model` has it."""
    student_tokenizer = load_tokenizer(student_path)
    student = load_model(student_path, student_tokenizer, dtype=dtype).requires_grad_(False)
    return RltReward(
        teacher,
        tokenizer,
        student,
        student_tokenizer,
        temperature=rlt.temperature,
        kl_weight=rlt.kl_weight,
        extreme_weight=rlt.extreme_weight,
        malformed_penalty=rlt.malformed_penalty,
        score_blank=False,
        on_overflow=rlt.on_overflow,
    )


def explain(
    sampler: Sampler, rows: Sequence[dict], rlt: Rlt, *, samples: int, max_tokens: int, seed: int = 0
) -> list[Case]:
    """`samples` explanations of every row, each a case ready to be scored, row by row."""
    prompts = [_prompt(row, rlt) for row in rows for _ in range(samples)]
    completions = sampler.sample(prompts, max_tokens=max_tokens, temperature=rlt.temperature, seed=seed)
    owners = [row for row in rows for _ in range(samples)]
    return [
        Case(row["id"], row["question"], row["solution"], answer.text.removeprefix(BLANK), **rlt.systems)
        for row, answer in zip(owners, completions, strict=True)
    ]


def means(scored: Sequence[Scored]) -> dict[str, float | int | None]:
    """Mean of the reward and of every term over the completions that have one, and how many have none."""
    terms = ("reward", "r_ss", "r_kl", "kl_mean", "kl_max", "format", "length", "malformed", "copied")
    found: dict[str, float | int | None] = {}
    for name in terms:
        values = [float(value) for row in scored if (value := getattr(row, name)) is not None]
        found[name] = sum(values) / len(values) if values else None
    return {**found, "n": len(scored), "unscored": sum(row.reward is None for row in scored)}


def _prompt(row: dict, rlt: Rlt) -> list[dict[str, str]]:
    turns = asked(row["question"], rlt.systems["teacher_system"])
    return [*turns, {"role": "assistant", "content": teacher_opening(row["solution"]) + BLANK}]
