"""The safety track's rows: read from all sources, checked, deduplicated, split by family, sampled for review.

Every category has unsafe and benign families in train, val and test. What fails the stage: bad rows, too many
duplicates, too few or unbalanced labels, and questions that stand on two sides of a split or in a benchmark.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean

from genesis.common.chat import write_json, write_jsonl
from genesis.common.errors import UserError
from genesis.common.params import expect_shares
from genesis.prepare.overlaps import Overlap, overlaps
from genesis.prepare.quality import fingerprint, language_report, secrets
from genesis.prepare.review import REVIEW, rejected, review_sheet
from genesis.prepare.safety_rows import LABELS, SafetyRow, SafetySource, read_source
from genesis.safety_sets import read_set, set_files

NAME = "safety"
LEAST_FAMILIES = 4
MOST_HELD_OUT = 0.6
PARTS = {"student": "train", "teacher": "train", "val": "val", "test": "test"}
SPLITS = tuple(dict.fromkeys(PARTS.values()))


@dataclass
class SafetyData:
    """Section `safety_data`.

    Attributes:
        sources: where the rows come from.
        benchmarks: files or folders of safety sets in which no question may stand.
        max_per_family: rows of a family that are kept; 0 for all.
        val_share, test_share: shares of a category's families, by label, that are held out.
        student_share: share of the training families that only the student model is trained on.
        min_per_label: fewer unsafe or benign rows are an error.
        min_label_share: a smaller share of the rarer label, in any split, is an error.
        max_chars: a row with a longer question, solution or trace is dropped and counted.
        max_duplicates: a larger share of equal questions is an error.
        leakage: similarity (word 3-grams) from which two questions count as one. Frames of the built-in source differ in
            more than a word, so that the closest questions of two families are 0.60 alike; 0.7 leaves room for the
            estimate's error and still finds one with a word changed or added.
        max_leakage: a larger share of held-out questions that stand in another split is an error; below it, what they
            equal leaves training (or val, where it stands in test).
        require_traces: a row without a reasoning trace is an error.
        language: the language expected of the questions, or "" for any.
        review_rows: rows on the review sheet.
        min_reviewed: share of the sheet that a person must have judged.
        unreviewed: what a lower share does: warn or fail.
    """

    sources: list[SafetySource] = field(default_factory=list)
    benchmarks: list[str] = field(default_factory=list)
    max_per_family: int = 6
    val_share: float = 0.1
    test_share: float = 0.2
    student_share: float = 0.33
    min_per_label: int = 1000
    min_label_share: float = 0.3
    max_chars: int = 4000
    max_duplicates: float = 0.5
    leakage: float = 0.7
    max_leakage: float = 0.0
    require_traces: bool = True
    language: str = "en"
    review_rows: int = 40
    min_reviewed: float = 0.0
    unreviewed: str = "warn"


def safety_data(params: SafetyData, out: Path, review: Path = REVIEW) -> None:
    """Write `out`/{train,val,test}.jsonl and quality.json, and the review sheet where it is new.

    Raises:
        UserError: bad rows, too many duplicates, too few rows, unbalanced labels, a leak, or too little review.
    """
    _check_params(params)
    rows = [row for source in params.sources for row in read_source(source, params.require_traces)]
    report: dict = {"rows_read": len(rows)}
    rows = _capped(_cleaned(rows, params, report, set(rejected(NAME, review))), params.max_per_family, report)
    splits = _without_leaks(split_families(rows, params), params, report)
    _check_labels(splits, params)
    _check_benchmarks(splits, params)
    for name, found in splits.items():
        write_jsonl(out / f"{name}.jsonl", map(asdict, found))
    report |= _describe(splits, params)
    shown = [
        {"id": row.id, "label": row.label, "prompt": row.question, "completion": row.solution}
        | {"reasoning_trace": row.reasoning_trace or ""}
        for row in splits["train"]
    ]
    report |= review_sheet("safety_data", NAME, shown, params, review)
    write_json(out / "quality.json", report)


def _check_params(params: SafetyData) -> None:
    if not params.sources:
        raise UserError("safety_data.sources: expected at least one source of rows")
    expect_shares(params, "safety_data", "val_share", "test_share", "student_share")
    held = params.val_share + params.test_share
    if held > MOST_HELD_OUT:
        raise UserError(
            f"safety_data: val_share and test_share hold out {held:.0%}; at most {MOST_HELD_OUT:.0%} may be"
        )


def split_families(rows: Iterable[SafetyRow], params: SafetyData) -> dict[str, list[SafetyRow]]:
    """Rows by split, each with its part; a family's place depends on the families of its category and label alone.

    Categories of fewer than four families of a label are split together, since they are too few to be in every split.
    Rows without a solution are held out for testing.
    """
    families: dict[str, list[SafetyRow]] = defaultdict(list)
    splits: dict[str, list[SafetyRow]] = {name: [] for name in SPLITS}
    for row in rows:
        if row.solution is None:
            splits["test"].append(replace(row, part="test"))
        else:
            families[row.family].append(row)
    for group in _groups(families):
        ranked = sorted(group, key=lambda family: fingerprint(f"split{family}"))
        for family, part in zip(ranked, _parts(len(ranked), params), strict=True):
            splits[PARTS[part]] += [replace(row, part=part) for row in families[family]]
    return {name: sorted(found, key=lambda row: fingerprint(f"order{row.question}")) for name, found in splits.items()}


def _groups(families: dict[str, list[SafetyRow]]) -> list[list[str]]:
    """Families of one source, label and category; one that has several counts where its first row, by id, stands."""
    groups: dict[tuple, list[str]] = defaultdict(list)
    for family, rows in families.items():
        row = min(rows, key=lambda row: row.id)
        groups[row.source, row.label, row.category].append(family)
    for key in [key for key, found in groups.items() if len(found) < LEAST_FAMILIES]:
        groups[(*key[:2], None)] += groups.pop(key)
    return list(groups.values())


def _parts(count: int, params: SafetyData) -> list[str]:
    """Parts of so many families; where there are four, at least one is held out for each purpose and one trained on."""
    held = count >= LEAST_FAMILIES
    val, test = (max(held, round(share * count)) for share in (params.val_share, params.test_share))
    student = max(held, round(params.student_share * (count - val - test)))
    teacher = count - val - test - student
    return ["val"] * val + ["test"] * test + ["student"] * student + ["teacher"] * teacher


def _cleaned(rows: list[SafetyRow], params: SafetyData, report: dict, turned_down: set[str]) -> list[SafetyRow]:
    """Long rows, repeated questions, secrets and rejected rows leave, each counted."""
    short = [row for row in rows if all(len(text) <= params.max_chars for text in row.texts)]
    report["dropped_long"] = len(rows) - len(short)
    labels: dict[int, set[str]] = defaultdict(set)
    first: dict[int, SafetyRow] = {}
    for row in short:
        key = fingerprint(row.question)
        labels[key].add(row.label)
        first.setdefault(key, row)
    report["dropped_duplicates"] = len(short) - len(first)
    if short and report["dropped_duplicates"] / len(short) > params.max_duplicates:
        raise UserError(
            f"{report['dropped_duplicates']} of {len(short)} questions repeat another, more than "
            f"safety_data.max_duplicates ({params.max_duplicates:.0%}); clean the sources"
        )
    kept = [row for key, row in first.items() if len(labels[key]) == 1]
    report["dropped_contradictory"] = len(first) - len(kept)
    found = {row.id: kinds for row in kept if (kinds := secrets("\n".join(row.texts)))}
    report["dropped_secrets"] = Counter(kind for kinds in found.values() for kind in kinds)
    report["rejected_in_review"] = sum(row.id in turned_down for row in kept)
    return [row for row in kept if row.id not in found and row.id not in turned_down]


def _capped(rows: list[SafetyRow], most: int, report: dict) -> list[SafetyRow]:
    """At most so many rows of a family: which, their questions' hashes tell."""
    families: dict[str, list[SafetyRow]] = defaultdict(list)
    for row in rows:
        families[row.family].append(row)
    ranked = (sorted(family, key=lambda row: fingerprint(f"cap{row.question}")) for family in families.values())
    kept = [row for family in ranked for row in family[: most or None]]
    report["over_family_cap"] = len(rows) - len(kept)
    return kept


