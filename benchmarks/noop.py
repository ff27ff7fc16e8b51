"""How long `dvc repro` takes where nothing changed, beside the same on an empty pipeline of 40 stages.

    python benchmarks/noop.py [--runs 5]

The empty pipeline's stages only write a file each; what it takes is DVC's own. Prints both medians and the ratio. Run it on a
finished repository: a stage that would run is an error here.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

DVC = [sys.executable, "-m", "dvc"]


def main() -> int:
    """Measure both; 1 where the repository is not finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--stages", type=int, default=40)
    args = parser.parse_args()
    root = Path(__file__).parents[1]
    planned = subprocess.run([*DVC, "repro", "--dry"], cwd=root, capture_output=True, text=True, check=True).stdout
    if "Running stage" in planned:
        print("not run: this repository is not finished; run `make repro` first")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        empty = make_empty(Path(folder), args.stages)
        taken = {"this repository": [], f"{args.stages} empty stages": []}
        for _ in range(args.runs):
            for name, where in zip(taken, (root, empty), strict=True):
                taken[name].append(repro_seconds(where))
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    for name, median in medians.items():
        print(f"{name:<20}{median:>7.2f} s  (of {args.runs}: {min(taken[name]):.2f} to {max(taken[name]):.2f})")
    ours, bare = medians.values()
    print(f"ratio               {ours / bare:>7.2f}")
    return 0


def make_empty(folder: Path, stages: int) -> Path:
    """A finished pipeline whose stages each write their own name."""
    block = {f"stage{k}": {"cmd": f"echo {k} > out{k}", "outs": [f"out{k}"]} for k in range(stages)}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": block}), encoding="utf-8")
    subprocess.run([*DVC, "init", "--no-scm", "--quiet"], cwd=folder, check=True)
    subprocess.run([*DVC, "repro", "--quiet"], cwd=folder, check=True)
    return folder


def repro_seconds(where: Path) -> float:
    """Wall time of one `dvc repro`."""
    started = time.perf_counter()
    subprocess.run([*DVC, "repro", "--quiet"], cwd=where, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
