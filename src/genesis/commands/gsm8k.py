"""GSM8K: grade-school word problems, graded by the final number.

python -m genesis gsm8k MODEL --file gsm8k_test.jsonl.gz --out gsm8k.json
"""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    from genesis.evals.harness import common_arguments, positive

    common_arguments(parser, max_tokens=400)
    parser.add_argument("--shots", type=positive, default=0, help="worked examples in front of each question")
    parser.add_argument(
        "--shots-file",
        type=Path,
        help="rows to take them from (default: the first of --file, which are not scored then)",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="'Question: …' and 'Answer:' instead of the chat template, for a base model",
    )


def run(args: argparse.Namespace) -> None:
    """Load, evaluate, write."""
    import time

    from genesis.evals.gsm8k import PLAIN_TEMPLATE, evaluate_gsm8k, read_gsm8k
    from genesis.evals.harness import load_sampler, write_report

    rows = read_gsm8k(args.file)
    examples = read_gsm8k(args.shots_file) if args.shots_file else None
    held_out = args.shots if examples is None else 0
    rows = rows[: args.max + held_out] if args.max else rows
    sampler = load_sampler(args, PLAIN_TEMPLATE if args.plain else None)
    started = time.perf_counter()
    records, summary = evaluate_gsm8k(sampler, rows, shots=args.shots, examples=examples, max_tokens=args.max_tokens)
    write_report("gsm8k", args, records, summary, time.perf_counter() - started)
