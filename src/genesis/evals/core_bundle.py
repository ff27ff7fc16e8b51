"""Reading the CORE tasks from disk: what they ask, in which form, and what chance scores on them.

Two layouts are read. Ours has `core_tasks.csv` beside the files it names. The published bundle (DCLM's, as
karpathy/nanochat ships it) has `core.yaml`, `eval_meta_data.csv` and the folder `eval_data/`.
"""

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from genesis.common.chat import raise_first, read_jsonl
from genesis.common.errors import UserError

MULTIPLE_CHOICE, SCHEMA, LANGUAGE_MODELING = "multiple_choice", "schema", "language_modeling"
KINDS = (MULTIPLE_CHOICE, SCHEMA, LANGUAGE_MODELING)
TEXTS = {MULTIPLE_CHOICE: ("query",), SCHEMA: ("continuation",), LANGUAGE_MODELING: ("context", "continuation")}

# label: (rows, shots) of the whole benchmark; a score on anything less is never called CORE
OFFICIAL = {
    "hellaswag_zeroshot": (10042, 0),
    "jeopardy": (2117, 10),
    "bigbench_qa_wikidata": (20321, 10),
    "arc_easy": (2376, 10),
    "arc_challenge": (1172, 10),
    "copa": (100, 0),
    "commonsense_qa": (1221, 10),
    "piqa": (1838, 10),
    "openbook_qa": (500, 0),
    "lambada_openai": (5153, 0),
    "hellaswag": (10042, 10),
    "winograd": (273, 0),
    "winogrande": (1267, 0),
    "bigbench_dyck_languages": (1000, 10),
    "agi_eval_lsat_ar": (230, 3),
    "bigbench_cs_algorithms": (1320, 10),
    "bigbench_operators": (210, 10),
    "bigbench_repeat_copy_logic": (32, 10),
    "squad": (10570, 10),
    "coqa": (7983, 0),
    "boolq": (3270, 10),
    "bigbench_language_identification": (10000, 10),
}

# label: (v1, current) random baseline in percent where DCLM corrected its first table; the published bundle has one
CORRECTED = {
    "commonsense_qa": (20.0, 40.3),
    "agi_eval_lsat_ar": (20.0, 25.0),
    "bigbench_language_identification": (9.1, 25.0),
}

_COLUMNS = (
    "label",
    "file",
    "icl_task_type",
    "num_fewshot",
    "continuation_delimiter",
    "random_baseline",
    "random_baseline_v1",
)


@dataclass(frozen=True)
class Task:
    """One task of the benchmark.

    Attributes:
        label: its name in the tables.
        kind: one of KINDS.
        shots: worked examples in front of each question.
        delimiter: what stands between a question and its answer.
        baseline: what chance scores, in percent, in DCLM's corrected table.
        baseline_v1: the same in DCLM's first table, which nanochat's published figures use.
        path: the file the rows came from.
        rows: multiple_choice {query, choices, gold}; schema {context_options, continuation, gold};
            language_modeling {context, continuation}; other keys are ignored.
    """

    label: str
    kind: str
    shots: int
    delimiter: str
    baseline: float
    baseline_v1: float
    path: Path
    rows: list[dict[str, Any]] = field(repr=False)


def read_bundle(path: str | Path, labels: Collection[str] | None = None) -> list[Task]:
    """Read every task of a bundle, or only those with the given labels, in the bundle's order.

    Raises:
        UserError: names file, line and field of what is wrong; or the labels that the bundle does not have.
    """
    path = Path(path)
    if (path / "core_tasks.csv").is_file():
        heads = list(_read_table(path / "core_tasks.csv"))
    elif (path / "core.yaml").is_file():
        heads = list(_read_published(path))
    else:
        raise UserError(f"{path}: no CORE bundle: expected core_tasks.csv or core.yaml in this folder")
    known = [head["label"] for head in heads]
    raise_first([f"{path}: label '{label}' stands twice" for label in set(known) if known.count(label) > 1])
    unknown = sorted(set(labels or ()) - set(known))
    if unknown:
        raise UserError(f"{path}: no task named {', '.join(unknown)}; it has {', '.join(known)}")
    files: dict[tuple[Path, str], list[dict[str, Any]]] = {}
    tasks = []
    for head in heads:
        if labels is not None and head["label"] not in labels:
            continue
        key = (head["path"], head["kind"])
        if key not in files:
            files[key] = _read_rows(*key)
        tasks.append(Task(**head, rows=files[key]))
    return tasks


