"""Compose conf/ into params.yaml: python -m genesis params profile=smoke pretrain.steps=50."""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, as for dvc exp run -S")
    parser.add_argument("--out", type=Path, default=Path("params.yaml"))


def run(args: argparse.Namespace) -> None:
    """Write the file through DVC's own Hydra composition, so that both agree.

    Raises:
        UserError: an override or a file in conf/ that Hydra refuses.
    """
    from genesis.report.pull_request.drift import compose

    compose(Path(), args.out, args.overrides)
