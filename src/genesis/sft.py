"""The one supervised fine-tune: chat, agents, student, teacher and the safety pair all use it.

TRL's SFTTrainer on rows that are tokenised here, once, with a label for every token of an assistant turn and for no other.
"""

import functools
import os
import random
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genesis.common.chat import Message, write_json
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.loss import IGNORE, summed_loss
from genesis.models import load_model, load_tokenizer
from genesis.openings import Draws, Openings, opening, with_openings
from genesis.tracking import keep, trackers
from genesis.training import (
    Compute,
    LikeLengths,
    TimedCheckpoints,
    UsageCallback,
    checkpoint_of,
    flops_per_token,
    processes,
)

Row = dict[str, list[int]]
Encoder = Callable[[Any, Any], Row]
COLUMNS = ["loss", "learning_rate", "grad_norm"]


@dataclass
class Lora:
    """Low-rank adaptation of all linear layers (arXiv 2106.09685); rank 0 trains the whole model."""

    rank: int = 0
    alpha: int = 16
    dropout: float = 0.0


@dataclass
class Sft:
    """How a supervised fine-tune runs; the base of the sections `chat`, `finetune`, `student`, …

    Attributes:
        epochs: passes over the examples.
        max_steps: stop after so many optimiser steps even before the epochs end; 0 for no limit.
        batch: examples in an optimiser step, over all processes; each computes `rows` at a time.
        lr: peak of AdamW's learning rate; `schedule` is any of transformers' (linear, cosine, constant, …).
        warmup: share of the steps.
        max_length: longer examples are dropped and counted.
        packing: fill rows of `max_length` with whole examples that do not see each other (wants flash attention).
        group_by_length: batches of like lengths, which wastes little on padding; where lengths tell the answer, as those of
            refusals do, such batches pull one way and then the other, and random ones learn better.
        prompt_dropout: share of the unlabelled tokens blanked anew in every batch, so that a small model learns words and
            not whole frames.
    """

    epochs: float = 3.0
    max_steps: int = 0
    batch: int = 16
    rows: int = 16
    lr: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_length: int = 512
    packing: bool = False
    group_by_length: bool = True
    prompt_dropout: float = 0.0
    seed: int = 0
    log_every: int = 10
    lora: Lora = field(default_factory=Lora)


