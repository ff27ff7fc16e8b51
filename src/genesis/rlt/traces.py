"""The distillation set: a teacher explains every training pair, several times, and the best explanation by reward is kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesis.common.chat import write_json, write_jsonl
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.rlt.cases import Case, Scored
from genesis.rlt.pairs import read_pairs
from genesis.rlt.prompts import split_completion
from genesis.rlt.settings import Rlt
from genesis.rlt.teacher import explain, load_teacher, make_reward, means
from genesis.samplers.spec import open_sampler
from genesis.sampling import TransformersSampler

TERMS = ("reward", "r_ss", "r_kl", "format", "length", "malformed", "copied")


@dataclass
class Traces:
    """Section `traces`.

    Attributes:
        samples: explanations of a pair, of which the best is kept.
        max_tokens: longest explanation.
        batch_size: completions at once.
        max_dropped: share of the pairs that may end without any scored explanation.
        vllm: write the explanations with vLLM.
    """

    samples: int = 4
    max_tokens: int = 1024
    batch_size: int = 64
    max_dropped: float = 0.1
    vllm: bool = False
    seed: int = 0


def traces(params: Traces, rlt: Rlt, teacher: Path, student: Path, data: Path, out: Path, usage: Usage) -> None:
    """Write `out`/traces.jsonl (the pairs with `explanation`, its score and all candidates' rewards) and summary.json.

    Raises:
        UserError: too many pairs without a scored explanation.
    """
    rows = read_pairs(data / "train.jsonl")
    model, tokenizer = load_teacher(teacher)
    sampler = (
        open_sampler(f"vllm:{teacher}") if params.vllm else TransformersSampler(model, tokenizer, params.batch_size)
    )
    cases = explain(sampler, rows, rlt, samples=params.samples, max_tokens=params.max_tokens, seed=params.seed)
    usage.add(tokens=sum(len(tokenizer(case.completion, add_special_tokens=False)["input_ids"]) for case in cases))
    scored = make_reward(rlt, model, tokenizer, student).score(cases)
    kept = []
    for index, row in enumerate(rows):
        own = slice(index * params.samples, (index + 1) * params.samples)
        best = best_of(cases[own], scored[own])
        if best is not None:
            kept.append({**row, **best})
    dropped = len(rows) - len(kept)
    if dropped > params.max_dropped * len(rows):
        raise UserError(
            f"traces: {dropped} of {len(rows)} pairs have no scored explanation, more than traces.max_dropped "
            f"({params.max_dropped:.0%}); the first reason: {next(row.error for row in scored if row.error)}"
        )
    write_jsonl(out / "traces.jsonl", kept)
    best_mean = sum(row["reward"] for row in kept) / len(kept)
    write_json(
        out / "summary.json", {**means(scored), "pairs": len(kept), "dropped": dropped, "best_reward": best_mean}
    )


def best_of(cases: list[Case], scored: list[Scored]) -> dict[str, Any] | None:
    """The explanation with the highest reward, its terms, and every candidate's reward; None where none was scored."""
    known = [(row.reward, case, row) for case, row in zip(cases, scored, strict=True) if row.reward is not None]
    if not known:
        return None
    _, case, row = max(known, key=lambda found: found[0])
    explanation = split_completion(case.completion)[0].strip()
    terms = {name: getattr(row, name) for name in TERMS}
    return {"explanation": explanation, **terms, "candidates": [row.reward for row in scored]}
