"""HumanEval: complete a Python function; its unit tests run in the sandbox (Chen et al. 2021, openai/human-eval).

A row is ``{"task_id", "prompt", "entry_point", "test", …}``: the prompt is imports, helpers, a signature and a
docstring; the test defines ``check(candidate)``. One greedy answer a task gives pass@1; several sampled ones give the
paper's unbiased estimate of pass@k.
"""

import math
import re
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from genesis.common.chat import Message, raise_first, read_jsonl, user_turn
from genesis.common.errors import UserError
from genesis.evals.harness import clean_score
from genesis.evals.records import Z_95, Record, summarise, wilson_interval
from genesis.graders.answers.python_tests import fenced_blocks, parses, python_code
from genesis.graders.answers.sandbox import LIMITS, Limits, SandboxError, in_parallel, run_tests
from genesis.sampling import Completion, Sampler

INSTRUCTION = "Complete this Python function. Answer with the whole function in one Python code block."
# For models without a chat template: the prompt as it stands, to be continued.
PLAIN_TEMPLATE = "{% if bos_token %}{{ bos_token }}{% endif %}{{ messages[-1].content }}"


def read_humaneval(path: Path) -> list[dict[str, Any]]:
    """Read the tasks whole.

    Raises:
        UserError: no rows, or the first bad row by file, line and field.
    """
    rows, problems, seen = [], [], set()
    for number, row in read_jsonl(path):
        problem = _problem(row, seen)
        if problem:
            problems.append(f"{path}:{number}: {problem}")
        else:
            seen.add(row["task_id"])
        rows.append(row)
    raise_first(problems)
    if not rows:
        raise UserError(f"{path}: no rows; expected JSON lines with task_id, prompt, entry_point and test")
    return rows


def evaluate_humaneval(
    sampler: Sampler,
    rows: list[dict[str, Any]],
    *,
    max_tokens: int = 512,
    samples: int = 1,
    ks: Sequence[int] = (1,),
    temperature: float = 0.8,
    seed: int = 0,
    plain: bool = False,
    limits: Limits = LIMITS,
    contaminated: Callable[[str], bool] | None = None,
) -> tuple[list[Record], dict[str, Any]]:
    """Complete every task and run its tests.

    Args:
        samples: answers a task; a single one is greedy, several are sampled at `temperature`.
        ks: the k of pass@k, none above `samples`.
        plain: the prompt is the row's own, to be continued; else a request to complete it.
        contaminated: says whether a prompt was seen in training; such tasks are left out of a second score.

    Returns:
        Records, one an answer, and the summary: `accuracy` is pass@1; `pass_at` has each k's estimate and interval.

    Raises: UserError where a k is larger than `samples`.
    """
    if not ks or max(ks) > samples or min(ks) < 1:
        raise UserError(f"pass@k needs k of 1 or more and as many samples: k {list(ks)}, samples {samples}")
    asked = [ask(row, plain) for row in rows]
    draws = {"max_tokens": max_tokens, "temperature": temperature if samples > 1 else 0.0}
    jobs = [
        (row, row["task_id"] if samples == 1 else f"{row['task_id']}#{draw}", completion)
        for draw in range(samples)
        for row, completion in zip(rows, sampler.sample(asked, seed=seed + draw, **draws), strict=True)
    ]
    records = in_parallel(partial(_record, limits=limits, contaminated=contaminated), *zip(*jobs, strict=True))
    cut = sum(not completion.finished for _, _, completion in jobs)
    score = summarise if samples == 1 else summarise_samples
    summary = {**score(records), **clean_score(records, score), "n_cut": cut, "n_tasks": len(rows), "samples": samples}
    return records, {**summary, "pass_at": {str(k): pass_at(records, k) for k in ks}}


def ask(row: dict[str, Any], plain: bool) -> list[Message]:
    """The conversation that asks for a task's solution."""
    return user_turn(row["prompt"] if plain else f"{INSTRUCTION}\n\n```python\n{row['prompt'].rstrip()}\n```")


