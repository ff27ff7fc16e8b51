"""Fine-tune one specialist on its pairs, loss on completions only, from the chat model or any other."""

from dataclasses import dataclass
from pathlib import Path

from genesis.common.chat import Message, raise_first, read_jsonl, user_turn
from genesis.common.usage import Usage
from genesis.sft import Sft, sft
from genesis.training import Compute


@dataclass
class Finetune(Sft):
    """Section `finetune`; `start` names a folder or hub model, by default the chat model of this repository."""

    start: str = "models/chat/model"


def finetune(params: Finetune, compute: Compute, data: Path, out: Path, usage: Usage) -> None:
    """Train on `data`/train.jsonl, measure the loss on val.jsonl; see `genesis.sft.sft` for what is written."""
    train, val = read_pairs(data / "train.jsonl"), read_pairs(data / "val.jsonl")
    sft(params, compute, params.start, train, val, out, usage)


def read_pairs(path: Path) -> list[list[Message]]:
    """The pairs of a file that agent_data made, as conversations of two turns.

    Raises:
        UserError: names file, line and field of the first bad row, and the count of all.
    """
    pairs, problems = [], []
    for number, row in read_jsonl(path):
        bad = [name for name in ("prompt", "completion") if not isinstance(row.get(name), str) or not row[name].strip()]
        if bad:
            problems.append(f"{path}:{number}: field '{bad[0]}': expected text, found {row.get(bad[0])!r}"[:200])
        else:
            answer: Message = {"role": "assistant", "content": row["completion"]}
            pairs.append([*user_turn(row["prompt"]), answer])
    raise_first(problems)
    return pairs