def _without_leaks(splits: dict[str, list[SafetyRow]], params: SafetyData, report: dict) -> dict[str, list[SafetyRow]]:
    """The splits without what stands in a later one; it leaves the side that is trained on or chosen by."""
    report["leaked"] = 0
    for known, held in (("train", "test"), ("train", "val"), ("val", "test")):
        found = overlaps(_questions(splits[known]), _questions(splits[held]), params.leakage)
        report["leaked"] += len(found)
        if len(found) > params.max_leakage * len(splits[held]):
            raise UserError(
                f"{len(found)} questions of {known} stand in {held} ({len(splits[held])} questions), more than "
                f"safety_data.max_leakage ({params.max_leakage:.1%}); {_example(splits[known], found)}; give such rows "
                f"one family, remove one, or allow a share with max_leakage and they leave {known}"
            )
        out = {overlap.index for overlap in found}
        splits[known] = [row for index, row in enumerate(splits[known]) if index not in out]
    return splits


def _check_benchmarks(splits: dict[str, list[SafetyRow]], params: SafetyData) -> None:
    rows = [row for found in splits.values() for row in found]
    for path in (path for name in params.benchmarks for path in set_files(Path(name))):
        found = overlaps(_questions(rows), [prompt.text for prompt in read_set(path)], params.leakage)
        if found:
            raise UserError(
                f"{len(found)} questions stand in the benchmark {path}; {_example(rows, found)}; remove them from the "
                "sources"
            )


