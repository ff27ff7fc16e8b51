"""An agent's pairs: read from all its sources, checked, deduplicated, split, sampled for review."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from genesis.agents import Agent, AgentSource
from genesis.common.chat import raise_first, write_json, write_jsonl
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.ngrams import NgramIndex
from genesis.prepare.frames import Pair, pair_id, seed_pairs
from genesis.prepare.quality import fingerprint, language_report, leaks, secrets
from genesis.prepare.review import REVIEW, rejected, review_sheet
from genesis.tables import file_rows, hub_rows


@dataclass
class AgentData:
    """Section `agent_data`; an agent's own file may replace any value.

    Attributes:
        pairs_per_frame, test_pairs_per_frame: fillings of a frame for training and for each held-out part.
        heldout_frames: frames of every rule that training never sees.
        heldout_values: share of every slot's values that training never sees.
        heldout_share: share of the rows of a file or hub set without a test file that is held out.
        val_share: share of the training pairs that only measures the loss.
        min_pairs: fewer training pairs are an error.
        max_prompt_chars, max_completion_chars: longer rows are dropped and counted.
        max_duplicates: a larger share of equal rows is an error.
        leakage: similarity (word 3-grams) from which a held-out prompt counts as standing in training.
        max_leakage: a larger share of held-out prompts that stand in training is an error; below it, what they equal
            leaves training.
        language: the language expected of the prompts, or "" for any.
        review_rows: rows on the review sheet.
        min_reviewed: share of the sheet that a person must have judged.
        unreviewed: what a lower share does: warn or fail.
    """

    pairs_per_frame: int = 3
    test_pairs_per_frame: int = 2
    heldout_frames: int = 2
    heldout_values: float = 0.25
    heldout_share: float = 0.15
    val_share: float = 0.05
    min_pairs: int = 100
    max_prompt_chars: int = 2000
    max_completion_chars: int = 2000
    max_duplicates: float = 0.5
    leakage: float = 0.9
    max_leakage: float = 0.0
    language: str = "en"
    review_rows: int = 20
    min_reviewed: float = 0.0
    unreviewed: str = "warn"


def agent_data(name: str, agent: Agent, params: AgentData, out: Path, usage: Usage, review: Path = REVIEW) -> None:
    """Write `out`/{train,val,test}.jsonl, ngrams.npy and quality.json, and the review sheet where it is new.

    Raises:
        UserError: bad rows, too many duplicates, too few pairs, a leak, secrets, or too little review.
    """
    pairs = [pair for source in agent.sources for pair in read_source(source, params)]
    report: dict = {"agent": name, "rows_read": len(pairs)}
    pairs = _drop_long(pairs, params, report)
    pairs = _drop_duplicates(pairs, params, report)
    pairs = _drop_secrets(pairs, report)
    turned_down = set(rejected(name, review))
    report["rejected_in_review"] = sum(pair.id in turned_down for pair in pairs)
    pairs = [pair for pair in pairs if pair.id not in turned_down]
    train, test = _without_leaks(name, pairs, params, report)
    if len(train) < params.min_pairs:
        raise UserError(f"{name}: {len(train)} training pairs, fewer than agent_data.min_pairs ({params.min_pairs})")
    if not test:
        raise UserError(f"{name}: no held-out pairs; raise agent_data.heldout_share or give the source a test file")
    ranked = sorted(train, key=lambda pair: fingerprint("val" + pair.prompt))
    count = max(1, round(params.val_share * len(ranked)))
    parts = {"train": ranked[count:], "val": ranked[:count], "test": test}
    for part, rows in parts.items():
        write_jsonl(out / f"{part}.jsonl", map(_row, rows))
    NgramIndex.build(pair.prompt for pair in parts["train"]).save(out / "ngrams.npy")
    report |= _describe(parts, params)
    sheet = [{"id": pair.id, "prompt": pair.prompt, "completion": pair.completion} for pair in train]
    report |= review_sheet("agent_data", name, sheet, params, review)
    write_json(out / "quality.json", report)


def read_source(source: AgentSource, params: AgentData) -> list[Pair]:
    """All pairs of one source, each marked with its part.

    Raises:
        UserError: unknown kind; file, line and field of the first bad row and the count of all.
    """
    if source.kind == "seed":
        return seed_pairs(
            Path(source.path),
            pairs_per_frame=params.pairs_per_frame,
            test_pairs_per_frame=params.test_pairs_per_frame,
            heldout_frames=params.heldout_frames,
            heldout_values=params.heldout_values,
        )
    pairs = _pairs(_rows(source, test=False), source, "train")
    if source.test is not None:
        return pairs + _pairs(_rows(source, test=True), source, "test")
    held = params.heldout_share * 2**64
    return [replace(p, part="test") if fingerprint("test" + p.prompt) < held else p for p in pairs]


def _rows(source: AgentSource, test: bool) -> Iterator[tuple[str, dict]]:
    if source.kind == "file":
        return file_rows(Path(source.test if test else source.path))
    if source.kind == "hub":
        return hub_rows(source.path, source.config, source.test if test else source.split, source.revision)
    raise UserError(f"sources: unknown kind '{source.kind}'; expected seed, file or hub")


def _pairs(rows: Iterator[tuple[str, dict]], source: AgentSource, part: str) -> list[Pair]:
    pairs, problems = [], []
    for where, row in rows:
        for column in (source.prompt, source.completion):
            value = row.get(column)
            if column not in row:
                problems.append(f"{where}: field '{column}': missing; the row has {', '.join(map(str, row))}")
            elif not isinstance(value, str) or not value.strip():
                problems.append(f"{where}: field '{column}': expected text, found {value!r}"[:200])
            else:
                continue
            break
        else:
            prompt, completion = row[source.prompt].strip(), row[source.completion].strip()
            pairs.append(Pair(pair_id(source.path, prompt, completion), prompt, completion, part, source.path))
        if source.max_rows and len(pairs) == source.max_rows:
            break
    raise_first(problems)
    return pairs


def _drop_long(pairs: list[Pair], params: AgentData, report: dict) -> list[Pair]:
    kept = [
        pair
        for pair in pairs
        if len(pair.prompt) <= params.max_prompt_chars and len(pair.completion) <= params.max_completion_chars
    ]
    report["dropped_long"] = len(pairs) - len(kept)
    return kept


def _drop_duplicates(pairs: list[Pair], params: AgentData, report: dict) -> list[Pair]:
    """Equal prompts of one part count once; the same prompt with two answers is dropped whole, and counted."""
    answers: dict[tuple[bool, int], set[str]] = {}
    first: dict[tuple[bool, int], Pair] = {}
    for pair in pairs:
        key = (pair.part == "train", fingerprint(pair.prompt))
        answers.setdefault(key, set()).add(pair.completion)
        first.setdefault(key, pair)
    kept = [pair for key, pair in first.items() if len(answers[key]) == 1]
    report["dropped_contradictory"] = sum(len(found) > 1 for found in answers.values())
    report["dropped_duplicates"] = len(pairs) - len(first)
    if pairs and report["dropped_duplicates"] / len(pairs) > params.max_duplicates:
        raise UserError(
            f"{report['agent']}: {report['dropped_duplicates']} of {len(pairs)} rows repeat another, more than "
            f"agent_data.max_duplicates ({params.max_duplicates:.0%}); clean the source"
        )
    return kept


def _drop_secrets(pairs: list[Pair], report: dict) -> list[Pair]:
    found = {pair.id: kinds for pair in pairs if (kinds := secrets(f"{pair.prompt}\n{pair.completion}"))}
    report["dropped_secrets"] = Counter(kind for kinds in found.values() for kind in kinds)
    return [pair for pair in pairs if pair.id not in found]


def _without_leaks(name: str, pairs: list[Pair], params: AgentData, report: dict) -> tuple[list[Pair], list[Pair]]:
    """Split; held-out values share their frames with training by design, so only equal prompts leak there."""
    train = [pair for pair in pairs if pair.part == "train"]
    test = [pair for pair in pairs if pair.part != "train"]
    strict = [pair for pair in test if pair.part != "new_values"]
    known = {fingerprint(pair.prompt): index for index, pair in enumerate(train)}
    found = [(pair, known[fingerprint(pair.prompt)]) for pair in test if fingerprint(pair.prompt) in known]
    alike = leaks([pair.prompt for pair in train], [pair.prompt for pair in strict], params.leakage)
    found += [(strict[held], index) for held, index in alike]
    leaked = {pair.id for pair, _ in found}
    report["leaked"] = len(leaked)
    if test and len(leaked) / len(test) > params.max_leakage:
        pair, index = found[0]
        raise UserError(
            f"{name}: {len(leaked)} of {len(test)} held-out prompts stand in training, more than "
            f"agent_data.max_leakage ({params.max_leakage:.1%}); for one, {pair.id} '{pair.prompt[:80]}' is "
            f"{train[index].id} '{train[index].prompt[:80]}'; remove them from one side, or allow a share with "
            f"max_leakage and they leave training"
        )
    out = {index for _, index in found}
    return [pair for index, pair in enumerate(train) if index not in out], test


def _describe(parts: dict[str, list[Pair]], params: AgentData) -> dict:
    rows = [pair for pairs in parts.values() for pair in pairs]
    answers = Counter(pair.completion for pair in parts["train"])
    return {
        "rows": {part: len(pairs) for part, pairs in parts.items()},
        "test_parts": Counter(pair.part for pair in parts["test"]),
        "tasks": Counter(pair.task for pair in parts["train"]),
        "answers": len(answers),
        "rarest_answer": min(answers.values()),
        "commonest_answer": max(answers.values()),
        "median_prompt_chars": median(len(pair.prompt) for pair in rows),
        "median_completion_chars": median(len(pair.completion) for pair in rows),
        **language_report("agent_data", "prompts", (pair.prompt for pair in parts["train"]), params.language),
    }


def _row(pair: Pair) -> dict:
    meta = {"part": pair.part, "source": pair.source, "task": pair.task}
    return {"id": pair.id, "prompt": pair.prompt, "completion": pair.completion, "meta": meta}
