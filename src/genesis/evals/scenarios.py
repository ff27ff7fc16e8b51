"""Scenarios: an agent's hand-written test questions, each with its own grader.

A row is ``{"id", "prompt", "grader": {"kind", …}, "meta": {…}}``; genesis.graders.answers.grade lists the kinds.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from genesis.common.chat import raise_first, read_jsonl, user_turn
from genesis.common.errors import UserError
from genesis.evals.harness import clean_score
from genesis.evals.records import Record, summarise
from genesis.graders.answers.grade import grade, validate_grader
from genesis.graders.answers.sandbox import SandboxError, in_parallel
from genesis.sampling import Completion, Sampler


def read_scenarios(path: Path) -> list[dict[str, Any]]:
    """Read the scenarios whole.

    Raises:
        UserError: no rows, or the first bad row by file, line and field.
    """
    rows, problems, lines = [], [], {}
    for number, row in read_jsonl(path):
        problem = _problem(row, lines)
        if problem:
            problems.append(f"{path}:{number}: {problem}")
        else:
            lines[row["id"]] = number
        rows.append(row)
    raise_first(problems)
    if not rows:
        raise UserError(f"{path}: no scenarios; expected JSON lines with id, prompt and grader")
    return rows


def evaluate_scenarios(
    sampler: Sampler,
    scenarios: list[dict[str, Any]],
    max_tokens: int = 256,
    contaminated: Callable[[str], bool] | None = None,
) -> tuple[list[Record], dict[str, Any]]:
    """Answer every scenario greedily and grade it.

    Returns:
        Records and the summary: accuracy with its interval, the counts of each grader's kind, the score without
        contaminated prompts, tokens a second and latencies (seconds; in a batch, shares of the batch's time).
    """
    completions = sampler.sample([user_turn(row["prompt"]) for row in scenarios], max_tokens=max_tokens)
    records = in_parallel(partial(_record, contaminated=contaminated), scenarios, completions)
    kinds: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        kinds[record.grader].append(record)
    cut = sum(not completion.finished for completion in completions)
    return records, {
        **summarise(records),
        **clean_score(records),
        "n_cut": cut,
        "kinds": {kind: summarise(members) for kind, members in sorted(kinds.items())},
        **speed(completions),
    }


def speed(completions: list[Completion]) -> dict[str, float | None]:
    """Tokens a second and the 50th and 95th percentile of the seconds an answer took; None without a measured time."""
    seconds = [completion.seconds for completion in completions]
    if not sum(seconds) > 0:
        return {"tokens_per_s": None, "latency_p50_s": None, "latency_p95_s": None}
    twentieths = statistics.quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else seconds * 19
    return {
        "tokens_per_s": sum(completion.tokens for completion in completions) / sum(seconds),
        "latency_p50_s": statistics.median(seconds),
        "latency_p95_s": twentieths[-1],
    }


def _record(row: dict[str, Any], completion: Completion, *, contaminated: Callable[[str], bool] | None) -> Record:
    correct, detail, failed = None, "not run", None
    try:
        verdict = grade(row["grader"], completion.text)
        correct, detail = verdict.correct, verdict.detail
    except SandboxError as error:
        failed = str(error)
    meta = {
        **row.get("meta", {}),
        "prompt": row["prompt"],
        "detail": detail,
        "tokens": completion.tokens,
        "finished": completion.finished,
        "contaminated": None if contaminated is None else contaminated(row["prompt"]),
    }
    return Record(row["id"], completion.text, correct, row["grader"]["kind"], completion.seconds, failed, meta)


def _problem(row: dict[str, Any], lines: dict[str, int]) -> str | None:
    for field in ("id", "prompt"):
        if not isinstance(row.get(field), str) or not row[field].strip():
            return f"field '{field}': expected text"
    if row["id"] in lines:
        return f"field 'id': {row['id']} stands in line {lines[row['id']]} already"
    if "grader" not in row:
        return "field 'grader': missing; expected an object with a field 'kind'"
    problem = validate_grader(row["grader"])
    if problem:
        return f"field 'grader': {problem}"
    return None if isinstance(row.get("meta", {}), dict) else "field 'meta': expected an object"
