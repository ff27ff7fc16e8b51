"""The report in a folder of its own, with the commit it was made at: python -m genesis publish [--out public].

The pages in reports/ are a stage's out and name no commit, since the same files must give the same bytes; this copy does.
"""

import argparse
import subprocess
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--out", type=Path, default=Path(".cache/public"), help="the folder; its plots/ is emptied first"
    )
    parser.add_argument("--commit", help="what to show (default: the commit that is checked out)")


def run(args: argparse.Namespace) -> int:
    """Write and name the page."""
    from genesis.report.page import report

    report(Path("."), args.out, commit=args.commit or head())
    print(args.out / "index.html")
    return 0


def head() -> str:
    """The checked-out commit, and whether tracked files differ from it.

    Raises:
        UserError: this is no git repository, or it has no commit.
    """
    from genesis.common.errors import UserError

    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    if found.returncode:
        raise UserError(f"no commit to show ({found.stderr.strip().splitlines()[0]}); name one by --commit")
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD"]).returncode
    return found.stdout.strip() + (" with changes" if changed else "")
