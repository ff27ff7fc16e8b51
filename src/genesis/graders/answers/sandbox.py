"""Run Python code against tests in a process of its own, with limits; for answers of models, not for hostile code.

What holds the code back:

- the kernel's limits on CPU time, memory, file size and open files; and on processes, for an ordinary user;
- a wall-clock limit, at which the process and its group are killed;
- an empty temporary folder, removed afterwards; an environment with nothing in it; no site-packages (`-S`);
- as root, a change to a user id that owns nothing else, where that user can read the Python installation;
- an audit hook that refuses sockets, processes, ctypes, signals to others, and files changed outside the folder;
- output goes nowhere, so it needs no limit; threads are refused.

Tests have passed only when the child hands back a random token, which it does after their last line: leaving early or
printing something proves nothing. What it does *not* hold back: files can be read (but for /proc), the tests run in the
same interpreter, so an answer can cheat by redefining what they use, and an audit hook is no security boundary against
a determined attacker (PEP 578). Run hostile code in a container or a virtual machine.
"""

import contextlib
import marshal
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from genesis.graders.answers.sandbox_child import READY

REPORT_BYTES = 8192
CHILD = Path(__file__).with_name("sandbox_child.py")


@dataclass(frozen=True)
class Limits:
    """What one run may use.

    Attributes:
        wall_s: seconds of wall time, start of the interpreter included.
        cpu_s: seconds of CPU time.
        memory_bytes: address space.
        file_bytes: size of any one file it writes.
        files: files open at once, and files opened for writing in all.
    """

    wall_s: float = 10.0
    cpu_s: int = 5
    memory_bytes: int = 512 * 2**20
    file_bytes: int = 2**20
    files: int = 64


LIMITS = Limits()


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `passed`, `failed` (the last line of the error), `timeout` or `memory`."""

    status: Literal["passed", "failed", "timeout", "memory"]
    detail: str
    seconds: float


class SandboxError(RuntimeError):
    """The sandbox could not run the code at all; says nothing about the code."""


def run_tests(code: str, tests: str, limits: Limits = LIMITS) -> Outcome:
    """Run the code, then the tests in the same namespace.

    Raises:
        SandboxError: the child process did not come up.
    """
    token = secrets.token_hex(16).encode()
    job = marshal.dumps({"code": code, "tests": tests, "token": token, **asdict(limits)})
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="genesis-", ignore_cleanup_errors=True) as folder:
        child = _start(folder)
        try:
            with contextlib.suppress(BrokenPipeError), child.stdin:
                child.stdin.write(job)
            report, exit_code = _report(child, started + limits.wall_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            complaint = child.stderr.read().decode(errors="replace")
            child.stdout.close()
            child.stderr.close()
            child.wait()
    if not report.startswith(READY):
        raise SandboxError(f"the child process did not start: {complaint.strip()[-500:] or 'no message'}")
    return _outcome(report.removeprefix(READY), token, exit_code, time.monotonic() - started, limits)


def in_parallel(function: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
    """`map` over threads, one a core: runs in the sandbox wait for their child processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(max_workers=cores) as pool:
        return list(pool.map(function, *arguments))


def _start(folder: str) -> subprocess.Popen:
    # The environment is all ours, so -I is spelt without -E: a fixed hash seed makes verdicts on set order repeatable.
    return subprocess.Popen(
        [sys.executable, "-s", "-P", "-S", "-B", "-X", "utf8", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={"HOME": folder, "TMPDIR": folder, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"},
        start_new_session=True,
    )


def _report(child: subprocess.Popen, deadline: float) -> tuple[bytes, int | None]:
    """What the child wrote, and its exit code; None where it had to be stopped."""
    poll = select.poll()
    poll.register(child.stdout, select.POLLIN)
    report = b""
    while len(report) < REPORT_BYTES and poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        chunk = os.read(child.stdout.fileno(), REPORT_BYTES)
        report += chunk
        if not chunk:
            break
    try:
        return report, child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return report, None


def _outcome(report: bytes, token: bytes, code: int | None, seconds: float, limits: Limits) -> Outcome:
    if token in report:
        return Outcome("passed", "", seconds)
    if code is None or code == -signal.SIGXCPU or (code == -signal.SIGKILL and seconds > limits.cpu_s):
        return Outcome("timeout", f"stopped after {seconds:.1f} s", seconds)
    if code == -signal.SIGKILL:
        return Outcome("memory", "killed by the kernel, as it does for want of memory", seconds)
    if code < 0:
        return Outcome("failed", f"ended by {signal.Signals(-code).name}", seconds)
    status, _, detail = report.decode(errors="replace").partition("\n")
    if status in ("failed", "memory") and detail:
        return Outcome(status, detail, seconds)
    return Outcome("failed", f"ended itself before the tests were through (exit code {code})", seconds)
