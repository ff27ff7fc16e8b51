"""What safety training cost: the trained conversation agent against the chat model that it started from.

Two things can be measured of both: a few tasks of CORE (likelihoods alone, no chat format), and the loss on the general
conversations that the chat model's training held out. Neither is about safety, so a pair that became safe by forgetting
how to talk loses here. The agent was taught to open every reply with a thought, so its chat loss counts that habit too.
The specialist agents are other fine-tunes of the same chat model: safety training does not touch them, and the chat model
itself answers next to none of their held-out prompts, so there is nothing there that the pair could lose.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesis.common.chat import Message, read_conversations
from genesis.evals.core import evaluate_core
from genesis.evals.core_bundle import Task, read_bundle
from genesis.evals.records import wilson_interval
from genesis.models import load_model, load_tokenizer
from genesis.sft import IGNORE, encode_all


@dataclass(frozen=True)
class Probe:
    """What both models are measured on."""

    tasks: list[Task]
    conversations: list[list[Message]]
    max_length: int

    @classmethod
    def read(cls, bundle: Path, tasks: list[str], chats: Path, rows: int, max_length: int) -> "Probe":
        """Read the tasks (all when empty) and at most so many conversations (0: all), drawn once and for all.

        Raises:
            UserError: a damaged bundle, an unknown task, or a bad record.
        """
        conversations = [record["messages"] for record in read_conversations(chats)]
        drawn = random.Random(0).sample(conversations, min(rows or len(conversations), len(conversations)))
        return cls(read_bundle(bundle, tasks or None), drawn, max_length)


def capability(model: Path, probe: Probe) -> dict[str, Any]:
    """CORE's accuracy over all items with its 95 % interval, the mean of the centred ones, and the loss on chats.

    Returns:
        `core_accuracy`, `core_accuracy_low`, `core_accuracy_high`, `core_n`, `core_mini`, `chat_loss` (nats a token of
        the assistant's turns) and `chat_n` (conversations that fit); None for what there was nothing to measure on.
    """
    tokenizer = load_tokenizer(model)
    network = load_model(model, tokenizer).eval()
    found = evaluate_core(network, tokenizer, probe.tasks)
    verdicts = [record["correct"] for record in found["records"] if record["failed"] is None]
    low, high = wilson_interval(sum(verdicts), len(verdicts)) or (None, None)
    rows, _ = encode_all(probe.conversations, tokenizer, probe.max_length)
    return {
        "core_accuracy": sum(verdicts) / len(verdicts) if verdicts else None,
        "core_accuracy_low": low,
        "core_accuracy_high": high,
        "core_n": len(verdicts),
        "core_mini": found["core_mini"] if found["core"] is None else found["core"],
        "chat_loss": _loss(network, rows),
        "chat_n": len(rows),
    }


def _loss(model, rows: list[dict[str, list[int]]]) -> float | None:
    import torch
    import torch.nn.functional as F

    total = count = 0
    with torch.inference_mode():
        for row in rows:  # one at a time: a batch's logits would be padding for the most part
            ids_1T = torch.tensor([row["input_ids"]], device=model.device)
            targets_T = torch.tensor(row["labels"][1:], device=model.device)
            logits_TV = model(ids_1T).logits[0, :-1].float()
            total += F.cross_entropy(logits_TV, targets_T, ignore_index=IGNORE, reduction="sum").item()
            count += int((targets_T != IGNORE).sum())
    return total / count if count else None
