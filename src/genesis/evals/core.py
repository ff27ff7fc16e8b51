"""CORE, the base-model benchmark of DCLM (arXiv 2406.11794): 22 tasks, prompts and verdicts as in karpathy/nanochat.

Rows are shuffled by Random(1337); the example at position i draws its shots by Random(1234 + i) from the other
positions. Every prompt is encoded whole, without special tokens, with BOS in front (a tokenizer that names no BOS token
but has `<|bos|>` or `<|endoftext|>` gets that one, as in nanochat; with none of them nothing is put in front). Multiple
choice and schema: the option whose scored tokens have the lowest mean loss; language modelling: every token of the
continuation is the argmax.
"""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from genesis.common.errors import UserError
from genesis.evals.core_bundle import LANGUAGE_MODELING, MULTIPLE_CHOICE, OFFICIAL, SCHEMA, Task
from genesis.evals.core_scoring import Option, Score, Scorer, common_length
from genesis.evals.records import wilson_interval

WINDOW = 1024  # examples encoded and sorted by length at a time
MOST_FAILED = 0.1  # a task of which a larger share could not be run has no score


@dataclass(frozen=True)
class Example:
    """One example in tokens: an option for each choice (language modelling: one), or why it cannot be run."""

    options: list[Option]
    n_cropped: int = 0
    failed: str | None = None


def evaluate_core(
    model,
    tokenizer,
    tasks: list[Task],
    *,
    max_per_task: int | None = None,
    batch_tokens: int | None = None,
    contaminated: Callable[[str], bool] | None = None,
    progress: Callable[[str, dict[str, Any]], None] = lambda label, result: None,
) -> dict[str, Any]:
    """Run tasks and score them.

    Args:
        model: any causal language model of transformers; prompts longer than its maximum keep their last tokens.
        tokenizer: the model's own.
        tasks: as `read_bundle` gives them.
        max_per_task: keep the first so many shuffled rows; the shots come from these alone.
        batch_tokens: see `Scorer`.
        contaminated: says whether an example's text (question and right answer, no shots) was seen in training; such
            examples are counted, and left out of the clean scores.
        progress: called with each task's label and result as it ends.

    Returns:
        `results` by label, `records` (a verdict for every example) and the means of the centred accuracies with DCLM's
        corrected baselines and with its first ones (`_v1`): `core` where all 22 tasks ran on all official rows, else
        `core_mini`; the other is None. `core_mini_clean` leaves contaminated examples out.

    Raises:
        UserError: a task has fewer rows than it needs for its shots.
    """
    _check_sizes(tasks, max_per_task)
    encoder = Encoder(tokenizer, context_length(model))
    scorer = Scorer(model, batch_tokens)
    results, records = {}, []
    for task in tasks:
        started = time.perf_counter()
        rows = shuffled(task.rows)[:max_per_task]
        own = []
        for start in range(0, len(rows), WINDOW):
            indices = range(start, min(start + WINDOW, len(rows)))
            examples = encoder.encode(task, rows, indices)
            scores = scorer.score([[] if example.failed else example.options for example in examples])
            for index, example, score in zip(indices, examples, scores, strict=True):
                own.append(_record(task, index, rows[index], example, score, contaminated))
        results[task.label] = _summary(task, own, time.perf_counter() - started)
        progress(task.label, results[task.label])
        records += own
    return {"results": results, **_means(tasks, results), "records": records}


def shuffled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A copy in the benchmark's order."""
    rows = list(rows)
    random.Random(1337).shuffle(rows)
    return rows


def draw_shots(index: int, n: int, shots: int) -> list[int]:
    """Positions of the worked examples for position `index` of `n`, in prompt order, itself never among them."""
    # sample() looks only at the length: drawing from a range and skipping `index` gives what the list of others gives
    return [j + (j >= index) for j in random.Random(1234 + index).sample(range(n - 1), shots)] if shots else []


