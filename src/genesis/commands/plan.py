"""Before a run: what would run, hours and dollars, budgets and savings: python -m genesis plan."""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""


def run(args: argparse.Namespace) -> None:
    """Ask DVC, then print."""
    from genesis.costs.pending import steps
    from genesis.costs.plan import plan, table

    print(table(plan(steps(Path(".")))))
