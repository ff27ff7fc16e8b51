"""Check this machine and clone: versions, device, memory, disk, remote, data; says the fix for every ✗."""

import argparse
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from genesis.agents import agent_names, load_agent
from genesis.common.chat import read_text
from genesis.common.errors import UserError
from genesis.common.params import read_yaml

GB = 1024**3
LEAST_MEMORY_GB, LEAST_DISK_GB = 4, 5
_PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", re.MULTILINE)


@dataclass(frozen=True)
class Check:
    """One line: whether it is as needed, what was found, and how to mend it; `needed` ones decide the exit code."""

    ok: bool
    what: str
    fix: str = ""
    needed: bool = True


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""


def run(args: argparse.Namespace) -> int:
    """Print one line a check; 1 if anything that the profile needs is missing."""
    params = read_yaml(Path("params.yaml"))
    gpu_profile = bool(params.get("compute", {}).get("bf16"))
    checks = [
        *_python(),
        *_pins(Path("requirements.txt"), needed=True),
        *_machine(gpu_profile),
        *_remote(),
        *_data(params),
        *_pins(Path("requirements-gpu.txt"), needed=False),
    ]
    for check in checks:
        mark = "✓" if check.ok else "✗" if check.needed else "-"
        print(f"{mark} {check.what}" + (f"\n    fix: {check.fix}" if check.fix and not check.ok else ""))
    broken = sum(not check.ok and check.needed for check in checks)
    print(f"\n{broken} to mend" if broken else "\nready")
    return 1 if broken else 0


def _python() -> Iterator[Check]:
    found = platform.python_version()
    yield Check(sys.version_info[:2] == (3, 11), f"Python {found} (pinned: 3.11)", "make .venv with python3.11")


def _pins(path: Path, needed: bool) -> Iterator[Check]:
    for name, version in _PIN.findall(read_text(path)):
        try:
            found = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            found = "not installed"
        what = f"{name} {found}" + ("" if found == version else f" (pinned: {version})")
        yield Check(found == version, what, f"pip install -r {path}", needed)


def _machine(gpu_profile: bool) -> Iterator[Check]:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count()))
        yield Check(True, f"device: {names}")
    else:
        fix = "use a machine with a GPU, or `make params PROFILE=cpu`"
        yield Check(not gpu_profile, f"device: {psutil.cpu_count()} CPU cores, no GPU", fix)
    memory = psutil.virtual_memory().available / GB
    yield Check(memory >= LEAST_MEMORY_GB, f"memory: {memory:.1f} GB free", f"free {LEAST_MEMORY_GB} GB")
    disk = shutil.disk_usage(".").free / GB
    yield Check(disk >= LEAST_DISK_GB, f"disk: {disk:.1f} GB free", f"free {LEAST_DISK_GB} GB here, or dvc gc -w")


def _remote() -> Iterator[Check]:
    command = [sys.executable, "-m", "dvc", "remote", "list"]
    known = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    fix = "dvc remote add -d storage s3://BUCKET/PATH (needed only to share results)"
    yield Check(bool(known), f"DVC remote: {known.splitlines()[0] if known else 'none'}", fix, needed=False)


def _data(params: dict) -> Iterator[Check]:
    try:
        agents = {name: load_agent(name) for name in agent_names()}
    except UserError as error:
        yield Check(False, f"agents: {error}", "mend the file named")
        return
    sections = [params.get(section) or {} for section in ("corpus", "chat")]
    sources = [source for section in sections for source in section.get("sources") or []]
    wanted = [source["path"] for source in sources if source.get("kind", "folder") == "folder" and "path" in source]
    for agent in agents.values():
        wanted += [source.path for source in agent.sources if source.kind != "hub"]
        wanted += [path for path in (agent.scenarios, agent.gsm8k, agent.humaneval) if path]
    missing = sorted({path for path in wanted if not Path(path).exists()})
    total = len(set(wanted))
    fix = f"bring {', '.join(missing[:5])} (dvc pull, dvc add)"
    yield Check(not missing, f"data: {total - len(missing)} of {total} inputs present", fix)