def program(prompt: str, entry_point: str, reply: str) -> str | None:
    """The program that a reply stands for, or None where it holds no code.

    A reply that defines the function follows the prompt, whose imports and helpers it may use and whose stub it
    replaces; any other is the function's body and continues the prompt.
    """
    blocks = fenced_blocks(reply)
    text = "\n\n".join(blocks) if blocks else reply
    if re.search(rf"^[ \t]*(?:async )?def {re.escape(entry_point)}\b", text, re.MULTILINE):
        code = python_code(reply)
        return None if code is None else _joined(prompt, code)
    for body in _bodies(text):
        if parses(prompt + body):
            return prompt + body
    return None


def estimate_pass_at_k(n: int, right: int, k: int) -> float:
    """The unbiased estimate of the chance that one of k answers is right, from n of which `right` were (Chen 2021)."""
    return 1.0 - math.comb(n - right, k) / math.comb(n, k)


def pass_at(records: list[Record], k: int) -> dict[str, Any]:
    """pass@k over the tasks with k answers that ran, with a 95 % interval over tasks (Wilson's if each is 0 or 1)."""
    tasks: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        if record.failed is None:
            tasks[record.meta["task_id"]].append(record.verdict is True)
    shares = [estimate_pass_at_k(len(answers), sum(answers), k) for answers in tasks.values() if len(answers) >= k]
    if not shares:
        return {"value": None, "interval": None}
    mean = statistics.fmean(shares)
    if set(shares) <= {0.0, 1.0}:
        return {"value": mean, "interval": wilson_interval(round(sum(shares)), len(shares))}
    spread = Z_95 * statistics.stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else 1.0
    return {"value": mean, "interval": (max(0.0, mean - spread), min(1.0, mean + spread))}


def summarise_samples(records: list[Record]) -> dict[str, Any]:
    """`summarise` with an interval over tasks: a task's answers are not independent of one another."""
    once = pass_at(records, 1)
    return {**summarise(records), "accuracy": once["value"], "interval": once["interval"]}


def _record(
    row: dict[str, Any],
    name: str,
    completion: Completion,
    *,
    limits: Limits,
    contaminated: Callable[[str], bool] | None,
) -> Record:
    code = program(row["prompt"], row["entry_point"], completion.text)
    verdict, detail, failed = None, "no Python in the reply", None
    if code is not None:
        try:
            outcome = run_tests(code, f"{row['test']}\n\ncheck({row['entry_point']})\n", limits)
            verdict, detail = outcome.status == "passed", f"{outcome.status}: {outcome.detail}".rstrip(": ")
        except SandboxError as error:
            detail, failed = "not run", str(error)
    meta = {
        "task_id": row["task_id"],
        "detail": detail,
        "tokens": completion.tokens,
        "finished": completion.finished,
        "contaminated": None if contaminated is None else contaminated(row["prompt"]),
    }
    return Record(name, completion.text, verdict, "unit_tests", completion.seconds, failed, meta)


def _joined(prompt: str, code: str) -> str:
    """Prompt and code in one program; what comes from __future__ must stand first."""
    future = re.compile(r"^from __future__ import [^\n]*\n?", re.MULTILINE)
    return "".join(line.rstrip("\n") + "\n" for line in future.findall(code)) + prompt + "\n" + future.sub("", code)


def _bodies(text: str) -> list[str]:
    """Ways to read a text as a function's body, the likeliest first: as it stands, up to where the function ends, …"""
    text = text.strip("\n").replace("\r\n", "\n")
    if not text.strip():
        return []
    if text[0] in " \t":
        inner = re.split(r"\n(?=[^\s])", text)[0]
        return [textwrap.indent(textwrap.dedent(part), "    ") + "\n" for part in (inner, text)]
    # Written from the margin, or with only the first line's indentation lost, as stripping a reply does.
    return [textwrap.indent(text, "    ") + "\n", f"    {text}\n"]


def _problem(row: dict[str, Any], seen: set[str]) -> str | None:
    for field in ("task_id", "prompt", "entry_point", "test"):
        if not isinstance(row.get(field), str) or not row[field].strip():
            return f"field '{field}': expected text"
    if row["task_id"] in seen:
        return f"field 'task_id': {row['task_id']} stands twice"
    if not row["entry_point"].isidentifier() or f"def {row['entry_point']}" not in row["prompt"]:
        return f"field 'entry_point': the prompt defines no function {row['entry_point']}"
    if "def check(" not in row["test"]:
        return "field 'test': expected a function check(candidate)"
    return None
