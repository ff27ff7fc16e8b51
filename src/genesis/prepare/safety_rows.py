"""The row of the safety track, and how it is read: the built-in source, files and hub sets with their columns named.

The built-in source is a folder of YAML files, one a hazard category. Its unsafe questions are frames filled with aims,
its benign ones stand under topics; a frame or topic is a family, which stays whole when the rows are split.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genesis.common.chat import raise_first
from genesis.common.errors import UserError
from genesis.common.params import expect, read_yaml
from genesis.prepare.frames import pair_id
from genesis.prepare.quality import fingerprint
from genesis.tables import file_rows, hub_rows

LABELS = ("unsafe", "benign")
SKIP = "skip"
SLOT = "{aim}"


@dataclass(frozen=True)
class SafetyRow:
    """A question, the answer to it and why; the shapes of RLT with a label.

    Attributes:
        id: kept while other rows come and go: verdicts of a review refer to it.
        solution: what a good model answers; None where the source has no answers (such rows are held out only).
        reasoning_trace: why it answers so; None where the source does not say.
        label: unsafe (to be declined) or benign (to be helped with).
        family: rows of one family never cross the splits.
        part: student or teacher in training, else val or test.
    """

    id: str
    question: str
    solution: str | None
    reasoning_trace: str | None
    label: str
    category: str
    source: str
    family: str
    part: str = ""

    @property
    def texts(self) -> list[str]:
        """Everything that is written in the row."""
        return [text for text in (self.question, self.solution, self.reasoning_trace) if text]


@dataclass
class SafetySource:
    """One origin of rows, and where its columns are.

    Attributes:
        kind: seed (a folder of YAML files), file (csv, tsv, jsonl, parquet; a folder of such) or hub.
        path: the folder, file or hub name.
        question: columns of the question, the first that is not empty.
        solution: column of the answer; "" where the set has none.
        reasoning_trace, category, family: columns; "" where there is none, and a row without a family is its own.
        label: unsafe or benign for every row; or "", when `label_column` tells.
        label_column, labels: the label's column and what its values stand for: unsafe, benign or skip.
        config, split, revision: for hub; a revision must be pinned unless `path` is a local folder.
        max_rows: read so many of a file or hub set; 0 for all.
    """

    kind: str = "seed"
    path: str = ""
    question: list[str] = field(default_factory=lambda: ["question"])
    solution: str = "solution"
    reasoning_trace: str = "reasoning_trace"
    category: str = "category"
    family: str = ""
    label: str = ""
    label_column: str = "label"
    labels: dict[str, str] = field(default_factory=lambda: {label: label for label in LABELS})
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    max_rows: int = 0


def read_source(source: SafetySource, require_traces: bool) -> list[SafetyRow]:
    """All rows of one source.

    Raises:
        UserError: unknown kind or label; file, line and field of the first bad row and the count of all.
    """
    if source.kind == "seed":
        return [row for path in _seed_files(source) for row in _seed_rows(path, source.path)]
    if source.kind == "file":
        rows = file_rows(Path(source.path))
    elif source.kind == "hub":
        rows = hub_rows(source.path, source.config, source.split, source.revision)
    else:
        raise UserError(f"safety_data.sources: unknown kind '{source.kind}'; expected seed, file or hub")
    wrong = {source.label, *source.labels.values()} - {*LABELS, SKIP, ""}
    if wrong:
        raise UserError(f"safety_data.sources: {source.path}: expected unsafe, benign or skip, found '{min(wrong)}'")
    return _mapped(rows, source, require_traces)


def _mapped(rows: Iterator[tuple[str, dict]], source: SafetySource, require_traces: bool) -> list[SafetyRow]:
    kept: list[SafetyRow] = []
    problems: list[str] = []
    for where, row in rows:
        try:
            made = _row(row, source, require_traces)
        except _BadField as error:
            problems.append(f"{where}: {error}")
            continue
        kept += [made] if made else []
        if source.max_rows and len(kept) == source.max_rows:
            break
    raise_first(problems)
    return kept


class _BadField(Exception):
    """What is wrong with one field of a row."""


def _row(row: dict[str, Any], source: SafetySource, require_traces: bool) -> SafetyRow | None:
    label = _label(row, source)
    if label == SKIP:
        return None
    questions = [text for column in source.question if (text := _text(row, column))]
    if not questions:
        raise _BadField(f"field '{source.question[0]}': expected text, found nothing")
    solution = _text(row, source.solution) if source.solution else None
    if source.solution and not solution:
        raise _BadField(f"field '{source.solution}': expected text, found nothing")
    trace = _text(row, source.reasoning_trace, needed=require_traces) if source.reasoning_trace else None
    if require_traces and solution and not trace:
        raise _BadField(
            f"field '{source.reasoning_trace}': expected text, found nothing; write why the answer is right, or set "
            "safety_data.require_traces to false"
        )
    name = pair_id(source.path, questions[0], solution or "")
    family = _text(row, source.family) if source.family else None
    return SafetyRow(
        id=name,
        question=questions[0],
        solution=solution,
        reasoning_trace=trace,
        label=label,
        category=(_text(row, source.category, needed=False) if source.category else None) or "",
        source=source.path,
        family=f"{source.path}/{family}" if family else name,
    )


def _label(row: dict[str, Any], source: SafetySource) -> str:
    if source.label:
        return source.label
    value = row.get(source.label_column)
    value = str(value).lower() if isinstance(value, bool) else str("" if value is None else value).strip()
    if value not in source.labels:
        known = ", ".join(source.labels)
        raise _BadField(f"field '{source.label_column}': expected one of {known}, found {value[:40] or 'nothing'!r}")
    return source.labels[value]


def _text(row: dict[str, Any], column: str, needed: bool = True) -> str | None:
    """The text of a column, None where it is empty or, if it is not needed, absent."""
    value = row.get(column)
    if column not in row and needed:
        raise _BadField(f"field '{column}': missing; the row has {', '.join(map(str, row))}")
    if value is not None and not isinstance(value, str):
        raise _BadField(f"field '{column}': expected text, found {value!r}"[:200])
    return (value or "").strip() or None


def _seed_files(source: SafetySource) -> list[Path]:
    files = sorted(Path(source.path).glob("*.yaml"))
    if not files:
        raise UserError(f"safety_data.sources: {source.path}: no .yaml file there")
    return files


def _seed_rows(path: Path, source: str) -> Iterator[SafetyRow]:
    """Frames × aims with one of the category's answers each, and the questions of its topics with the topic's answer."""
    values = read_yaml(path)
    category = expect(values, "category", str, str(path))
    unsafe = expect(values, "unsafe", dict, str(path))
    where = f"{path}: unsafe"
    frames, aims, solutions, reasons = (
        _texts(unsafe, key, where) for key in ("frames", "aims", "solutions", "reasons")
    )
    for frame in frames:
        if frame.count(SLOT) != 1:
            raise UserError(f"{where}.frames: expected {SLOT} once in '{frame}'")
        for aim in aims:
            question = frame.replace(SLOT, aim)
            solution, reason = _pick(solutions, f"solution{question}"), _pick(reasons, f"reason{question}")
            yield _seed_row(path, source, question, solution, reason, "unsafe", category, frame)
    for number, topic in enumerate(expect(expect(values, "benign", dict, str(path)), "topics", list, str(path))):
        where = f"{path}: benign.topics[{number}]"
        name, solution, reason = (expect(topic, key, str, where) for key in ("name", "solution", "reason"))
        for question in _texts(topic, "questions", where):
            yield _seed_row(path, source, question, solution, reason, "benign", category, name)


def _seed_row(path: Path, source: str, question: str, solution: str, reason: str, *of: str) -> SafetyRow:
    label, category, family = of
    name = pair_id(str(path), question, solution)
    return SafetyRow(name, question, solution, reason, label, category, source, f"{label}/{category}/{family}")


def _texts(owner: Any, key: str, where: str) -> list[str]:
    texts = expect(owner, key, list, where)
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{where}.{key}: expected text, found {text!r}; quote a text that has a colon"[:300])
    return texts


def _pick(texts: list[str], key: str) -> str:
    """One of the texts, the same in every run."""
    return texts[fingerprint(key) % len(texts)]
