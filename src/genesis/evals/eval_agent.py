"""Measure one agent before (the chat model) and after its fine-tune: held-out parts, scenarios, speed, benchmarks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesis.agents import Agent
from genesis.common.chat import read_jsonl, user_turn
from genesis.common.usage import Usage
from genesis.evals.contamination import Contamination
from genesis.evals.gsm8k import evaluate_gsm8k, read_gsm8k
from genesis.evals.humaneval import evaluate_humaneval, read_humaneval
from genesis.evals.records import Record, check_failures, summarise, write_results
from genesis.evals.scenarios import evaluate_scenarios, read_scenarios
from genesis.graders.answers.grade import grade
from genesis.sampling import Completion, Sampler, TransformersSampler


@dataclass
class EvalAgent:
    """Section `eval_agent`.

    Attributes:
        max_tokens: longest answer to a held-out prompt or scenario.
        benchmark_max_tokens, benchmark_rows: for GSM8K and HumanEval; 0 rows for all.
        before_rows: held-out rows on which the chat model is measured too; 0 for all.
        batch_size: prompts answered at once.
        max_failed: share of examples that may fail to run before the stage refuses to score.
    """

    max_tokens: int = 48
    benchmark_max_tokens: int = 256
    benchmark_rows: int = 0
    before_rows: int = 0
    batch_size: int = 64
    max_failed: float = 0.02


def eval_agent(
    params: EvalAgent, agent: Agent, model: Path, chat: Path, data: Path, corpus: Path, out: Path, usage: Usage
) -> None:
    """Write `out`/summary.json, records.jsonl (after) and before/ (the chat model's).

    Raises:
        UserError: bad scenario rows, a model that cannot be loaded, or too many examples that failed to run.
    """
    contaminated = Contamination([corpus / "ngrams.npy", data / "ngrams.npy"])
    held_out = [row for _, row in read_jsonl(data / "test.jsonl")]
    scenarios = read_scenarios(Path(agent.scenarios)) if agent.scenarios else []
    before = TransformersSampler.load(chat, params.batch_size)
    few = held_out[: params.before_rows] if params.before_rows else held_out
    records_before, summary_before = measure(before, few, scenarios, params, contaminated)
    write_results(out / "before", records_before, summary_before)
    del before
    after = Timed(TransformersSampler.load(model, params.batch_size))
    records, summary = measure(after, held_out, scenarios, params, contaminated)
    speed = after.speed()
    for name, found, value in benchmarks(params, agent, after, contaminated):
        records += found
        summary[name] = value
    check_failures(records, params.max_failed, model.parent.name)
    usage.add(tokens=after.tokens)
    write_results(out, records, {"before": summary_before, "after": summary, "speed": speed})


def measure(
    sampler: Sampler, held_out: list[dict], scenarios: list[dict], params: EvalAgent, contaminated: Contamination
) -> tuple[list[Record], dict[str, Any]]:
    """Records and one summary for each held-out part and for the scenarios."""
    completions = sampler.sample([user_turn(row["prompt"]) for row in held_out], max_tokens=params.max_tokens)
    records = [_held_out(row, completion) for row, completion in zip(held_out, completions, strict=True)]
    parts = sorted({record.meta["part"] for record in records})
    summary = {part: summarise([record for record in records if record.meta["part"] == part]) for part in parts}
    if scenarios:
        found, summary["scenarios"] = evaluate_scenarios(
            sampler, scenarios, max_tokens=params.max_tokens, contaminated=contaminated
        )
        records = records + found
    return records, summary


def benchmarks(params: EvalAgent, agent: Agent, sampler: Sampler, contaminated: Contamination):
    """Yield name, records and summary of each benchmark that the agent's file names."""
    rows, tokens = params.benchmark_rows or None, params.benchmark_max_tokens
    if agent.gsm8k:
        yield (
            "gsm8k",
            *evaluate_gsm8k(
                sampler, read_gsm8k(Path(agent.gsm8k))[:rows], max_tokens=tokens, contaminated=contaminated
            ),
        )
    if agent.humaneval:
        yield (
            "humaneval",
            *evaluate_humaneval(
                sampler, read_humaneval(Path(agent.humaneval))[:rows], max_tokens=tokens, contaminated=contaminated
            ),
        )


class Timed:
    """A sampler that remembers how fast it answered."""

    def __init__(self, sampler: Sampler):
        self.sampler = sampler
        self.seconds: list[float] = []
        self.tokens = 0

    def sample(self, conversations, **options) -> list[Completion]:
        """See `Sampler.sample`."""
        completions = self.sampler.sample(conversations, **options)
        self.seconds += [completion.seconds for completion in completions]
        self.tokens += sum(completion.tokens for completion in completions)
        return completions

    def speed(self) -> dict[str, float]:
        """Generated tokens a second in batches, and the latency of single requests asked one at a time."""
        latencies = sorted(
            self.sampler.sample([user_turn("Where is my order? Which team should take this?")], max_tokens=16)[
                0
            ].seconds
            for _ in range(9)
        )
        return {
            "tokens_per_s": self.tokens / sum(self.seconds),
            "latency_p50_s": latencies[4],
            "latency_p95_s": latencies[-1],
        }


def _held_out(row: dict, completion: Completion) -> Record:
    verdict = grade({"kind": "label", "answer": row["completion"]}, completion.text)
    return Record(
        id=row["id"],
        output=completion.text,
        verdict=verdict.correct,
        grader="label",
        seconds=completion.seconds,
        meta={"part": row["meta"]["part"], "gold": row["completion"], "prompt": row["prompt"]},
    )
