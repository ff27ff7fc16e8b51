"""CORE of the base model, contaminated items counted and left out of a second score."""

from dataclasses import dataclass, field
from pathlib import Path

from genesis.common.chat import write_json, write_jsonl
from genesis.common.usage import Usage
from genesis.evals.contamination import Contamination
from genesis.evals.core import evaluate_core
from genesis.evals.core_bundle import read_bundle
from genesis.models import load_model, load_tokenizer


@dataclass
class EvalCore:
    """Section `eval_core`.

    Attributes:
        bundle: folder of the benchmark; DVC watches it.
        tasks: labels to run, all when empty.
        max_per_task: so many items of each task, 0 for all; it changes the few-shot draws.
        batch_tokens: tokens scored at once.
    """

    bundle: str = "data/seed/core_mini"
    tasks: list[str] = field(default_factory=list)
    max_per_task: int = 0
    batch_tokens: int = 8192


def eval_core(params: EvalCore, model: Path, corpus: Path, out: Path, usage: Usage) -> None:
    """Write `out`/summary.json and records.jsonl (every example's verdict).

    Raises:
        UserError: a damaged bundle, an unknown task, or a model that cannot be loaded.
    """
    tokenizer = load_tokenizer(model)
    result = evaluate_core(
        load_model(model, tokenizer),
        tokenizer,
        read_bundle(params.bundle, params.tasks or None),
        max_per_task=params.max_per_task or None,
        batch_tokens=params.batch_tokens,
        contaminated=Contamination([corpus / "ngrams.npy"]),
    )
    write_jsonl(out / "records.jsonl", result.pop("records"))
    write_json(out / "summary.json", result)
