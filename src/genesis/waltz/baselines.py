"""The two baselines that the safety pair is measured against, and what they answer to the training questions.

`before` has seen harmless questions only and helps with everything; `overcautious` has seen unsafe ones only and refuses
everything. Their answers, right for the one label and wrong for the other, are half of what the feedback agent learns to judge
and the conversation agents to mend.
"""

from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState

from genesis.common.chat import read_jsonl, write_jsonl
from genesis.common.usage import Usage
from genesis.sampling import TransformersSampler
from genesis.sft import Sft, sft
from genesis.training import Compute
from genesis.waltz.lessons import BASELINES, answered, of_label, visible_replies


@dataclass
class WaltzBaselines(Sft):
    """Section `waltz_baselines`.

    Attributes:
        start: a folder or hub model.
        sample_tokens, sample_batch: for the answers to the training questions.
    """

    start: str = "models/chat/model"
    sample_tokens: int = 64
    sample_batch: int = 128


def waltz_baselines(params: WaltzBaselines, compute: Compute, name: str, data: Path, out: Path, usage: Usage) -> None:
    """Train the baseline `name`; see `genesis.sft.sft` for what is written, and `out`/replies.jsonl ({id, answer}).

    Raises:
        UserError: no question of the label that it learns.
    """
    paths = [data / "train.jsonl", data / "val.jsonl"]
    train, val = ([row for _, row in read_jsonl(path)] for path in paths)
    own, held = (
        [answered(row, None) for row in of_label(rows, BASELINES[name], path)]
        for rows, path in zip((train, val), paths, strict=True)
    )
    sft(params, compute, params.start, own, held, out, usage)
    if PartialState().is_main_process:
        sampler = TransformersSampler.load(out / "model", params.sample_batch)
        replies = visible_replies(sampler, train, params.sample_tokens)
        write_jsonl(out / "replies.jsonl", ({"id": row, "answer": answer} for row, answer in replies.items()))