def render(task: Task, rows: list[dict[str, Any]], index: int) -> list[str]:
    """The prompts of one example: one an option; language modelling: without and with the continuation."""
    shots = draw_shots(index, len(rows), task.shots)
    head = "".join(_worked(task, rows[shot]) + "\n\n" for shot in shots)
    row, delimiter = rows[index], task.delimiter
    if task.kind == MULTIPLE_CHOICE:
        return [head + row["query"] + delimiter + choice for choice in row["choices"]]
    if task.kind == SCHEMA:
        return [head + context + delimiter + row["continuation"] for context in row["context_options"]]
    without = head + row["context"].strip() + delimiter
    return [without.strip(), without + row["continuation"]]


def _worked(task: Task, row: dict[str, Any]) -> str:
    """A row with its right answer."""
    if task.kind == MULTIPLE_CHOICE:
        return row["query"] + task.delimiter + row["choices"][row["gold"]]
    if task.kind == SCHEMA:
        return row["context_options"][row["gold"]] + task.delimiter + row["continuation"]
    return row["context"].strip() + task.delimiter + row["continuation"]


def context_length(model) -> int | None:
    """The longest sequence that the model's configuration states, if it does."""
    config = model.config.get_text_config()
    return getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None)


class Encoder:
    """Examples to tokens, with BOS in front and what is over the limit cut off there."""

    def __init__(self, tokenizer, limit: int | None):
        self.tokenizer = tokenizer
        self.limit = limit
        self.bos = _bos(tokenizer)
        # some tokenizers put BOS in front even when asked for no special tokens
        self.adds_bos = self.bos is not None and self._ids(["a"])[0][:1] == [self.bos]

    def encode(self, task: Task, rows: list[dict[str, Any]], indices: range) -> list[Example]:
        """Encode the examples at `indices` of the shuffled rows; one that cannot be run says why."""
        prompts = [render(task, rows, index) for index in indices]
        tokens = iter(self._ids([text for texts in prompts for text in texts]))
        front = [] if self.bos is None or self.adds_bos else [self.bos]
        return [self._example(task.kind, [front + next(tokens) for _ in texts]) for texts in prompts]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(
            texts, add_special_tokens=False, truncation=False, return_attention_mask=False, verbose=False
        )["input_ids"]

    def _example(self, kind: str, tokens: list[list[int]]) -> Example:
        if kind == LANGUAGE_MODELING:
            without, whole = tokens
            if len(without) >= len(whole) or whole[: len(without)] != without:
                return Example([], failed="the prompt's tokens are no strict prefix of those with the continuation")
            options = [Option(whole, len(without))]
        elif kind == SCHEMA:
            common = common_length([row[::-1] for row in tokens])
            options = [Option(row, len(row) - common) for row in tokens]
        else:
            common = common_length(tokens)
            options = [Option(row, common) for row in tokens]
        if self.bos is None and any(option.start == 0 for option in options):
            return Example([], failed="the tokenizer has no BOS: no token stands in front of the first scored one")
        return self._crop(kind, options)

    def _crop(self, kind: str, options: list[Option]) -> Example:
        over = [max(0, len(option.tokens) - (self.limit or math.inf)) for option in options]
        options = [Option(option.tokens[cut:], option.start - cut) for option, cut in zip(options, over, strict=True)]
        # for choices a scored part that fills the limit exactly is an empty one, as in nanochat
        if any(option.start < (kind == LANGUAGE_MODELING) for option in options):
            return Example([], sum(cut > 0 for cut in over), "the scored part alone is longer than the model's context")
        return Example(options, sum(cut > 0 for cut in over))


def _bos(tokenizer) -> int | None:
    if tokenizer.bos_token_id is not None:
        return tokenizer.bos_token_id
    vocabulary = tokenizer.get_vocab()
    return vocabulary.get("<|bos|>", vocabulary.get("<|endoftext|>"))


