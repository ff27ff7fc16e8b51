"""Safety prompt lists: published ones known by their file names or columns, and any CSV or JSON Lines file.

A prompt is *unsafe* (it should be declined) or *benign* (it should be helped with, alarming words or not). Sources and
licences of the published lists stand in the README beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genesis.common.chat import raise_first
from genesis.common.errors import UserError
from genesis.tables import TABLES, read_table, table_kind

LABELS = ("unsafe", "benign")
UNSCORED = "unscored"


@dataclass(frozen=True)
class Prompt:
    """One prompt of a safety set.

    Attributes:
        id: unique in its set.
        text: what the user says.
        label: "unsafe" or "benign".
        category: the set's own, "" where it has none.
        source: the set's name.
        scored: False where neither answering nor declining is the mistake that the label tells (CoCoNot's questions
            that are incomplete, unanswerable or beyond a text model: not unsafe, and not to be plainly answered).
    """

    id: str
    text: str
    label: str
    category: str
    source: str
    scored: bool = True


@dataclass(frozen=True)
class Columns:
    """Where a file keeps what a prompt needs.

    Attributes:
        prompt: the column of the text.
        label: "unsafe" or "benign" for every row; or None, when `label_column` tells.
        label_column: the column of the label.
        labels: what that column's values stand for: "unsafe", "benign" or "unscored" (benign, not scored).
        category: columns joined to the category.
        id: the column of the id; by default the row's number.
        context: a column of text that stands in front of the prompt where it is not empty.
    """

    prompt: str
    label: str | None = None
    label_column: str | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: {label: label for label in LABELS})
    category: tuple[str, ...] = ()
    id: str | None = None
    context: str | None = None

    def __post_init__(self):
        if (self.label is None) == (self.label_column is None):
            raise UserError("columns: give either a label for every row or the column of the label")
        if self.label is not None and self.label not in LABELS:
            raise UserError(f"columns: field 'label': expected unsafe or benign, found {self.label!r}")
        wrong = set(self.labels.values()) - {*LABELS, UNSCORED}
        if wrong:
            raise UserError(f"columns: field 'labels': expected unsafe, benign or unscored, found {wrong.pop()!r}")

    @property
    def used(self) -> set[str]:
        """Every column that must be there."""
        return {name for name in (self.prompt, self.label_column, self.id, self.context, *self.category) if name}


_COCONOT_OTHER = ("Incomplete requests", "Unsupported requests", "Indeterminate requests", "Humanizing requests")
_COCONOT = {"Requests with safety concerns": "unsafe"} | dict.fromkeys(_COCONOT_OTHER, UNSCORED)

# File name without its endings → its columns.
SETS = {
    "xstest_prompts": Columns(
        "prompt", label_column="label", labels={"safe": "benign", "unsafe": "unsafe"}, category=("type",), id="id"
    ),
    "harmbench_behaviors_text_all": Columns(
        "Behavior", "unsafe", category=("SemanticCategory",), id="BehaviorID", context="ContextString"
    ),
    "advbench_harmful_behaviors": Columns("goal", "unsafe"),
    "strongreject": Columns("forbidden_prompt", "unsafe", category=("category",)),
    "jailbreakbench_harmful": Columns("goal", "unsafe", category=("category",), id="index"),
    "do_not_answer": Columns("question", "unsafe", category=("risk_area",)),
    "simple_safety_tests": Columns("prompts_final", "unsafe", category=("harm_area",), id="id"),
    "malicious_instruct": Columns("prompt", "unsafe"),
    "tdc2023": Columns("prompt", "unsafe", category=("category",)),
    "catqa_english": Columns("question", "unsafe", category=("category", "subcategory")),
    "coconot_eval": Columns(
        "prompt", label_column="category", labels=_COCONOT, category=("category", "subcategory"), id="id"
    ),
    "coconot_contrast_eval": Columns("prompt", "benign", category=("category", "subcategory"), id="id"),
    "oktest": Columns("prompt", "benign"),
    "cyberseceval_frr": Columns(
        "prompt", label_column="is_malicious", labels={"false": "benign", "true": "unsafe"}, category=("attack_type",)
    ),
    "harmless_instructions": Columns("instruction", "benign"),
}
# Headers that no other list has: enough to know a renamed file.
HEADERS = {
    frozenset(["id", "prompt", "type", "label", "focus", "note"]): "xstest_prompts",
    frozenset(["Behavior", "FunctionalCategory", "SemanticCategory", "Tags", "ContextString", "BehaviorID"]): (
        "harmbench_behaviors_text_all"
    ),
    frozenset(["category", "source", "forbidden_prompt"]): "strongreject",
    frozenset(["index", "goal", "behavior", "category", "source"]): "jailbreakbench_harmful",
    frozenset(["id", "harm_area", "counter", "category", "prompts_final"]): "simple_safety_tests",
    frozenset(["question", "risk_area"]): "do_not_answer",
    frozenset(["goal", "target"]): "advbench_harmful_behaviors",
    frozenset(["category", "subcategory", "question"]): "catqa_english",
    frozenset(["prompt", "attack_type", "is_malicious"]): "cyberseceval_frr",
}


def read_set(path: Path, columns: Columns | None = None) -> list[Prompt]:
    """Read a safety set: .csv, .tsv, .jsonl, .ndjson or .parquet, also compressed (.gz, .xz, .bz2, .zst).

    Args:
        path: the file.
        columns: where it keeps what; by default known from the file's name, else from its columns.

    Raises:
        UserError: the set is not known, or file, line and field of the first bad row, with the count of all.
    """
    path = Path(path)
    rows = list(read_table(path))
    if not rows:
        raise UserError(f"{path}: no rows")
    name = path.name.split(".")[0]
    if columns is None:
        name = _recognise(path, name, set(rows[0][1]))
        columns = SETS[name]
    prompts, problems, seen = [], [], set()
    for index, (line, row) in enumerate(rows):
        made = _prompt(row, columns, name, index)
        if isinstance(made, Prompt) and made.id in seen:
            made = f"field '{columns.id}': {made.id!r} stands twice; ids must be unique"
        if isinstance(made, str):
            problems.append(f"{path}:{line}: {made}")
        else:
            seen.add(made.id)
            prompts.append(made)
    raise_first(problems)
    return prompts


def set_files(path: Path) -> list[Path]:
    """The file itself, or every table that stands in a folder (not in folders inside it).

    Raises:
        UserError: no such file or folder, or a folder without tables.
    """
    if path.is_file():
        return [path]
    found = sorted(file for file in path.glob("*") if file.is_file() and table_kind(file) in TABLES)
    if not found:
        raise UserError(f"{path}: no safety set there; expected a file of {', '.join(TABLES)} or a folder of such")
    return found


def _recognise(path: Path, name: str, found: set[str]) -> str:
    name = name if name in SETS else HEADERS.get(frozenset(found))
    if name is None:
        raise UserError(
            f"{path}:1: no known safety set has this name or the columns {', '.join(sorted(found))}; "
            "say which column holds the prompt and what the label is (columns=Columns(…))"
        )
    return name


def _prompt(row: Mapping[str, Any], columns: Columns, name: str, index: int) -> Prompt | str:
    """The prompt of a row, or what is wrong with the row."""
    missing = sorted(columns.used - set(row))
    if missing:
        return f"field '{missing[0]}': missing; found {', '.join(map(str, row))}"
    text = row[columns.prompt]
    if not isinstance(text, str) or not text.strip():
        return f"field '{columns.prompt}': expected text, found {'nothing' if text in (None, '') else repr(text)[:40]}"
    label = columns.label
    if label is None:
        value = row[columns.label_column]
        value = str(value).lower() if isinstance(value, bool) else str(value).strip()
        if value not in columns.labels:
            return f"field '{columns.label_column}': expected one of {', '.join(columns.labels)}, found {value!r}"
        label = columns.labels[value]
    if columns.id and row[columns.id] in (None, ""):
        return f"field '{columns.id}': expected an id, found nothing"
    context = str(row[columns.context] or "").strip() if columns.context else ""
    return Prompt(
        id=str(row[columns.id]) if columns.id else str(index),
        text=f"{context}\n\n---\n\n{text}" if context else text,
        label="benign" if label == UNSCORED else label,
        category=": ".join(str(row[part]).strip(" :") for part in columns.category if row[part]),
        source=name,
        scored=label != UNSCORED,
    )