def _read_table(path: Path) -> Iterator[dict[str, Any]]:
    for place, row in _read_csv(path, _COLUMNS):
        delimiter = row["continuation_delimiter"] or ""
        yield {
            "label": _text(row["label"], f"{place}: field 'label'"),
            "kind": _kind(row["icl_task_type"], place),
            "shots": _shots(row["num_fewshot"], place),
            "delimiter": delimiter.replace("\\n", "\n") or " ",
            "baseline": _baseline(row["random_baseline"], f"{place}: field 'random_baseline'"),
            "baseline_v1": _baseline(row["random_baseline_v1"], f"{place}: field 'random_baseline_v1'"),
            "path": path.parent / _text(row["file"], f"{place}: field 'file'"),
        }


def _read_published(folder: Path) -> Iterator[dict[str, Any]]:
    meta = folder / "eval_meta_data.csv"
    baselines = {
        row["Eval Task"]: _baseline(row["Random baseline"], f"{place}: field 'Random baseline'")
        for place, row in _read_csv(meta, ("Eval Task", "Random baseline"))
    }
    for entry in _read_yaml(folder / "core.yaml"):
        place = f"{folder / 'core.yaml'}:{entry.pop(_LINE)}"
        label = _text(entry.get("label"), f"{place}: field 'label'")
        if label not in baselines:
            raise UserError(f"{meta}: no row with 'Eval Task' {label}, which core.yaml names; add its random baseline")
        stated = baselines[label]
        old, new = CORRECTED.get(label, (stated, stated))
        shots = entry.get("num_fewshot")
        delimiter = entry.get("continuation_delimiter", " ")
        if not isinstance(delimiter, str):
            raise UserError(f"{place}: field 'continuation_delimiter': expected text; put it in quotes")
        yield {
            "label": label,
            "kind": _kind(entry.get("icl_task_type"), place),
            "shots": _shots(shots[0] if isinstance(shots, list) and shots else shots, place),
            "delimiter": delimiter,
            "baseline": new if stated in (old, new) else stated,
            "baseline_v1": old if stated in (old, new) else stated,
            "path": folder / "eval_data" / _text(entry.get("dataset_uri"), f"{place}: field 'dataset_uri'"),
        }


_LINE = "__line__"


class _LinedLoader(yaml.SafeLoader):
    """A safe loader that notes in every mapping the line it begins on."""

    def construct_mapping(self, node, deep=False):
        return {**super().construct_mapping(node, deep=deep), _LINE: node.start_mark.line + 1}


def _read_yaml(path: Path) -> list[dict[str, Any]]:
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=_LinedLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = error.problem_mark.line + 1 if getattr(error, "problem_mark", None) else 1
        raise UserError(f"{path}:{line}: not YAML ({getattr(error, 'problem', None) or error})") from error
    entries = config.get("icl_tasks") if isinstance(config, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}:1: field 'icl_tasks': expected a list of tasks")
    return entries


def _read_csv(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for column in columns:
            if column not in (reader.fieldnames or ()):
                raise UserError(f"{path}:1: column '{column}' is missing; the header needs {', '.join(columns)}")
        for row in reader:
            yield f"{path}:{reader.line_num}", row


def _read_rows(path: Path, kind: str) -> list[dict[str, Any]]:
    rows, problems = [], []
    for number, row in read_jsonl(path):
        problem = _row_problem(row, kind)
        if problem:
            problems.append(f"{path}:{number}: {problem}")
        rows.append(row)
    raise_first(problems)
    if not rows:
        raise UserError(f"{path}: no rows; expected one JSON object a line")
    return rows


def _row_problem(row: dict[str, Any], kind: str) -> str | None:
    for name in TEXTS[kind]:
        if not isinstance(row.get(name), str):
            return f"field '{name}': expected text (a {kind} row)"
    if kind == LANGUAGE_MODELING:
        return None
    name = "choices" if kind == MULTIPLE_CHOICE else "context_options"
    options, gold = row.get(name), row.get("gold")
    if not isinstance(options, list) or len(options) < 2 or not all(isinstance(option, str) for option in options):
        return f"field '{name}': expected a list of two texts or more"
    if type(gold) is not int or not 0 <= gold < len(options):
        return f"field 'gold': expected the index of the right one, 0 to {len(options) - 1}, found {gold!r}"
    return None


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{place}: expected text")
    return value.strip()


def _kind(value: Any, place: str) -> str:
    if value not in KINDS:
        raise UserError(f"{place}: field 'icl_task_type': expected one of {', '.join(KINDS)}, found {value!r}")
    return value


def _shots(value: Any, place: str) -> int:
    if isinstance(value, bool) or not str(value).isdecimal():
        raise UserError(f"{place}: field 'num_fewshot': expected a whole number from 0, found {value!r}")
    return int(value)


def _baseline(value: Any, place: str) -> float:
    try:
        baseline = float(value)
    except (TypeError, ValueError):
        baseline = -1.0
    if not 0 <= baseline < 100:
        raise UserError(f"{place}: expected per cent from 0 to below 100, found {value!r}")
    return baseline