def _example(rows: list[SafetyRow], found: list[Overlap]) -> str:
    row = rows[found[0].index]
    return f"for one, {row.id} '{row.question[:80]}' ({found[0]})"


def _questions(rows: list[SafetyRow]) -> list[str]:
    return [row.question for row in rows]


def _check_labels(splits: dict[str, list[SafetyRow]], params: SafetyData) -> None:
    counts = {name: Counter(row.label for row in rows) for name, rows in splits.items()}
    for label in LABELS:
        total = sum(count[label] for count in counts.values())
        if total < params.min_per_label:
            raise UserError(f"{total} {label} rows, fewer than safety_data.min_per_label ({params.min_per_label})")
    for name, count in counts.items():
        rarer = min(LABELS, key=lambda label: count[label])
        share = count[rarer] / max(1, count.total())
        if share < params.min_label_share:
            raise UserError(
                f"{name}: {count[rarer]} of {count.total()} rows are {rarer} ({share:.0%}), less than "
                f"safety_data.min_label_share ({params.min_label_share:.0%}); bring more of them or lower the share"
            )


def _describe(splits: dict[str, list[SafetyRow]], params: SafetyData) -> dict:
    rows = [row for found in splits.values() for row in found]
    names = ("question", "solution", "reasoning_trace")
    words = {name: [len(text.split()) for row in rows if (text := getattr(row, name))] for name in names}
    return {
        "rows": {name: Counter(row.label for row in found) for name, found in splits.items()},
        "parts": _table(rows, "part"),
        "categories": _table(rows, "category"),
        "sources": _table(rows, "source"),
        "families": len({row.family for row in rows}),
        "mean_words": {name: round(mean(counts), 2) if counts else None for name, counts in words.items()},
        "longest_words": {name: max(counts, default=None) for name, counts in words.items()},
        "without_trace": sum(row.reasoning_trace is None for row in rows),
        "without_solution": sum(row.solution is None for row in rows),
        **language_report("safety_data", "questions", _questions(splits["train"]), params.language),
    }


def _table(rows: list[SafetyRow], name: str) -> dict[str, Counter]:
    """Value of the attribute → label → rows."""
    values = sorted({getattr(row, name) for row in rows})
    return {value: Counter(row.label for row in rows if getattr(row, name) == value) for value in values}
