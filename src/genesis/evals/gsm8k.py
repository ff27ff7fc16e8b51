"""GSM8K: grade-school word problems, graded by the final number (Cobbe et al. 2021, openai/grade-school-math).

A row is ``{"question", "answer"}``; the answer's reasoning ends with ``#### 42``. The prompt is the question alone,
after as many worked examples as `shots` says. The reply's number is the last one after '####', else the last one.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genesis.common.chat import Message, raise_first, read_jsonl, user_turn
from genesis.common.errors import UserError
from genesis.evals.harness import clean_score
from genesis.evals.records import Record, summarise
from genesis.graders.answers.numeric import final_answer, grade_final_answer
from genesis.sampling import Completion, Sampler

# For models without a chat template; the blank line parts the worked examples.
PLAIN_TEMPLATE = r"""
{%- if bos_token %}{{ bos_token }}{% endif %}
{%- for message in messages %}
{%- if message.role == 'user' %}{{ 'Question: ' + message.content + '\nAnswer:' }}
{%- else %}{{ ' ' + message.content + '\n\n' }}{% endif %}
{%- endfor %}"""


def read_gsm8k(path: Path) -> list[dict[str, Any]]:
    """Read the rows whole.

    Raises:
        UserError: no rows, or the first bad row by file, line and field.
    """
    rows, problems = [], []
    for number, row in read_jsonl(path):
        problem = _problem(row)
        if problem:
            problems.append(f"{path}:{number}: {problem}")
        rows.append(row)
    raise_first(problems)
    if not rows:
        raise UserError(f"{path}: no rows; expected JSON lines with question and answer")
    return rows


def evaluate_gsm8k(
    sampler: Sampler,
    rows: list[dict[str, Any]],
    *,
    shots: int = 0,
    examples: list[dict[str, Any]] | None = None,
    max_tokens: int = 400,
    contaminated: Callable[[str], bool] | None = None,
) -> tuple[list[Record], dict[str, Any]]:
    """Answer every question greedily and grade the final numbers.

    Args:
        shots: worked examples in front of each question.
        examples: rows to take them from, the first `shots`; by default the first of `rows`, which are not scored then.
        max_tokens: length at which an answer is cut.
        contaminated: says whether a question was seen in training; such questions are left out of a second score.

    Raises:
        UserError: there are fewer examples than shots, or nothing left to score.
    """
    pool = rows if examples is None else examples
    scored = rows[shots:] if examples is None else rows
    if len(pool) < shots or not scored:
        raise UserError(f"{shots} shots need as many examples and a question to score; there are {len(pool)} rows")
    before = [turn for row in pool[:shots] for turn in _worked(row)]
    completions = sampler.sample([[*before, *user_turn(row["question"])] for row in scored], max_tokens=max_tokens)
    records = [
        _record(index, row, completion, contaminated)
        for index, (row, completion) in enumerate(zip(scored, completions, strict=True), start=len(rows) - len(scored))
    ]
    cut = sum(not completion.finished for completion in completions)
    return records, {**summarise(records), **clean_score(records), "n_cut": cut, "shots": shots}


def _record(
    index: int, row: dict[str, Any], completion: Completion, contaminated: Callable[[str], bool] | None
) -> Record:
    # A base model that is not stopped goes on to invent the next question.
    reply = completion.text.split("\nQuestion:")[0]
    gold = final_answer(row["answer"])
    verdict = grade_final_answer(gold, reply)
    meta = {
        "question": row["question"],
        "gold": str(gold),
        "detail": verdict.detail,
        "tokens": completion.tokens,
        "finished": completion.finished,
        "contaminated": None if contaminated is None else contaminated(row["question"]),
    }
    return Record(f"gsm8k/{index}", completion.text, verdict.correct, "final_answer", completion.seconds, meta=meta)


def _worked(row: dict[str, Any]) -> list[Message]:
    """A worked example; the calculator's marks, <<3*4=12>>, are for a tool that is not there."""
    answer = re.sub(r"<<[^>]*>>", "", row["answer"])
    return [*user_turn(row["question"]), {"role": "assistant", "content": answer}]


def _problem(row: dict[str, Any]) -> str | None:
    for field in ("question", "answer"):
        if not isinstance(row.get(field), str) or not row[field].strip():
            return f"field '{field}': expected text"
    if "####" not in row["answer"] or final_answer(row["answer"].rpartition("####")[2]) is None:
        return "field 'answer': expected '#### ' and a number at the end"
    return None
