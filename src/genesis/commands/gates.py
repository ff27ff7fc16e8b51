"""The table of gates: target, value, verdict: python -m genesis gates [--require core agent_accuracy].

Exit code 1 where a required gate is not met or not measured, for CI.
"""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--require", nargs="+", default=[], metavar="NAME", help="gates that must be met")
    parser.add_argument("--file", type=Path, default=Path("metrics/gates.json"), help="what the cost stage wrote")


def run(args: argparse.Namespace) -> int:
    """Print, then check what is required."""
    import sys

    from genesis.common.jsonfile import read_json
    from genesis.costs.gates import table, unmet

    gates = read_json(args.file)
    missed = unmet(gates, args.require)
    print(table(gates))
    for name in missed:
        print(f"gate {name}: {gates[name]['verdict']}", file=sys.stderr)
    return 1 if missed else 0
