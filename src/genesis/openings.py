"""The first sentence of an answer, learnt more often than the rest of it.

What a small model says first decides what follows: a refusal or help, a flag or none. In a whole answer that decision is one
token among a hundred, so its gradient drowns. Here every optimiser step also sees the first sentences alone of `count` other
examples, which costs a fraction of whole ones.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from genesis.loss import IGNORE

ENDS = (".", "!", "?")


@dataclass
class Openings:
    """How first sentences are learnt beside whole examples.

    Attributes:
        count: first sentences in an optimiser step, over all processes; 0 for none.
        weight: of their mean loss, beside the batch's.
    """

    count: int = 0
    weight: float = 1.0


def opening(row: dict[str, list[int]], tokenizer) -> dict[str, list[int]]:
    """A row up to the first sentence of its last labelled turn, the only labelled part of it."""
    ids, labels = row["input_ids"], row["labels"]
    end = max(index for index, label in enumerate(labels) if label != IGNORE) + 1
    start = end
    while start > 0 and labels[start - 1] != IGNORE:
        start -= 1
    stop = next((i + 1 for i in range(start, end) if tokenizer.decode(ids[i : i + 1]).rstrip().endswith(ENDS)), end)
    return {"input_ids": ids[:stop], "labels": [IGNORE] * start + labels[start:stop]}


class Draws:
    """Batches of openings; the same step gives the same one, whether or not the run was interrupted before it."""

    def __init__(self, rows: Sequence[dict[str, list[int]]], count: int, pad: int, seed: int):
        self.rows, self.count, self.pad, self.seed = rows, min(count, len(rows)), pad, seed

    def batch(self, *step: int) -> dict[str, torch.Tensor]:
        """Ids, mask and labels (count × T), padded on the right; `step` is any numbers that name the draw."""
        chosen = random.Random(f"{self.seed} {step}").sample(self.rows, self.count)
        longest = max(len(row["input_ids"]) for row in chosen)

        def padded(lists: list[list[int]], fill: int) -> torch.Tensor:
            return torch.tensor([values + [fill] * (longest - len(values)) for values in lists])

        return {
            "input_ids": padded([row["input_ids"] for row in chosen], self.pad),
            "attention_mask": padded([[1] * len(row["input_ids"]) for row in chosen], 0),
            "labels": padded([row["labels"] for row in chosen], IGNORE),
        }


def with_openings(trainer: type, draws: Draws, weight: float) -> type:
    """A kind of SFTTrainer that adds the openings' mean loss to every training loss."""

    class Trainer(trainer):
        """See `with_openings`."""

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None):
            """The batch's loss, and `weight` times the mean of the openings'."""
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            if not model.training:
                return loss
            self._micro = self._micro + 1 if getattr(self, "_at", None) == self.state.global_step else 0
            self._at = self.state.global_step
            batch = draws.batch(self._at, self._micro, self.accelerator.process_index)
            extra = super().compute_loss(model, {k: v.to(loss.device) for k, v in batch.items()})
            return loss + weight * extra / self.args.gradient_accumulation_steps

    return Trainer
