"""Check that params.yaml, dvc.lock and metrics/ are fresh, without data: python -m genesis fresh [--as-committed].

Exit code 1 names every stale stage and what changed, and every value of params.yaml that conf/ does not compose. CI runs
it on each pull request; `--as-committed` is for an experiment's branch, whose params.yaml differs from conf/ by design.
"""

import argparse
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--as-committed", action="store_true", help="do not compare params.yaml with conf/")


def run(args: argparse.Namespace) -> int:
    """Print what is stale; 1 if anything is."""
    from genesis.report.pull_request.drift import default_drift
    from genesis.report.pull_request.freshness import said, stale_stages

    drift = {} if args.as_committed else default_drift(Path())
    stale = stale_stages(Path())
    for name, (composed, found) in drift.items():
        print(f"params.yaml: {name}: {found!r}, but conf/ composes {composed!r}", file=sys.stderr)
    if stale:
        print(said(stale), file=sys.stderr)
        print("run `dvc repro` and commit dvc.lock, metrics/ and reports/", file=sys.stderr)
    if drift:
        print("write the values into conf/ and run `make params`", file=sys.stderr)
    if not drift and not stale:
        print("fresh: dvc.lock, metrics/ and reports/ are what code, data and parameters give")
    return 1 if drift or stale else 0
