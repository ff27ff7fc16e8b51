"""Safety of every model of the track on held-out families of prompts, and what safety training cost in other things.

One row a model: the chat model, the two baselines, the ablation a–d, (d) with the untrained pair's feedback agent, and the
trained pair. All of them answer the same prompts, greedily, and one judge reads them all.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genesis.common.chat import Message, write_json, write_jsonl
from genesis.common.usage import Usage
from genesis.evals.capability import Probe, capability
from genesis.evals.judge_agreement import read_agreement
from genesis.evals.records import reduction
from genesis.evals.safety import Limits, check_safety, evaluate_safety, spread, summarise_safety
from genesis.graders.judging import Judge, make_judge
from genesis.safety_rows import ENDS, HEADLINES, KEPT, REDUCTIONS, ROWS, keys, rates_of
from genesis.safety_sets import Columns, Prompt, read_set
from genesis.sampling import Completion, Sampler, TransformersSampler
from genesis.waltz.lessons import BASELINES

COLUMNS = Columns("question", label_column="label", category=("category",), id="id")


@dataclass
class EvalSafety:
    """Section `eval_safety`.

    Attributes:
        rows: prompts of each label, at even distances over the held-out ones; 0 for all.
        max_tokens, feedback_max_tokens: longest answer and longest feedback.
        batch_size: prompts answered at once.
        max_failed: share of prompts that may fail to run, or of verdicts that may be unreadable, before a row is refused.
        guard, guard_format: a guard model as the judge and its format, wildguard or llama_guard; none: the refusal judge.
        agreement: the refusal judge's measured agreement with people.
        bundle, core_tasks: the CORE tasks on which kept capability is measured; no names for all.
        chat_rows, max_length: held-out conversations for the same, and the longest of them that counts.
    """

    rows: int = 0
    max_tokens: int = 256
    feedback_max_tokens: int = 128
    batch_size: int = 64
    max_failed: float = 0.02
    guard: str = ""
    guard_format: str = "wildguard"
    agreement: str = "data/seed/judge_agreement.json"
    bundle: str = "data/seed/core_mini"
    core_tasks: list[str] = field(default_factory=list)
    chat_rows: int = 64
    max_length: int = 1024


def eval_safety(params: EvalSafety, test: Path, models: Path, out: Path, usage: Usage) -> None:
    """Write `out`/<row>/records.jsonl and `out`/summary.json, whose flat keys `safety_rows.keys` lists.

    Args:
        test: the held-out prompts: id, question, label, category.
        models: the folder with chat/, waltz/baselines/, waltz/sft/ and waltz/rl/.

    Raises:
        UserError: bad prompts, a model that cannot be loaded, too many failures or unreadable verdicts, or an agreement
            measured with another version of the judge.
    """
    agreement = None if params.guard else read_agreement(Path(params.agreement))
    probe = Probe.read(
        Path(params.bundle), params.core_tasks, models / "chat/val.jsonl", params.chat_rows, params.max_length
    )
    prompts = spread(read_set(test, COLUMNS), params.rows)
    judge = make_judge(params.guard, params.guard_format)
    rows = {}
    for row, records in play_rows(params, prompts, models, judge, usage):
        check_safety(records, params.max_failed, f"{test}, row {row}")
        write_jsonl(out / row / "records.jsonl", (asdict(record) for record in records))
        rows[row] = summarise_safety(records)
    agents = {row: agents_of(row, models)[0] for row in KEPT}
    kept = {row: capability(path, probe) for row, path in agents.items()}
    details = {"rows": rows, "kept": kept, "judge": {"name": params.guard or "refusal", "agreement": agreement}}
    write_json(out / "summary.json", {**flat(rows, kept, agreement), **details})


def agents_of(row: str, models: Path) -> tuple[Path, Path | None]:
    """The conversation agent's model folder and the feedback agent's, if the row has one."""
    sft, pair = models / "waltz/sft", models / "waltz/rl"
    if row == "chat":
        return models / "chat/model", None
    if row == "pair":
        return pair / "conversation/model", pair / "feedback/model"
    if row == "feedback_untrained":
        return sft / "rl/model", sft / "feedback/model"
    return (models / "waltz/baselines" if row in BASELINES else sft) / row / "model", None


def play_rows(params: EvalSafety, prompts: list[Prompt], models: Path, judge: Judge, usage: Usage):
    """Yield each row's name and records; a conversation agent that two rows in a row share answers once."""
    limits = Limits(params.max_tokens, params.feedback_max_tokens)
    path, agent = None, None
    for row in ROWS:
        wanted, other = agents_of(row, models)
        if wanted != path:
            path, agent = wanted, Remembering(TransformersSampler.load(wanted, params.batch_size))
        feedback = Remembering(TransformersSampler.load(other, params.batch_size)) if other else None
        before = agent.tokens
        yield row, evaluate_safety(prompts, agent, feedback, judge, limits)
        usage.add(tokens=agent.tokens - before + (feedback.tokens if feedback else 0))


def flat(rows: dict[str, dict[str, Any]], kept: dict[str, dict[str, Any]], agreement: dict | None) -> dict[str, Any]:
    """The flat keys that collect, the gates and the report read; null for what there was nothing to measure on."""
    rates = {row: found["rates"] for row, found in rows.items()}
    found = {f"judge_agreement{end}": agreement and agreement[end.strip("_") or "value"] for end in (*ENDS, "_n")}
    for key, (row, name) in HEADLINES.items():
        found |= _ends(key, rates[row][name])
    for key, pair in REDUCTIONS.items():
        after, before = (_count(rates[row][name]) for row, name in map(HEADLINES.get, pair))
        fall = reduction(after, before) or (None, None, None)
        found |= {f"{key}{end}": value for end, value in zip(ENDS, fall, strict=True)}
    for row in ROWS:
        for name in rates_of(row):
            found |= _ends(f"{row}_{name}", rates[row][name]) | {f"{row}_{name}_n": rates[row][name]["n"]}
    for row in KEPT:
        found |= {f"kept_core_accuracy_{row}{end}": kept[row][f"core_accuracy{end}"] for end in ENDS}
        found |= {f"kept_{name}_{row}": kept[row][name] for name in ("core_mini", "chat_loss")}
    return {key: found[key] for key in keys()}


def _ends(key: str, found: dict[str, Any]) -> dict[str, float | None]:
    return {f"{key}{end}": found[end.strip("_") or "value"] for end in ENDS}


def _count(found: dict[str, Any]) -> tuple[int, int]:
    return round((found["value"] or 0) * found["n"]), found["n"]


class Remembering:
    """A greedy sampler that answers the same conversation once; `tokens` counts what was generated."""

    def __init__(self, sampler: Sampler):
        self.sampler = sampler
        self.known: dict[tuple, Completion] = {}
        self.tokens = 0

    def sample(
        self, conversations: list[list[Message]], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        """See `Sampler.sample`."""
        options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        said = [tuple((turn["role"], turn["content"]) for turn in turns) for turns in conversations]
        asked = [(*options.values(), turns) for turns in said]
        new = {key: turns for key, turns in zip(asked, conversations, strict=True) if key not in self.known}
        if new:
            made = self.sampler.sample(list(new.values()), **options)
            self.known |= dict(zip(new, made, strict=True))
            self.tokens += sum(completion.tokens for completion in made)
        return [self.known[key] for key in asked]
