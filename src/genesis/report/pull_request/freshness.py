"""Whether dvc.lock and metrics/ are what the committed code, data and parameters give, without the data itself.

Two looks that must agree: `dvc repro --dry --allow-missing`, which names one stale stage or fails at it, and `dvc status`,
which names all with their reasons but also what is merely not pulled; that is no reason. An out that git keeps
(`cache: false`) must be there: --allow-missing would let its absence pass.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genesis.common.errors import UserError

NAMED = re.compile(r"^(?:Running stage '(?P<run>[^']+)'|ERROR: failed to reproduce '(?P<failed>[^']+)')", re.MULTILINE)
SHOWN = 4  # reasons a stage


def stale_stages(root: Path) -> dict[str, list[str]]:
    """Stages that `dvc repro` would run again, with what changed; empty where all is fresh.

    Raises:
        UserError: no dvc.lock, or a pipeline that DVC cannot read.
    """
    if not (root / "dvc.lock").is_file():
        raise UserError(f"{root / 'dvc.lock'}: no such file; run `dvc repro` and commit it with metrics/ and reports/")
    stale = _status(root)
    for name in _dry_run(root):
        stale.setdefault(name, ["dvc repro would run it"])
    return stale


def said(stale: dict[str, list[str]]) -> str:
    """One line a stage."""
    return "\n".join(f"stale: {name}: {_few(reasons)}" for name, reasons in stale.items())


def _dry_run(root: Path) -> list[str]:
    command = [sys.executable, "-m", "dvc", "repro", "--dry", "--allow-missing"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    named = [found["run"] or found["failed"] for found in NAMED.finditer(output)]
    if done.returncode and not named:
        raise UserError(f"dvc repro --dry: {output.strip().splitlines()[-1] if output.strip() else 'failed'}")
    return named


def _status(root: Path) -> dict[str, list[str]]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            outs = {out.def_path: out.use_cache for stage in repo.index.stages for out in stage.outs}
            found = repo.status()
    except DvcException as error:
        raise UserError(f"dvc status: {error}") from error
    stale = {stage: list(_reasons(changes, outs)) for stage, changes in found.items()}
    return {stage: reasons for stage, reasons in stale.items() if reasons}


def _reasons(changes: list[Any], outs: dict[str, bool]) -> Iterator[str]:
    """What changed in one stage, leaving out what is only not on this machine."""
    for change in changes:
        if isinstance(change, str):
            yield change
            continue
        for kind, paths in change.items():
            for path, state in paths.items():
                if isinstance(state, dict):
                    yield from (f"{path}: {key} {how}" for key, how in state.items())
                elif kind == "changed outs":
                    if state == "modified" or not outs.get(path, True):
                        yield f"{path} {state}"
                elif state != "deleted" or not _made(path, outs):
                    yield f"{path} {state}"


def _made(path: str, outs: dict[str, bool]) -> bool:
    """Whether a stage makes this path, a folder around it or something in it, to be pulled or made again."""
    return any(path == out or path.startswith(f"{out}/") or out.startswith(f"{path}/") for out in outs if outs[out])


def _few(reasons: list[str]) -> str:
    more = len(reasons) - SHOWN
    return "; ".join(reasons[:SHOWN]) + (f"; {more} more" if more > 0 else "")
