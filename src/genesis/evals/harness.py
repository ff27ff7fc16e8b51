"""What the generative benchmarks share: the score without contaminated items, the sampler, the report file."""

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesis.common.chat import write_json
from genesis.common.errors import UserError
from genesis.common.usage import device
from genesis.evals.records import Record, summarise
from genesis.sampling import TransformersSampler

Summarise = Callable[[list[Record]], dict[str, Any]]


def clean_score(records: list[Record], score: Summarise = summarise) -> dict[str, Any]:
    """The second score, over the records whose `meta["contaminated"]` is false; nulls where it was not looked for."""
    marks = [(record.meta or {}).get("contaminated") for record in records]
    if None in marks:
        return {"n_contaminated": None, "clean_accuracy": None, "clean_interval": None}
    clean = score([record for record, mark in zip(records, marks, strict=True) if not mark])
    return {
        "n_contaminated": sum(marks),
        "clean_accuracy": clean["accuracy"],
        "clean_interval": clean["interval"],
    }


def common_arguments(parser: argparse.ArgumentParser, max_tokens: int) -> None:
    """The options that every generative benchmark has."""
    parser.add_argument("model", help="a model folder or hub name")
    parser.add_argument("--file", type=Path, required=True, help="the benchmark's rows, .jsonl or .jsonl.gz")
    parser.add_argument("--max", type=positive, help="only the first so many rows")
    parser.add_argument("--max-tokens", type=positive, default=max_tokens, help="longest answer (default %(default)s)")
    parser.add_argument("--batch-size", type=positive, default=32, help="answers generated at once (default 32)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the summary and every record")


def positive(text: str) -> int:
    """An argument that is a whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above zero, found {text!r}")
    return int(text)


def load_sampler(args: argparse.Namespace, template: str | None = None) -> TransformersSampler:
    """Load the model that a command names; `template` replaces its chat template.

    Raises:
        UserError: the model cannot be loaded, or has no chat template and none is given; or `--out` is a folder.
    """
    if args.out.is_dir():
        raise UserError(f"{args.out}: is a folder; --out takes the name of a file")
    sampler = TransformersSampler.load(args.model, args.batch_size)
    if template is not None:
        sampler.tokenizer.chat_template = template
    if not sampler.tokenizer.chat_template:
        raise UserError(f"{args.model}: the tokenizer has no chat template; use --plain for a base model")
    return sampler


def write_report(
    benchmark: str, args: argparse.Namespace, records: list[Record], summary: dict[str, Any], seconds: float
) -> None:
    """Write the summary and every record with the command and the device, and print the summary in one line."""
    write_json(
        args.out,
        {
            "benchmark": benchmark,
            "model": str(args.model),
            "file": str(args.file),
            "command": shlex.join(["python", "-m", "genesis", *sys.argv[1:]]),
            "device": device(),
            "seconds": round(seconds, 3),
            "summary": summary,
            "records": [asdict(record) for record in records],
        },
    )
    print(f"{benchmark}: {_share(summary)}, {seconds:.1f} s → {args.out}")


def _share(summary: dict[str, Any]) -> str:
    counts = f"{summary['n']} answers, {summary['n_unparsed']} unparsed, {summary['n_failed']} failed"
    if summary["accuracy"] is None:
        return f"no score: {counts}"
    low, high = summary["interval"]
    return f"{summary['accuracy']:.1%} right (95 % {low:.1%} to {high:.1%}), {counts}"
