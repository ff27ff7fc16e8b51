"""Safety: how often a chat model, or the pair, helps with unsafe prompts and refuses harmless ones.

python -m genesis safety models/waltz/rl --set xstest_prompts.csv --set oktest.csv --out safety.json
"""

import argparse
from pathlib import Path

GUARD_FORMATS = {"wildguard": "wildguard", "llamaguard": "llama_guard"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    from genesis.evals.harness import positive

    parser.add_argument("model", help="a chat model (folder or hub name), or a folder with conversation/ and feedback/")
    parser.add_argument(
        "--set", type=Path, action="append", required=True, dest="sets", help="a prompt list; may be given again"
    )
    parser.add_argument("--feedback", help="a feedback agent for the model (default: the pair's own, else none)")
    parser.add_argument("--max", type=positive, help="only so many prompts of each label, spread over the set")
    parser.add_argument("--max-tokens", type=positive, default=256, help="longest answer (default %(default)s)")
    parser.add_argument("--feedback-max-tokens", type=positive, default=128, help="longest feedback (default 128)")
    parser.add_argument("--batch-size", type=positive, default=32, help="answers generated at once (default 32)")
    parser.add_argument("--max-failed", type=share, default=0.02, help="share that may fail (default %(default)s)")
    parser.add_argument("--guard", help="a guard model as the judge (default: the refusal grader)")
    parser.add_argument("--guard-format", choices=GUARD_FORMATS, default="wildguard", help="how the guard is asked")
    parser.add_argument(
        "--plain", action="store_true", help="'User: …' and 'Assistant:' for a model without chat template"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the summaries and every record")


def share(text: str) -> float:
    """An argument between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, found {text!r}")
    return value


def run(args: argparse.Namespace) -> None:
    """Load, play every set, print a line each, write."""
    from genesis.evals.safety import Limits
    from genesis.evals.safety_report import load_agents, score_sets, write_sets
    from genesis.graders.judging import make_judge

    judge = make_judge(args.guard or "", GUARD_FORMATS[args.guard_format])
    conversation, feedback = load_agents(args)
    limits = Limits(args.max_tokens, args.feedback_max_tokens)
    write_sets(args, list(score_sets(args, conversation, feedback, judge, limits)))