def _check_sizes(tasks: list[Task], max_per_task: int | None) -> None:
    if max_per_task is not None and max_per_task < 1:
        raise UserError(f"max_per_task: expected 1 or more, found {max_per_task}; leave it out for all rows")
    for task in tasks:
        kept = min(len(task.rows), max_per_task or len(task.rows))
        if kept <= task.shots:
            raise UserError(
                f"{task.path}: {task.label}: {kept} rows are too few for {task.shots} shots; "
                f"it needs at least {task.shots + 1} (rows in the file: {len(task.rows)}, max_per_task: {max_per_task})"
            )


def _record(task: Task, index: int, row, example: Example, scores: list[Score], contaminated) -> dict[str, Any]:
    failed = example.failed
    empty = sum(option.empty for option in example.options)
    losses = [score.loss for score in scores]
    if any(not option.empty and not math.isfinite(loss) for option, loss in zip(example.options, losses, strict=False)):
        failed = "the model's loss is not finite"
    chosen = correct = None
    if failed is None and task.kind == LANGUAGE_MODELING:
        correct = scores[0].greedy
    elif failed is None:
        # min() keeps a NaN that comes first and passes over a later one: the rule for options with nothing to score
        chosen = losses.index(min(losses))
        correct = chosen == row["gold"]
    return {
        "task": task.label,
        "index": index,
        "chosen": chosen,
        "gold": row.get("gold") if task.kind != LANGUAGE_MODELING else None,
        "correct": correct,
        "losses": [loss if math.isfinite(loss) else None for loss in losses],
        "n_cropped": example.n_cropped,
        "n_nan_options": empty,
        "failed": failed,
        "contaminated": contaminated(_worked(task, row)) if contaminated else None,
    }


def _summary(task: Task, records: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    accuracy, interval = _accuracy(records)
    known = records[0]["contaminated"] is not None
    clean, _ = _accuracy([record for record in records if not record["contaminated"]]) if known else (None, None)
    failures = [record["failed"] for record in records if record["failed"]]
    return {
        "accuracy": accuracy,
        "centered": _centered(accuracy, task.baseline),
        "centered_v1": _centered(accuracy, task.baseline_v1),
        "n": len(records),
        "n_cropped": sum(record["n_cropped"] > 0 for record in records),
        "n_cropped_options": sum(record["n_cropped"] for record in records),
        "n_nan_options": sum(record["n_nan_options"] for record in records),
        "n_failed": len(failures),
        "first_failure": failures[0] if failures else None,
        "n_contaminated": sum(record["contaminated"] for record in records) if known else None,
        "clean_accuracy": clean,
        "clean_centered": _centered(clean, task.baseline),
        "clean_centered_v1": _centered(clean, task.baseline_v1),
        "interval": interval,
        "seconds": seconds,
    }


def _accuracy(records: list[dict[str, Any]]) -> tuple[float | None, tuple[float, float] | None]:
    ran = [record for record in records if record["failed"] is None]
    if not ran or len(records) - len(ran) > MOST_FAILED * len(records):
        return None, None
    right = sum(record["correct"] for record in ran)
    return right / len(ran), wilson_interval(right, len(ran))


def _centered(accuracy: float | None, baseline: float) -> float | None:
    return None if accuracy is None else (accuracy - baseline / 100) / (1 - baseline / 100)


def _means(tasks: list[Task], results: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """Means over tasks under the name that fits: `core` only for all that there is, run without a failure."""

    def mean(name: str) -> float | None:
        values = [result[name] for result in results.values()]
        return None if not values or None in values else sum(values) / len(values)

    ran = {task.label: (results[task.label]["n"] - results[task.label]["n_failed"], task.shots) for task in tasks}
    name, other = ("core", "core_mini") if ran == OFFICIAL else ("core_mini", "core")
    return {
        name: mean("centered"),
        f"{name}_v1": mean("centered_v1"),
        other: None,
        f"{other}_v1": None,
        "core_mini_clean": mean("clean_centered"),
        "core_mini_clean_v1": mean("clean_centered_v1"),
    }
