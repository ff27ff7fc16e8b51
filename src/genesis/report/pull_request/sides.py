"""The two sides of a pull request: the commit where the branch left its base, read through git, and the work tree.

Nothing here needs a network or a DVC remote: what a pull request compares (metrics, params, dvc.lock, plots) is in git.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genesis.common.errors import UserError
from genesis.common.jsonfile import parse_json


@dataclass(frozen=True)
class Side:
    """One state of the repository; `commit` None is the work tree."""

    root: Path
    commit: str | None
    name: str

    def content(self, path: str) -> bytes | None:
        """A file's bytes; None where this side has no such file."""
        if self.commit is None:
            return (self.root / path).read_bytes() if (self.root / path).is_file() else None
        found = _git(self.root, "show", f"{self.commit}:{path}")
        return None if found.returncode else found.stdout

    def text(self, path: str) -> str | None:
        """A file's text; None where this side has no such file.

        Raises:
            UserError: not UTF-8.
        """
        content = self.content(path)
        try:
            return None if content is None else content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.where(path)}: not UTF-8 ({error.reason})") from error

    def json(self, path: str) -> dict[str, Any] | None:
        """A strict JSON object; None where this side has no such file.

        Raises:
            UserError: damaged; names side and file.
        """
        text = self.text(path)
        return None if text is None else parse_json(self.where(path), text)

    def yaml(self, path: str) -> dict[str, Any]:
        """A YAML mapping; empty where this side has no such file.

        Raises:
            UserError: damaged; names side and file.
        """
        try:
            found = yaml.load(self.text(path) or "", Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
        except yaml.YAMLError as error:
            raise UserError(f"{self.where(path)}: not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(found, dict):
            raise UserError(f"{self.where(path)}: expected a mapping, found {type(found).__name__}")
        return found

    def files(self, folder: str) -> set[str]:
        """Paths of the files in a folder, relative to the root."""
        if self.commit is None:
            return {
                path.relative_to(self.root).as_posix() for path in (self.root / folder).rglob("*") if path.is_file()
            }
        listed = _git(self.root, "ls-tree", "-r", "-z", "--name-only", self.commit, "--", folder).stdout
        return set(filter(None, listed.decode("utf-8").split("\0")))

    def where(self, path: str) -> str:
        """The file as an error names it."""
        return path if self.commit is None else f"{self.name}:{path}"


def both_sides(root: Path, base: str) -> tuple[Side, Side]:
    """The commit where HEAD left `base` (GitHub's three-dot comparison), and the work tree.

    Raises:
        UserError: no git repository, or no such commit; says how to get it.
    """
    if _git(root, "rev-parse", "--git-dir").returncode:
        raise UserError(f"{root.resolve()}: not a git repository; run this in a clone")
    commit = _line(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    if not commit:
        raise UserError(
            f"--base {base}: no such commit here; bring it (`git fetch origin {base}:{base}`) or name another"
        )
    fork = _line(root, "merge-base", commit, "HEAD") or commit
    return Side(root, fork, base), Side(root, None, "this branch")


def head_commit(root: Path) -> str:
    """The commit that is checked out."""
    return _line(root, "rev-parse", "HEAD")


def uncommitted(root: Path, path: str) -> bool:
    """Whether a file differs from the commit that is checked out."""
    return bool(_line(root, "status", "--porcelain", "--", path))


def _line(root: Path, *args: str) -> str:
    return _git(root, *args).stdout.decode("utf-8").strip()


def _git(root: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(root), *args], capture_output=True, check=False)
