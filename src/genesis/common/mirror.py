"""A second copy of unfinished work, so that a machine that is lost loses one interval (`training.checkpoint_mirror`).

After each checkpoint the work folder (attempts and checkpoints) is hard-linked into a snapshot, and a thread uploads it with
fsspec to a folder or URL (s3://bucket/prefix): training does not wait, and a copy that fails is told once and counted. The files
of a version come first and the list of them last, so that a reader sees whole versions only. A machine that knows nothing of
the work takes the newest version before it starts; a finished work's copies are removed.
"""

import contextlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genesis.common.errors import UserError

SNAPSHOTS = "mirror"
LAST_COPY_S = 300.0


@dataclass
class Training:
    """Section `training`: what survives the machine.

    Attributes:
        checkpoint_mirror: folder or URL that resumable checkpoints are copied to; null keeps them here alone.
    """

    checkpoint_mirror: str | None = None


class Mirror:
    """The copies of one work folder under `url`/`name`.

    Raises:
        UserError: the URL's protocol is unknown, or needs a package that is not installed.
    """

    def __init__(self, url: str, name: str, folder: Path):
        from fsspec.core import url_to_fs

        local = {"auto_mkdir": True} if "://" not in url or url.startswith("file://") else {}
        try:
            self.files, base = url_to_fs(f"{url.rstrip('/')}/{name}", **local)
        except (ValueError, ImportError) as error:
            raise UserError(f"training.checkpoint_mirror: {url}: {error}") from error
        self.url, self.base, self.folder = url, base, folder
        self.copies = self.failed = 0
        self.waiting: Path | None = None
        self.changed = threading.Condition()
        self.closing = False
        self.thread = threading.Thread(target=self._copy_until_closed, daemon=True)

    def restore(self) -> bool:
        """Fill an empty work folder from the newest whole version; False where there is nothing to take or to fill.

        Raises:
            UserError: the mirror cannot be read, or a file is not as long as its list says.
        """
        shutil.rmtree(self.folder / SNAPSHOTS, ignore_errors=True)
        try:
            versions = self._versions()
            if not versions or any(self.folder.glob("attempt-*.json")):
                return False
            newest = versions[-1]
            sizes = json.loads(self.files.cat_file(f"{self.base}/{newest}.json"))
            part = self.folder / SNAPSHOTS / newest
            for path, size in sizes.items():
                (part / path).parent.mkdir(parents=True, exist_ok=True)
                self.files.get_file(f"{self.base}/{newest}/{path}", str(part / path))
                found = (part / path).stat().st_size
                if found != size:
                    raise OSError(f"{newest}/{path} has {found} of {size} bytes")
        except Exception as error:  # any library's: before the work begins, every one of them ends it
            raise UserError(
                f"training.checkpoint_mirror: {self.url}: cannot be read ({_first_line(error)}); mend it, or set it to null"
            ) from error
        for path in part.iterdir():
            path.rename(self.folder / path.name)
        return True

    def push(self) -> None:
        """Take a snapshot and leave it to the thread; an older one that still waits is dropped."""
        if not self.thread.is_alive():
            self.thread.start()
        snapshot = self.folder / SNAPSHOTS / f"{time.time_ns()}"
        try:
            ignored = shutil.ignore_patterns("lock", "*.part", SNAPSHOTS)
            shutil.copytree(self.folder, snapshot, copy_function=_link, ignore=ignored)
        except OSError as error:
            self._tell(error)
            return
        with self.changed:
            dropped, self.waiting = self.waiting, snapshot
            self.changed.notify()
        if dropped:
            shutil.rmtree(dropped, ignore_errors=True)

    def close(self) -> None:
        """Wait for the copy that is under way, and the one that waits."""
        if self.thread.is_alive():
            with self.changed:
                self.closing = True
                self.changed.notify()
            self.thread.join(LAST_COPY_S)
        if self.failed:
            print(f"checkpoint mirror: {self.failed} of {self.copies + self.failed} copies failed", file=sys.stderr)

    def remove(self) -> None:
        """Remove every copy."""
        try:
            if self.files.exists(self.base):
                self.files.rm(self.base, recursive=True)
        except Exception as error:
            self._tell(error)

    def _copy_until_closed(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.closing)
                snapshot, self.waiting = self.waiting, None
            if snapshot is None:
                return
            try:
                self._copy(snapshot)
                self.copies += 1
            except Exception as error:  # whatever a store does, training goes on
                self._tell(error)
            shutil.rmtree(snapshot, ignore_errors=True)

    def _copy(self, snapshot: Path) -> None:
        older = self._versions()
        sizes = {}
        for path in sorted(snapshot.rglob("*")):
            if path.is_file():
                name = path.relative_to(snapshot).as_posix()
                sizes[name] = path.stat().st_size
                self.files.put_file(str(path), f"{self.base}/{snapshot.name}/{name}")
        self.files.pipe_file(f"{self.base}/{snapshot.name}.json", json.dumps(sizes).encode())
        for version in older:
            self.files.rm(f"{self.base}/{version}.json")
            self.files.rm(f"{self.base}/{version}", recursive=True)

    def _versions(self) -> list[str]:
        """Whole versions, oldest first."""
        self.files.invalidate_cache()
        if not self.files.exists(self.base):
            return []
        names = [path.rsplit("/", 1)[-1] for path in self.files.ls(self.base, detail=False)]
        return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))

    def _tell(self, error: Exception) -> None:
        self.failed += 1
        if self.failed == 1:
            print(f"checkpoint mirror: {self.url}: {_first_line(error)}; training goes on", file=sys.stderr)


@contextlib.contextmanager
def mirrored(url: str | None, name: str, folder: Path) -> Iterator[Mirror | None]:
    """Restore `folder` if it is empty; afterwards finish the last copy, and remove all copies if the body succeeds."""
    if not url:
        yield None
        return
    mirror = Mirror(url, name, folder)
    mirror.restore()
    try:
        yield mirror
    except BaseException:
        mirror.close()
        raise
    mirror.close()
    mirror.remove()


def _link(source: str, target: str) -> None:
    """A hard link costs nothing and outlives the checkpoint's rotation; some file systems have none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
