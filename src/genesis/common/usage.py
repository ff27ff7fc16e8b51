"""What a stage used: wall time, tokens, FLOPs, peak memory and device, attempt by attempt.

`measured` wraps a stage's work. A heartbeat file outside DVC's outs is rewritten every second, so an attempt that is
killed leaves its time behind; the attempt that finishes reads what its forerunners left and writes them all to
usage.json: time of failed and interrupted attempts was paid for. Every attempt is appended to the ledger. Before the work and
while it goes on, the caps of section `budget` are checked (see `genesis.common.budget`).
"""

import contextlib
import copy
import errno
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genesis.common.budget import Guard, guard
from genesis.common.chat import write_json
from genesis.common.errors import BudgetError, UserError
from genesis.common.estimate import estimate
from genesis.common.mirror import Mirror, Training, mirrored
from genesis.common.params import load_params
from genesis.common.prices import Cost

STOP = "budget-stop.json"
HEARTBEAT_S = 1.0
LOOK_EVERY = 5
FULL_BYTES = 2**20


@dataclass
class Attempt:
    """One try at a stage's work; `outcome` is running, finished, failed or interrupted.

    `estimate_s` is what the whole work was expected to take when the attempt began, None where nothing was known.
    """

    started_at: str
    active_s: float = 0.0
    tokens: int = 0
    flops: float = 0.0
    outcome: str = "running"
    estimate_s: float | None = None


class Usage:
    """The running attempt: stages and callbacks add tokens and FLOPs; `folder` survives a kill and a DVC re-run."""

    def __init__(
        self,
        folder: Path,
        key: str,
        earlier: Sequence[Attempt] = (),
        guard: Guard | None = None,
        mirror: Mirror | None = None,
    ):
        self.guard, self.mirror = guard, mirror
        self.folder = folder
        self.key = key
        self.earlier = earlier
        self.attempt = Attempt(started_at=datetime.now(UTC).isoformat(timespec="seconds"))
        self.resumed = False
        self._started = time.perf_counter()
        self._path = folder / f"attempt-{time.time_ns()}.json"
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The stage, with its item, as DVC names it."""
        stage, item = self._path.parent.parts[-3:-1]  # a part's own folder lies deeper
        return stage if item == "_" else f"{stage}@{item}"

    @property
    def resume(self) -> Path:
        """Folder for checkpoints; what is found there was written by an attempt with the same params and deps."""
        return self.folder / "resume"

    def part(self, name: str) -> "Usage":
        """The same attempt with a resume folder of its own, for a stage that trains several models in turn."""
        view = copy.copy(self)
        view.folder = self.resume / name
        return view

    def add(self, tokens: int = 0, flops: float = 0.0) -> None:
        """Count work done by this attempt."""
        self.attempt.tokens += tokens
        self.attempt.flops += flops

    def saved(self) -> None:
        """A loop has written a whole checkpoint into `resume`: copy it to the mirror, if there is one."""
        if self.mirror:
            self.beat()
            self.mirror.push()

    def cap_reached(self) -> str | None:
        """One line about the budget cap that is reached, else None; cheap, for every step of a training loop.

        A loop that gets a line saves a checkpoint and raises BudgetError with it.
        """
        earlier_s = sum(attempt.active_s for attempt in self.earlier)
        return self.guard.reached(earlier_s + time.perf_counter() - self._started) if self.guard else None

    def beat(self, outcome: str = "running") -> None:
        """Write the attempt as it stands."""
        with self._lock:
            self.attempt.active_s = round(time.perf_counter() - self._started, 3)
            self.attempt.outcome = outcome
            write_json(self._path, asdict(self.attempt))

    def attempts(self) -> list[Attempt]:
        """Every attempt at this work so far, the running one last."""
        return [*self.earlier, self.attempt]


def dvc_root() -> Path:
    """The main repository's folder, also in a temporary DVC workspace."""
    return Path(os.environ.get("DVC_ROOT", "."))


