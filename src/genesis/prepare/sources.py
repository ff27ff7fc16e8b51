"""Documents from Python itself, from folders and from hub data sets."""

import ast
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from genesis.common.chat import read_jsonl, read_parquet, read_text
from genesis.common.errors import UserError

SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")
COMPRESSED = (".gz", ".xz", ".bz2", ".zst")


@dataclass
class Source:
    """One origin of text.

    Attributes:
        kind: python, folder or hub.
        weight: share of the documents kept (below 1) or how often each is repeated in training (above 1).
        part: for python: prose (documentation topics and docstrings) or code (the standard library's text).
        path: for folder: a folder or file; for hub: the data set's name or local folder.
        config, split, revision: for hub; a revision must be pinned unless `path` is a local folder.
        text: the column or field that holds the text.
        max_documents: stop after so many; 0 for all.
    """

    kind: str
    weight: float = 1.0
    part: str = "prose"
    path: str = ""
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    text: str = "text"
    max_documents: int = 0

    @property
    def name(self) -> str:
        """How statistics and shards call it."""
        return f"python/{self.part}" if self.kind == "python" else f"{self.kind}/{self.path}"


def documents(source: Source) -> Iterator[str]:
    """Yield a source's documents, in an order that is the same on every run.

    Raises:
        UserError: unknown kind, nothing at the path, text that is not UTF-8, a row without the text field.
    """
    readers = {"python": _python, "folder": _folder, "hub": _hub}
    if source.kind not in readers:
        raise UserError(f"corpus.sources: unknown kind '{source.kind}'; expected one of {', '.join(readers)}")
    yield from islice(readers[source.kind](source), source.max_documents or None)


def _python(source: Source) -> Iterator[str]:
    if source.part not in ("prose", "code"):
        raise UserError(f"corpus.sources: python part '{source.part}'; expected prose or code")
    if source.part == "prose":
        from pydoc_data.topics import topics

        yield from (topics[name] for name in sorted(topics))
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        inside = path.relative_to(library).parts
        if {"site-packages", "test", "tests", "idle_test", "lib2to3", "pydoc_data"} & set(inside):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # the library keeps a few files in other encodings on purpose
            continue
        yield text if source.part == "code" else _docstrings(text)


def _docstrings(code: str) -> str:
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(ast.parse(code)) if isinstance(node, nodes))
    return "\n\n".join(doc for doc in found if doc and len(doc) > 40)


def _folder(source: Source) -> Iterator[str]:
    root = Path(source.path)
    paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    paths = [path for path in paths if _plain_suffix(path) in SUFFIXES]
    if not paths:
        raise UserError(
            f"corpus.sources: {root}: no file of {', '.join(SUFFIXES)} (each plain or with {', '.join(COMPRESSED)})"
        )
    for path in paths:
        yield from _file(path, source.text)


def _file(path: Path, field: str) -> Iterator[str]:
    suffix = _plain_suffix(path)
    if suffix not in (".jsonl", ".parquet"):
        yield read_text(path)
        return
    for number, row in read_jsonl(path) if suffix == ".jsonl" else read_parquet(path, [field]):
        if not isinstance(row.get(field), str):
            raise UserError(f"{path}:{number}: field '{field}': expected text, found {type(row.get(field)).__name__}")
        yield row[field]


def _plain_suffix(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def _hub(source: Source) -> Iterator[str]:
    from genesis.hub import stream

    for row in stream(source.path, source.config, source.split, source.revision):
        if not isinstance(row.get(source.text), str):
            raise UserError(f"{source.path}: no text column '{source.text}'; the rows have {', '.join(row)}")
        yield row[source.text]
