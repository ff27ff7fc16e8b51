"""HumanEval: complete Python functions, graded by their unit tests in the sandbox.

python -m genesis humaneval MODEL --file humaneval.jsonl.gz --out humaneval.json
python -m genesis humaneval MODEL --file humaneval.jsonl.gz --samples 20 --k 1,10 --out humaneval.json
"""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    from genesis.evals.harness import common_arguments, positive

    common_arguments(parser, max_tokens=512)
    parser.add_argument("--samples", type=positive, default=1, help="answers a task; one is greedy (default 1)")
    parser.add_argument("--k", type=_ks, default=(1,), help="the k of pass@k, such as 1,10 (default 1)")
    parser.add_argument("--temperature", type=float, default=0.8, help="of several samples (default 0.8)")
    parser.add_argument("--seed", type=int, default=0, help="of the first sample (default 0)")
    parser.add_argument("--plain", action="store_true", help="let a base model continue the bare prompt")


def run(args: argparse.Namespace) -> None:
    """Load, evaluate, write."""
    import time

    from genesis.evals.harness import load_sampler, write_report
    from genesis.evals.humaneval import PLAIN_TEMPLATE, evaluate_humaneval, read_humaneval

    rows = read_humaneval(args.file)[: args.max]
    sampler = load_sampler(args, PLAIN_TEMPLATE if args.plain else None)
    started = time.perf_counter()
    records, summary = evaluate_humaneval(
        sampler,
        rows,
        max_tokens=args.max_tokens,
        samples=args.samples,
        ks=args.k,
        temperature=args.temperature,
        seed=args.seed,
        plain=args.plain,
    )
    write_report("humaneval", args, records, summary, time.perf_counter() - started)


def _ks(text: str) -> tuple[int, ...]:
    from genesis.evals.harness import positive

    return tuple(sorted({positive(part) for part in text.split(",")}))
