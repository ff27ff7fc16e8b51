"""Write the pull request comment in Markdown: python -m genesis pr-comment --base main [--out FILE].

Compares the work tree with the commit where it left the base: gates that flipped, metrics that moved beyond noise,
parameters, what ran again, what it cost, and plots. Reads git alone; exit code 1 where a file is damaged.
"""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--base", default="main", help="branch, tag or commit to compare with")
    parser.add_argument("--out", type=Path, help="where to write (default: the terminal)")
    parser.add_argument("--repository", metavar="URL", help="web address that images are linked from, at their commits")


def run(args: argparse.Namespace) -> None:
    """Write or print the text."""
    from genesis.report.pull_request.comment import comment

    text = comment(Path(), args.base, args.repository.rstrip("/") if args.repository else None)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
