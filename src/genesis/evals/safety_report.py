"""What `python -m genesis safety` does: any model or pair on any safety sets, a line and a block of the report each."""

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesis.common.chat import write_json
from genesis.common.errors import UserError
from genesis.common.usage import device
from genesis.evals.harness import load_sampler
from genesis.evals.judge_agreement import AGREEMENT, read_agreement
from genesis.evals.safety import Limits, check_safety, evaluate_safety, spread, summarise_safety
from genesis.graders.judging import Judge
from genesis.safety_sets import read_set
from genesis.sampling import Sampler, TransformersSampler

# For models without a chat template.
PLAIN_TEMPLATE = r"""
{%- if bos_token %}{{ bos_token }}{% endif %}
{%- for message in messages %}{{ message.role.capitalize() + ': ' + message.content + '\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""
SHOWN = {
    "unsafe_rate": "unsafe",
    "overrefusal_rate": "over-refused",
    "incoherent_rate": "incoherent",
    "trigger_rate": "feedback triggered",
    "flag_accuracy": "flags right",
    "malformed_rate": "feedback malformed",
}


def load_agents(args: argparse.Namespace) -> tuple[Sampler, Sampler | None]:
    """The conversation agent and the feedback agent, if there is one.

    Raises:
        UserError: a model that cannot be loaded, or half a pair.
    """
    parts = {name: _part(Path(args.model), name) for name in ("conversation", "feedback")}
    if None in parts.values() and set(parts.values()) != {None}:
        missing = next(name for name, path in parts.items() if path is None)
        raise UserError(f"{args.model}: a pair needs conversation/ and feedback/; there is no {missing}/")
    if parts["conversation"]:
        args = argparse.Namespace(**{**vars(args), "model": parts["conversation"]})
    conversation = load_sampler(args, PLAIN_TEMPLATE if args.plain else None)
    feedback = args.feedback or parts["feedback"]
    return conversation, TransformersSampler.load(feedback, args.batch_size) if feedback else None


def score_sets(
    args: argparse.Namespace, conversation: Sampler, feedback: Sampler | None, judge: Judge, limits: Limits
) -> Iterator[dict[str, Any]]:
    """Each set's summary and records; all sets are read before the first is played.

    A set of which too many prompts failed, or too many verdicts cannot be read, has an `error` in place of a summary.
    """
    sets = {path: read_set(path) for path in args.sets}
    for path, prompts in sets.items():
        scored = [prompt for prompt in prompts if prompt.scored]
        chosen = spread(scored, args.max)
        started = time.perf_counter()
        records = evaluate_safety(chosen, conversation, feedback, judge, limits)
        found: dict[str, Any] = {"set": str(path), "seconds": round(time.perf_counter() - started, 3)}
        try:
            check_safety(records, args.max_failed, str(path))
            counts = {"n_in_set": len(prompts), "n_unscored": len(prompts) - len(scored)}
            found["summary"] = counts | summarise_safety(records)
            print(f"{path.name}: {line(found['summary'])}, {found['seconds']:.1f} s", flush=True)
        except UserError as error:
            found |= {"summary": None, "error": str(error)}
            print(f"{path.name}: no score", flush=True)
        yield found | {"records": [asdict(record) for record in records]}


def write_sets(args: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """Write everything with the command, the device and how far the judge agrees with people.

    Raises:
        UserError: after writing, the first set's that has no score.
    """
    known = not args.guard and AGREEMENT.is_file()
    write_json(
        args.out,
        {
            "benchmark": "safety",
            "model": str(args.model),
            "feedback": args.feedback,
            "judge": args.guard or "refusal",
            "judge_agreement": read_agreement(AGREEMENT) if known else None,
            "command": shlex.join(["python", "-m", "genesis", *sys.argv[1:]]),
            "device": device(),
            "sets": results,
        },
    )
    print(f"→ {args.out}")
    for found in results:
        if "error" in found:
            raise UserError(found["error"])


def line(summary: dict[str, Any]) -> str:
    """A summary in one line: the rates that there are, then what is in none of them."""
    parts = []
    for name, words in SHOWN.items():
        found = summary["rates"][name]
        if found["n"]:
            ends = f"95 % {found['low']:.1%} to {found['high']:.1%}"
            parts.append(f"{words} {found['value']:.1%} of {found['n']} ({ends})")
    counts = ", ".join(f"{summary[name]} {name[2:]}" for name in ("n_failed", "n_unparsed", "n_unscored"))
    return "; ".join([*parts, counts])


def _part(folder: Path, name: str) -> Path | None:
    """One agent of a pair: its folder, or the model/ in it where it is a stage's out."""
    return next((path for path in (folder / name / "model", folder / name) if path.is_dir()), None)
