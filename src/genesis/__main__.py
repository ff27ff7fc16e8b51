"""The command line: python -m genesis COMMAND …; each command is one file in genesis/commands/."""

import argparse
import importlib
import pkgutil
import sys

from genesis import commands
from genesis.common.errors import BudgetError, UserError


def main(argv: list[str]) -> int:
    """Run one command; 0 done, 1 bad input or a check that failed, 2 wrong usage, 3 a budget cap."""
    names = sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__))
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m genesis COMMAND …\n")
        for name in names:
            print(f"  {name:<14}{(load(name).__doc__ or '').splitlines()[0]}")
        return 0 if argv else 2
    if argv[0] not in names:
        print(f"error: no command '{argv[0]}'; expected one of {', '.join(names)}", file=sys.stderr)
        return 2
    command = load(argv[0])
    parser = argparse.ArgumentParser(
        prog=f"python -m genesis {argv[0]}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.arguments(parser)
    try:
        return command.run(parser.parse_args(argv[1:])) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BudgetError as error:
        print(f"budget: {error}", file=sys.stderr)
        return 3


def load(name: str):
    """Import one command's module; the modules import what is heavy inside `run`."""
    return importlib.import_module(f"genesis.commands.{name.replace('-', '_')}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
