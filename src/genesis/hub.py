"""Rows of hub data sets, streamed, with the revision pinned so that a run can be repeated."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genesis.common.errors import UserError

COMMIT = re.compile(r"[0-9a-f]{40}")


def stream(path: str, config: str | None, split: str, revision: str | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of one split of a hub data set, or of a local folder in the hub's layout.

    Raises:
        UserError: a hub set whose revision is not a commit, or a set that cannot be read.
    """
    local = Path(path).is_dir()
    if not local and not COMMIT.fullmatch(revision or ""):
        raise UserError(
            f"{path}: no such folder, and a hub data set needs its `revision` pinned to a commit (40 hex digits), "
            f"found {revision!r}: else no run can be repeated"
        )
    import httpx
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        yield from load_dataset(path, config, split=split, revision=None if local else revision, streaming=True)
    except (OSError, ValueError, DatasetsError, httpx.HTTPError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{path}: cannot read split '{split}' ({reason})") from error
