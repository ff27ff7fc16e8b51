"""The safety pair's first agents, all from the chat model: distilled from the traces, with the ablation that RLT rests on.

The conversation agent learns the same questions four times: from solutions only, from the source's traces, from the warmed-up
teacher's and from the RL teacher's; and, the same for all, to answer again where feedback says what was wrong. Two baselines
stand beside them: `before` has seen harmless questions only and helps with everything, `overcautious` unsafe ones only and
refuses everything. What they answer, right for the one label and wrong for the other, is half of what the feedback agent learns
to judge and the conversation agents to mend; the other half are solutions, right or borrowed from the other label.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import PartialState

from genesis.chat import Message, read_jsonl, write_json
from genesis.errors import UserError
from genesis.jsonfile import read_json
from genesis.sampling import TransformersSampler
from genesis.sft import Sft, sft
from genesis.training import Compute
from genesis.usage import Usage
from genesis.waltz.lessons import (
    Rows,
    answered,
    borrowed,
    drawn,
    remarks,
    revised,
    right_and_wrong,
    to_mend,
    visible_replies,
)

BASELINES = {"before": "benign", "overcautious": "unsafe"}  # and the only label that each has seen


@dataclass
class WaltzSft(Sft):
    """Section `waltz_sft`.

    Attributes:
        start: a folder or hub model.
        general: conversations of the chat stage's training that the conversation agents learn too, so that helping is what
            they do where nothing speaks against it, and what the chat model could do is not forgotten.
        revisions: questions on which a conversation agent also learns to answer again, as a share of all.
        baseline_epochs, feedback_epochs: passes of the two baselines and of the feedback agent.
        sample_tokens, sample_batch: for the baselines' answers.
    """

    start: str = "models/chat/model"
    general: int = 500
    revisions: float = 0.3
    baseline_epochs: float = 3.0
    feedback_epochs: float = 2.0
    sample_tokens: int = 64
    sample_batch: int = 128


def waltz_sft(
    params: WaltzSft, compute: Compute, data: Path, traces: dict[str, Path], chats: Path, out: Path, usage: Usage
) -> None:
    """Write `out`/<part>/{model, train.csv, summary.json} for every part, and `out`/summary.json.

    Args:
        data: the folder of safety_data.
        traces: the teachers' traces by the name of their part, `sft` and `rl`.
        chats: the chat stage's training conversations.

    Raises:
        UserError: a label without rows, or questions without traces.
    """
    train, val = ([row for _, row in read_jsonl(data / f"{part}.jsonl")] for part in ("train", "val"))
    check(train, val, data)
    thoughts = {"source": {row["id"]: row["reasoning_trace"] for row in train}}
    thoughts |= {name: {row["id"]: row["explanation"] for _, row in read_jsonl(path)} for name, path in traces.items()}
    parts = Parts(params, compute, usage)
    right, wrong, made = right_and_wrong(train, baselines(parts, train, val))
    again = to_mend(train, params.revisions, params.seed)
    general = drawn(chats, params.general, params.seed)
    parts.fit(
        "solutions", general + lessons(train, again, wrong, None), [answered(row, None) for row in val], params.epochs
    )
    held = [answered(row, row["reasoning_trace"]) for row in val]
    for name, own in thoughts.items():
        parts.fit(name, general + lessons(train, again, wrong, own), held, params.epochs)
    held = remarks(val, {row["id"]: row["solution"] for row in val}, borrowed(val))
    parts.fit("feedback", remarks(train, right, wrong), held, params.feedback_epochs)
    parts.collect(out)
    counts = {"baseline_pairs": made, "pairs": len(train), "revisions": len(again), "general": len(general)}
    write_json(out / "summary.json", counts | {"parts": {name: summary for name, summary in parts.summaries.items()}})


def check(train: Rows, val: Rows, data: Path) -> None:
    """Refuse data that some part could not learn from.

    Raises:
        UserError: names file and field.
    """
    for rows, path in ((train, data / "train.jsonl"), (val, data / "val.jsonl")):
        for label in BASELINES.values():
            if not any(row["label"] == label for row in rows):
                raise UserError(
                    f"{path}: field 'label': no row is {label}; both labels are needed, balance the sources"
                )
        bare = [row["id"] for row in rows if not row["solution"] or not row["reasoning_trace"]]
        if bare:
            raise UserError(
                f"{path}: fields 'solution' and 'reasoning_trace': {len(bare)} rows lack one, {bare[0]} for one; the ablation "
                "compares traces on the same questions: set safety_data.require_traces, or give the source traces"
            )


def baselines(parts: "Parts", train: Rows, val: Rows) -> dict[str, dict[str, str]]:
    """Train both baselines; their answers to all training questions, by the label that each has seen and the row's id."""
    replies = {}
    for name, label in BASELINES.items():
        own, held = ([answered(row, None) for row in rows if row["label"] == label] for rows in (train, val))
        parts.fit(name, own, held, parts.params.baseline_epochs)
        sampler = TransformersSampler.load(parts.folder(name) / "model", parts.params.sample_batch)
        replies[label] = visible_replies(sampler, train, parts.params.sample_tokens)
    return replies


def lessons(rows: Rows, again: Rows, wrong: dict[str, str], thoughts: dict[str, str] | None) -> list[list[Message]]:
    """A conversation agent's examples; questions whose trace is missing are left out, `thoughts` None leaves out all traces."""

    def thought(row: dict[str, Any]) -> str | None:
        return None if thoughts is None else thoughts[row["id"]]

    def known(row: dict[str, Any]) -> bool:
        return thoughts is None or bool(thoughts.get(row["id"]))

    first = [answered(row, thought(row)) for row in rows if known(row)]
    return first + [revised(row, wrong[row["id"]], thought(row)) for row in again if known(row)]


class Parts:
    """Fine-tunes one part after the other; a part that an earlier attempt finished is not trained again."""

    def __init__(self, params: WaltzSft, compute: Compute, usage: Usage):
        self.params, self.compute, self.usage = params, compute, usage
        self.summaries: dict[str, dict[str, Any]] = {}

    def folder(self, name: str) -> Path:
        """Where a part's result waits until all are done."""
        return self.usage.resume / name / "finished"

    def fit(self, name: str, train: list[list[Message]], val: list[list[Message]], epochs: float) -> None:
        """Train a part from the start model, unless that was done."""
        folder = self.folder(name)
        if (folder / "summary.json").is_file():  # written last
            self.usage.resumed = True
            self.summaries[name] = read_json(folder / "summary.json")
            return
        own = self.usage.part(name)
        params = replace(self.params, epochs=epochs)
        self.summaries[name] = sft(params, self.compute, params.start, train, val, folder, own)
        self.usage.resumed |= own.resumed
        PartialState().wait_for_everyone()  # the first process of a launch saves what all of them load next

    def collect(self, out: Path) -> None:
        """Copy all results into the stage's out."""
        for name in self.summaries:
            shutil.copytree(self.folder(name), out / name)
