"""One of the safety pair's first agents, distilled from its lessons: a conversation agent of the ablation, or the feedback agent.

The conversation agents all start from the chat model. The feedback agent starts from the one that it will work with, which can
tell harm from its look-alikes already. Beside whole answers they learn the first sentences of many more, in which a small model
decides whether to refuse or to raise a flag (`genesis.openings`).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genesis.common.chat import read_jsonl
from genesis.common.usage import Usage
from genesis.openings import Openings
from genesis.sft import Sft, sft
from genesis.training import Compute

OPENED = ("answer", "remark")


@dataclass
class WaltzSft(Sft):
    """Section `waltz_sft`.

    Attributes:
        start: a folder or hub model.
        openings: first sentences beside whole answers.
        feedback: what is different for the feedback agent, by the names of this section.
    """

    start: str = "models/chat/model"
    openings: Openings = field(default_factory=Openings)
    feedback: dict[str, Any] = field(default_factory=dict)


def waltz_sft(params: WaltzSft, compute: Compute, data: Path, out: Path, usage: Usage) -> None:
    """Train on `data`/train.jsonl, the loss on val.jsonl beside it; see `genesis.sft.sft` for what is written."""
    rows, val = ([row for _, row in read_jsonl(data / f"{name}.jsonl")] for name in ("train", "val"))
    opened = [row["messages"] for row in rows if row["kind"] in OPENED]
    train, held = ([row["messages"] for row in some] for some in (rows, val))
    sft(params, compute, params.start, train, held, out, usage, openings=params.openings, opened=opened)
