"""The pretraining text: sources → cleaned, deduplicated, split parquet shards, a 13-gram index and statistics."""

import platform
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from genesis.common.chat import write_json
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.ngrams import NgramIndex
from genesis.prepare.quality import fingerprint, near_duplicates
from genesis.prepare.sources import Source, documents

SHARD_ROWS = 20_000


@dataclass
class Corpus:
    """Section `corpus`.

    Attributes:
        sources: where the text comes from.
        python_version: the version whose own text the committed run used; another one is reported.
        val_share: share of documents, chosen by hash, kept for validation.
        near_duplicate: Jaccard similarity of word 3-grams from which a document counts as a copy.
        min_chars: shorter documents are dropped.
        max_chars: longer documents are cut into pieces at line ends, so that both splits see every long file's kind.
        max_duplicates: a larger share of duplicates is an error.
    """

    sources: list[Source] = field(default_factory=list)
    python_version: str = ""
    val_share: float = 0.02
    near_duplicate: float = 0.8
    min_chars: int = 200
    max_chars: int = 20_000
    max_duplicates: float = 0.9


def corpus(params: Corpus, out: Path, usage: Usage) -> None:
    """Write `out`/{train,val}/*.parquet (columns text, source), ngrams.npy and statistics.json.

    Raises:
        UserError: no source, bad source, too many duplicates, or nothing left for a split.
    """
    if not params.sources:
        raise UserError("corpus.sources: expected at least one source")
    if params.max_chars < 1:
        raise UserError(f"corpus.max_chars: expected at least 1, found {params.max_chars}")
    texts, origins = [], []
    for source in params.sources:
        pieces = [piece for text in documents(source) for piece in _pieces(text, params.max_chars)]
        chosen = [piece for piece in pieces if len(piece) >= params.min_chars and _draw(piece, "keep") < source.weight]
        texts += chosen
        origins += [source] * len(chosen)
    kept, dropped = _deduplicate(texts, params)
    train, val = [], []
    for index in kept:
        row = (texts[index], origins[index].name)
        if _draw(texts[index], "split") < params.val_share:
            val.append(row)
        else:
            train += [row] * _copies(origins[index].weight, texts[index])
    for split, rows in (("train", train), ("val", val)):
        if not rows:
            raise UserError(f"corpus: no document left for {split} ({len(texts)} read); add text or lower min_chars")
        _write_shards(out / split, rows)
    NgramIndex.build(text for text, _ in train).save(out / "ngrams.npy")
    write_json(out / "statistics.json", _statistics(params, texts, dropped, {"train": train, "val": val}))


def _pieces(text: str, longest: int) -> list[str]:
    text = text.replace("\r\n", "\n").strip()
    pieces = []
    while len(text) > longest:
        cut = text.rfind("\n", longest // 2, longest)
        cut = longest if cut < 0 else cut
        pieces.append(text[:cut].strip())
        text = text[cut:].strip()
    return [*pieces, text]


def _deduplicate(texts: list[str], params: Corpus) -> tuple[list[int], Counter]:
    seen: set[int] = set()
    first = []
    for index, text in enumerate(texts):
        mark = fingerprint(text)
        if mark not in seen:
            seen.add(mark)
            first.append(index)
    copies = near_duplicates([texts[index] for index in first], params.near_duplicate)
    kept = [index for index, copy in zip(first, copies, strict=True) if copy is None]
    dropped = Counter(exact=len(texts) - len(first), near=len(first) - len(kept))
    if texts and dropped.total() / len(texts) > params.max_duplicates:
        raise UserError(
            f"corpus: {dropped.total()} of {len(texts)} documents are duplicates, more than max_duplicates "
            f"({params.max_duplicates:.0%}); look at the sources, or raise corpus.max_duplicates"
        )
    return kept, dropped


def _draw(text: str, purpose: str) -> float:
    """A number in [0, 1) that depends on the document and the purpose alone."""
    return fingerprint(purpose + text) / 2**64


def _copies(weight: float, text: str) -> int:
    """One below weight 1 (the document was chosen already), else whole repeats and, by draw, one more."""
    whole, fraction = divmod(max(weight, 1.0), 1.0)
    return int(whole) + (_draw(text, "repeat") < fraction)


def _write_shards(folder: Path, rows: list[tuple[str, str]]) -> None:
    folder.mkdir(parents=True)
    rows = sorted(rows, key=lambda row: fingerprint(row[0]))  # an order of no meaning, the same on every machine
    for number, start in enumerate(range(0, len(rows), SHARD_ROWS)):
        texts, names = zip(*rows[start : start + SHARD_ROWS], strict=True)
        table = pa.table({"text": list(texts), "source": list(names)})
        parquet.write_table(table, folder / f"shard-{number:04d}.parquet", compression="zstd")


def _statistics(params: Corpus, texts: list[str], dropped: Counter, splits: dict[str, list]) -> dict:
    by_source: dict[str, Counter] = {}
    for split, rows in splits.items():
        for text, name in rows:
            by_source.setdefault(name, Counter()).update({f"{split}_documents": 1, f"{split}_chars": len(text)})
    running = platform.python_version()
    uses_python = any(source.kind == "python" for source in params.sources)
    flags = []
    if uses_python and params.python_version and running != params.python_version:
        flags.append(f"text of Python {running}; the committed run used {params.python_version}: numbers will differ")
        print(f"corpus: {flags[0]}")
    return {
        "documents_read": len(texts),
        "dropped_exact": dropped["exact"],
        "dropped_near": dropped["near"],
        "python_version": running if uses_python else None,
        "sources": by_source,
        "splits": {
            split: {"documents": len(rows), "bytes": sum(len(text.encode()) for text, _ in rows)}
            for split, rows in splits.items()
        },
        "flags": flags,
    }
