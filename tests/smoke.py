"""A fresh clone that runs the pipeline with the smoke profile, cut off from the network."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from imports import ROOT

OFFLINE = ROOT / "tests/offline"


@dataclass
class Clone:
    """A clone and what became of its pipeline.

    Attributes:
        root: its folder.
        said: what its first run printed.
        seconds: how long that took.
    """

    root: Path
    said: str = ""
    seconds: float = 0.0

    @property
    def network_log(self) -> Path:
        """One line for every attempt to leave the machine; absent where there was none."""
        return self.root.parent / f"{self.root.name}-network.log"

    def run(self, *command: str) -> str:
        """Run a Python module in the clone with the clone's own code, offline; what it printed.

        Raises:
            AssertionError: it failed; holds what it printed.
        """
        path = {"PYTHONPATH": f"{self.root / 'src'}{os.pathsep}{OFFLINE}"}
        path["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        left_out = {"DVC_ROOT", "RANK", "PYTEST_CURRENT_TEST"}
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        done = subprocess.run(
            [*_no_network(), sys.executable, "-m", *command],
            cwd=self.root,
            env={**environment, **path, "GENESIS_NETWORK_LOG": str(self.network_log)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-6000:]}"
        return done.stdout

    def repro(self) -> set[str]:
        """Bring the pipeline up to date; the names of the stages that ran."""
        return stages_run(self.run("dvc", "repro"))

    def copy(self, to: Path) -> "Clone":
        """The same clone in another folder, to be changed."""
        shutil.copytree(self.root, to, symlinks=True)
        return Clone(to)


def make_clone(folder: Path) -> Clone:
    """Clone the working repository's last commit, compose the smoke profile and run the whole pipeline."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    clone = Clone(folder)
    clone.run("genesis", "params", "profile=smoke")
    started = time.perf_counter()
    clone.said = clone.run("genesis", "repro", "--jobs", "2")
    clone.seconds = time.perf_counter() - started
    return clone


def stages_run(said: str) -> set[str]:
    """Names of the stages that a `dvc repro` says it ran."""
    return set(re.findall(r"Running stage '([^']+)'", said))


def _no_network() -> list[str]:
    """A prefix that gives a command a network of its own without any interface, where this machine allows that."""
    prefix = ["unshare", "--net"]
    if shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
        return prefix
    return []
