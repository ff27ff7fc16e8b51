"""Refresh the table of gates in README.md from metrics/gates.json: python -m genesis readme [--check].

Run it after the run whose metrics are committed; --check changes nothing and exits 1 where the table is out of date.
"""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--file", type=Path, default=Path("README.md"), help="the text with the two marks")
    parser.add_argument("--gates", type=Path, default=Path("metrics/gates.json"), help="what the cost stage wrote")
    parser.add_argument("--check", action="store_true", help="only say whether the table is up to date")


def run(args: argparse.Namespace) -> int:
    """Rewrite what stands between the marks."""
    from genesis.report.readme import refreshed

    before = args.file.read_text(encoding="utf-8")
    after = refreshed(before, args.gates)
    if args.check:
        print(f"{args.file}: {'up to date' if after == before else 'out of date; run python -m genesis readme'}")
        return int(after != before)
    args.file.write_text(after, encoding="utf-8")
    return 0