def work_hash(params: Any, deps: list[Path]) -> str:
    """Hash of the parameters and of the contents of files and folders: what an interrupted attempt must share."""
    digest = hashlib.blake2b(digest_size=12)
    values = asdict(params) if is_dataclass(params) else params
    digest.update(json.dumps(values, sort_keys=True, default=str).encode())
    for dep in deps:
        for path in sorted(dep.rglob("*")) if dep.is_dir() else [dep]:
            if path.is_file():
                digest.update(str(path).encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


@contextlib.contextmanager
def measured(
    stage: str, item: str | None, out: Path, params: Any = None, deps: list[Path] | None = None
) -> Iterator[Usage]:
    """Measure the body of a stage and write `out`/usage.json when it succeeds.

    Args:
        stage: the stage's name.
        item: the agent or part it works on, None where there is one only.
        out: the stage's out; empty at the start, since a re-run by hand must not mix two runs. An earlier result comes
            back if this run fails.
        params, deps: what the result depends on besides code; they name the resume folder.

    A UserError or a full disk ends the process with one line and exit code 1; a BudgetError with one line, which also stands
    in .cache/budget-stop.json, and 3. What was used by then counts in the next attempt.
    """
    name = f"{stage}@{item}" if item else stage
    key = work_hash(params, deps or [])
    folder = dvc_root() / ".cache" / stage / (item or "_") / key
    try:
        if os.environ.get("RANK", "0") != "0":  # one of several processes of a launch: the first one measures for all
            yield Usage(folder, key)
            return
        with _locked(folder):
            with _emptied(out), mirrored(_mirror(), f"{stage}/{item or '_'}/{key}", folder) as mirror:
                watch = guard(stage, item, folder, dvc_root() / ".cache")
                usage = Usage(folder, key, _earlier(stage, item, folder), watch, mirror)
                _check_budget(stage, item, usage)
                with _attempt(stage, item, usage):
                    yield usage
                write_json(out / "usage.json", summary(stage, item, usage))
            shutil.rmtree(folder)
    except UserError as error:
        sys.exit(_say(f"{name}: {error}", 1))
    except BudgetError as error:
        note = {"stage": stage, "item": item, "said": str(error), "at": datetime.now(UTC).isoformat(timespec="seconds")}
        write_json(dvc_root() / ".cache" / STOP, note)
        sys.exit(_say(f"{name}: {error}", 3))
    except Exception as error:
        if not _disk_full(error):
            raise
        reason = str(error).strip().splitlines()[0]
        line = f"disk full while {name} was at work ({reason}); free space and run again: the stage resumes"
        sys.exit(_say(line, 1))


def _mirror() -> str | None:
    params = Path("params.yaml")
    return load_params(Training, "training").checkpoint_mirror if params.is_file() else None


def _check_budget(stage: str, item: str | None, usage: Usage) -> None:
    """Note what the work is expected to take, and refuse it where it would pass a cap."""
    if not Path("params.yaml").is_file():
        return
    expected = estimate(stage, item, load_params(Cost, "cost"), Path("."))
    usage.attempt.estimate_s = expected.seconds
    usage.guard.check_start(sum(attempt.active_s for attempt in usage.earlier), expected)


def summary(stage: str, item: str | None, usage: Usage) -> dict[str, Any]:
    """The contents of usage.json: sums over all attempts, and each of them."""
    attempts = usage.attempts()
    return {
        "stage": stage,
        "item": item,
        "started_at": attempts[0].started_at,
        "wall_s": usage.attempt.active_s,
        "active_s": round(sum(attempt.active_s for attempt in attempts), 3),
        "resumed": usage.resumed,
        "device": device(),
        "tokens": sum(attempt.tokens for attempt in attempts),
        "flops": sum(attempt.flops for attempt in attempts),
        "peak_memory_bytes": peak_memory_bytes(),
        "attempts": [asdict(attempt) for attempt in attempts],
    }


def device() -> dict[str, Any]:
    """Name and count of what computes; torch is asked only where the stage has imported it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return {"name": torch.cuda.get_device_name(), "count": torch.cuda.device_count()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"name": "cpu", "count": cores}


def peak_memory_bytes() -> int:
    """Peak device memory on a GPU, else the process's peak resident set."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def append_ledger(stage: str, item: str | None, key: str, attempt: Attempt) -> None:
    """Append one attempt to the git-ignored ledger; an exclusive lock lets stages run side by side."""
    path = dvc_root() / ".cache" / "ledger.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"stage": stage, "item": item, "key": key, "device": device(), **asdict(attempt)}
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(row, allow_nan=False) + "\n")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the work's lock; the system lets go of it when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is at work on {folder}; wait for it or stop it") from error
        yield


@contextlib.contextmanager
def _emptied(out: Path) -> Iterator[None]:
    """An empty folder for the body; what stood there before waits beside it and comes back if the body fails."""
    before = out.with_name(f".{out.name}.before")
    if out.exists() and not before.exists():  # after a kill `before` is the finished one and `out` a part
        out.rename(before)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        yield
    except BaseException:
        if before.exists():
            shutil.rmtree(out, ignore_errors=True)
            before.rename(out)
        raise
    shutil.rmtree(before, ignore_errors=True)


@contextlib.contextmanager
def _attempt(stage: str, item: str | None, usage: Usage) -> Iterator[None]:
    """Write the heartbeat while the body runs; then how it ended, there and in the ledger."""
    stop = threading.Event()
    beating = threading.Thread(target=_beat_until, args=(usage, stop), daemon=True)
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    beating.start()
    outcome = "failed"
    try:
        yield
        outcome = "finished"
    except (KeyboardInterrupt, SystemExit, BudgetError):
        outcome = "interrupted"
        raise
    finally:
        stop.set()
        beating.join()
        signal.signal(signal.SIGTERM, previous)
        with contextlib.suppress(OSError) if outcome != "finished" else contextlib.nullcontext():
            usage.beat(outcome)
            append_ledger(stage, item, usage.key, usage.attempt)


def _beat_until(usage: Usage, stop: threading.Event) -> None:
    for beat in itertools.count():
        if stop.is_set():
            return
        with contextlib.suppress(OSError):  # a full disk must not end the work; the last beat reports it
            usage.beat()
        if usage.guard and beat % LOOK_EVERY == 0:
            usage.guard.refresh()
        stop.wait(HEARTBEAT_S)


def _earlier(stage: str, item: str | None, folder: Path) -> list[Attempt]:
    """Earlier attempts at the same work; under its lock, one that is still marked running was killed."""
    attempts = []
    for path in sorted(folder.glob("attempt-*.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            attempt = Attempt(**{field.name: values[field.name] for field in fields(Attempt)})
        except (ValueError, KeyError):  # cut off by a power failure: no reason to refuse the work for ever
            continue
        if attempt.outcome == "running":
            attempt.outcome = "interrupted"
            write_json(path, asdict(attempt))
            append_ledger(stage, item, folder.name, attempt)
        attempts.append(attempt)
    return attempts


def _disk_full(error: BaseException | None) -> bool:
    """The error, or one that led to it, says so; torch and numpy do not say, but leave no space behind."""
    silent = isinstance(error, OSError | RuntimeError)
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return silent and any(shutil.disk_usage(path).free < FULL_BYTES for path in (Path("."), dvc_root()))


def _say(line: str, code: int) -> int:
    print(f"error: {line}", file=sys.stderr)
    return code


def _say_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """A stage reads its params before its measured part begins: a UserError there is one line, too."""
    if issubclass(kind, UserError):
        _say(str(error), 1)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _say_uncaught