def sft(
    params: Sft,
    compute: Compute,
    start: str | Path,
    train: list[Any],
    val: list[Any],
    out: Path,
    usage: Usage,
    encoder: Encoder | None = None,
    openings: Openings | None = None,
    opened: list[Any] | None = None,
) -> dict[str, Any]:
    """Fine-tune `start` on examples and write `out`/model, train.csv and summary.json; returns the summary.

    Examples are conversations, unless an `encoder` says how an example becomes a row of input_ids and labels. With
    `openings`, every step also learns the first sentences of some of `opened`.

    Raises:
        UserError: no example fits, LoRA keys that contradict, a loss that is not finite.
    """
    import datasets
    import torch
    from trl import SFTConfig, SFTTrainer

    class Ordered(SFTTrainer):
        """SFTTrainer whose batches of like lengths come in the same order after an interruption."""

        def _get_train_sampler(self, train_dataset=None):
            if self.args.train_sampling_strategy != "group_by_length":
                return super()._get_train_sampler(train_dataset)
            batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
            lengths = [len(ids) for ids in (train_dataset or self.train_dataset)["input_ids"]]
            return LikeLengths(batch, lengths, self.args.seed)

    class Trainer(Ordered):
        """SFTTrainer that runs the output layer on labelled positions only, where TRL runs it on all off the GPU."""

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            """Sum of the labelled tokens' losses over their count, as TRL defines it."""
            outputs = model(**inputs, use_cache=False, completion_loss=True)
            count = outputs["labelled"] if num_items_in_batch is None else num_items_in_batch
            if model.training:
                mine = torch.tensor(_tokens(inputs), device=self.accelerator.device)
                self._total_train_tokens += int(self.accelerator.reduce(mine))
            self._metrics["train" if model.training else "eval"]["num_tokens"] = [self._total_train_tokens]
            return outputs["loss"] / count * (self.accelerator.num_processes if num_items_in_batch is not None else 1)

    datasets.disable_progress_bars()
    tokenizer = load_tokenizer(start)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(params.seed)
    model = load_model(start, tokenizer, dtype=torch.float32)
    model.set_attn_implementation(compute.attention)
    counted = usage.attempt.tokens
    parameters = sum(parameter.numel() for parameter in model.parameters())
    rows, dropped = encode_all(train, tokenizer, params.max_length, encoder)
    held_out, _ = encode_all(val, tokenizer, params.max_length, encoder)
    if not rows:
        raise UserError(f"sft: none of {len(train)} examples fits into max_length {params.max_length}; raise it")
    config = SFTConfig(
        output_dir=str(usage.resume),
        num_train_epochs=params.epochs,
        max_steps=params.max_steps or -1,
        per_device_train_batch_size=params.rows,
        per_device_eval_batch_size=params.rows,
        gradient_accumulation_steps=max(1, params.batch // (params.rows * processes())),
        learning_rate=params.lr,
        optim="adamw_torch_fused",
        lr_scheduler_type=params.schedule,
        warmup_steps=params.warmup,
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        max_length=params.max_length if params.packing else None,
        packing=params.packing,
        train_sampling_strategy="group_by_length" if params.group_by_length and not params.packing else "random",
        bf16=compute.bf16,
        torch_compile=compute.compile,
        gradient_checkpointing=False,
        seed=params.seed,
        logging_steps=params.log_every,
        save_strategy="no",
        save_total_limit=1,
        eval_strategy="no",
        report_to="none",
        disable_tqdm=not os.isatty(2),
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
    )
    resumed_from = checkpoint_of(usage)
    usage.resumed = resumed_from is not None
    step = int(Path(resumed_from).name.split("-")[1]) if resumed_from else 0
    kind = Trainer if add_completion_loss(model) else Ordered
    if openings and openings.count:
        first, _ = encode_all(opened or [], tokenizer, params.max_length, encoder)
        kind = with_openings(kind, _draws(first, openings, params, tokenizer), openings.weight)
    trainer = kind(
        model=model,
        args=config,
        train_dataset=_dataset(rows),
        processing_class=tokenizer,
        peft_config=lora_config(params.lora),
        callbacks=[
            *trackers(usage),
            UsageCallback(usage, flops_per_token(model, params.max_length), COLUMNS, step),
            TimedCheckpoints(compute.checkpoint_s),
        ],
    )
    if params.prompt_dropout:
        trainer.data_collator = PromptDropout(trainer.data_collator, params.prompt_dropout, tokenizer)
    before = _loss(trainer, held_out)
    result = trainer.train(resume_from_checkpoint=resumed_from)
    weights = trainer.accelerator.get_state_dict(
        trainer.model
    )  # whole on the first process, also where they are sharded
    model = trainer.accelerator.unwrap_model(trainer.model)
    summary = {
        "parameters": parameters,
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "examples": len(rows),
        "dropped_long": dropped,
        "steps": trainer.state.global_step,
        "loss": last_loss(trainer.state.log_history, result.training_loss),
        "val_loss_start": before,
        "val_loss": _loss(trainer, held_out),
        "train_tokens": usage.attempt.tokens - counted,
    }
    if trainer.is_world_process_zero():
        model.save_pretrained(out / "model", state_dict=weights)
        tokenizer.save_pretrained(out / "model")
        (out / "train.csv").write_bytes((usage.resume / "train.csv").read_bytes())
        keep(usage, out)
        write_json(out / "summary.json", summary)
    return summary


def _draws(rows: list[Row], openings: Openings, params: Sft, tokenizer) -> Draws:
    """What a micro-batch of one process learns beside its rows."""
    if not rows:
        raise UserError(f"sft: no example whose opening could be learnt fits into max_length {params.max_length}")
    first = [opening(row, tokenizer) for row in rows]
    return Draws(first, max(1, openings.count * params.rows // params.batch), tokenizer.pad_token_id, params.seed)


SCALED = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")


def add_completion_loss(model) -> bool:
    """Let `model(…, labels=…, completion_loss=True)` return the summed loss over labelled positions; False where it cannot.

    The head is computed there alone, without whole logits (`genesis.loss`). A model whose head has a bias or whose logits are
    scaled before the softmax, and a model on a GPU, where TRL's kernel does the same, keep TRL's own loss.
    """
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    if model.device.type != "cpu" or head.bias is not None or any(hasattr(config, name) for name in SCALED):
        return False
    plain = model.forward
    softcap = getattr(config, "final_logit_softcapping", None)

    @functools.wraps(type(model).forward)
    def forward(self, *args, completion_loss: bool = False, **kwargs):
        if not completion_loss:
            return plain(*args, **kwargs)
        targets_BT = kwargs.pop("labels")[:, 1:]
        hidden_BTC = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        wanted_BT = targets_BT != IGNORE
        loss = summed_loss(hidden_BTC[wanted_BT], self.get_output_embeddings(), targets_BT[wanted_BT], softcap)
        return {"loss": loss, "labelled": wanted_BT.sum()}

    model.forward = types.MethodType(forward, model)
    return True


def _tokens(inputs: dict[str, Any]) -> int:
    """Tokens of a batch that are no padding."""
    return int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else inputs["position_ids"].numel()


class PromptDropout:
    """A collator that blanks a share of the unlabelled tokens, special tokens excepted, while gradients are on.

    Draws come from torch's global generator, which a Trainer's checkpoint restores.
    """

    def __init__(self, collate, share: float, tokenizer):
        self.collate, self.share = collate, share
        self.blank = tokenizer.pad_token_id
        self.special = set(tokenizer.all_special_ids)

    def __call__(self, rows: list[dict]) -> dict[str, Any]:
        """Collate as before, then blank."""
        import torch

        batch = self.collate(rows)
        ids_BT = batch["input_ids"]
        free_BT = (batch["labels"] == IGNORE) & ~torch.isin(ids_BT, torch.tensor(sorted(self.special)))
        hit_BT = torch.rand(ids_BT.shape) < self.share
        batch["input_ids"] = ids_BT.masked_fill(free_BT & hit_BT, self.blank)
        return batch


def encode_all(
    examples: list[Any], tokenizer, max_length: int, encoder: Encoder | None = None
) -> tuple[list[Row], int]:
    """Rows of input_ids and labels for every example that fits, and how many did not."""
    rows = [(encoder or encode)(example, tokenizer) for example in examples]
    kept = [row for row in rows if len(row["input_ids"]) <= max_length]
    return kept, len(rows) - len(kept)


def encode(conversation: list[Message], tokenizer) -> Row:
    """Token ids of a conversation and its labels: the assistant's tokens with their end token, −100 elsewhere.

    Uses the template's `{% generation %}` marks; for a template without them, the characters that each assistant turn adds
    to the text before it, mapped to tokens by their offsets.
    """
    if "{% generation %}" in _squeezed(tokenizer.chat_template):
        made = tokenizer.apply_chat_template(
            conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        ids, mask = made["input_ids"], made["assistant_masks"]
    else:
        ids, mask = _mask_by_offsets(conversation, tokenizer)
    labels = [token if wanted else IGNORE for token, wanted in zip(ids, mask, strict=True)]
    if all(label == IGNORE for label in labels):
        raise UserError(f"the chat template marks no assistant token in {conversation!r}"[:300])
    return {"input_ids": list(ids), "labels": labels}


def _mask_by_offsets(conversation: list[Message], tokenizer) -> tuple[list[int], list[int]]:
    text = tokenizer.apply_chat_template(conversation, tokenize=False)
    spans = []
    for index, message in enumerate(conversation):
        if message["role"] == "assistant":
            prefix = tokenizer.apply_chat_template(conversation[:index], tokenize=False, add_generation_prompt=True)
            whole = tokenizer.apply_chat_template(conversation[: index + 1], tokenize=False)
            if not whole.startswith(prefix) or not text.startswith(whole.rstrip()):
                raise UserError("the chat template rewrites earlier turns; give it {% generation %} marks")
            spans.append((len(prefix), len(whole.rstrip())))
    made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    mask = [
        int(any(a <= start and end <= b for a, b in spans) and end > start) for start, end in made["offset_mapping"]
    ]
    return made["input_ids"], mask


def _squeezed(template: str) -> str:
    return template.replace("{%-", "{%").replace("-%}", "%}")


def _dataset(rows: list[Row]):
    from datasets import Dataset

    shuffled = random.Random(0).sample(rows, len(rows))
    return Dataset.from_list(shuffled)


def lora_config(params: Lora):
    """What TRL's trainers take as `peft_config`; None trains the whole model."""
    if not params.rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=params.rank,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _loss(trainer, rows: list[Row]) -> float | None:
    """Mean loss a labelled token of held-out rows, None where there are none."""
    return trainer.evaluate(_dataset(rows))["eval_loss"] if rows else None


def last_loss(history: list[dict], otherwise: float) -> float:
    """The last logged training loss; a run shorter than a logging interval has its mean only."""
    logged = [row["loss"] for row in history if "loss" in row]
    return logged[-1] if logged else otherwise
