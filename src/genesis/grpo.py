"""The one reinforcement-learning run: the RLT teacher and both agents of WaltzRL use it.

TRL's GRPOTrainer (GRPO, arXiv 2402.03300) with its surprising defaults set back to the paper's: the loss is a mean over each
completion's tokens, the reference model takes part (β), the schedule and the precision come from params.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.roomy_cache import generate_with_room
from genesis.sft import Lora, lora_config
from genesis.tracking import trackers
from genesis.training import Compute, TimedCheckpoints, UsageCallback, checkpoint_of, flops_per_token, processes

COLUMNS = [
    "loss",
    "learning_rate",
    "grad_norm",
    "reward",
    "reward_std",
    "frac_reward_zero_std",
    "kl",
    "entropy",
    "mean_length",
    "clipped_ratio",
]
FORWARD = 1 / 3  # of the FLOPs of a training step's forward and backward
REFERENCE = "reference.pt"


@dataclass
class Grpo:
    """How a GRPO run goes; the base of the sections `rl` and `waltz_rl`.

    Attributes:
        steps: optimiser steps.
        prompts, group: prompts a step and completions of each; prompts × group completions, computed `rows` at a time.
        lr: AdamW's learning rate; `schedule` is any of transformers'.
        beta: weight of the KL divergence from the reference model; 0 keeps none.
        clip: ε of the clipped importance ratio.
        sync_every, sync_alpha: every so many steps the reference becomes α · policy + (1 − α) · reference; 0 never.
        max_tokens: longest completion.
        vllm: generate with vLLM on the training GPUs.
    """

    steps: int = 125
    prompts: int = 16
    group: int = 64
    rows: int = 16
    lr: float = 1e-6
    schedule: str = "constant"
    warmup: float = 0.0
    beta: float = 0.04
    clip: float = 0.2
    temperature: float = 0.7
    sync_every: int = 32
    sync_alpha: float = 0.9
    max_tokens: int = 1024
    max_grad_norm: float = 1.0
    seed: int = 0
    log_every: int = 1
    vllm: bool = False
    lora: Lora = field(default_factory=Lora)


def check(params: Grpo, section: str) -> None:
    """Refuse values that contradict each other.

    Raises:
        UserError: names the keys.
    """
    if params.group < 2:
        raise UserError(f"{section}.group: expected 2 or more completions of a prompt to compare, found {params.group}")
    if params.prompts * params.group % params.rows:
        raise UserError(
            f"{section}.rows: {params.prompts} prompts × {params.group} completions are no multiple of {params.rows}"
        )
    if params.lora.rank and params.sync_every:
        raise UserError(
            f"{section}.lora.rank and {section}.sync_every: a LoRA run keeps no reference model of its own to sync; "
            "set one of them to 0"
        )
    if params.sync_every and not params.beta:
        raise UserError(
            f"{section}.sync_every: without a reference model (beta 0) there is nothing to sync; set it to 0"
        )


def grpo(
    params: Grpo,
    compute: Compute,
    model,
    tokenizer,
    rows: list[dict[str, Any]],
    reward: Callable[..., list[float | None]],
    usage: Usage,
    columns: list[str],
    forwards: int = 2,
    shuffle: bool = True,
) -> Any:
    """Train `model` in place; an interrupted run goes on from its last checkpoint.

    Args:
        model: a causal language model whose config names the folder it came from (the reference is loaded from there).
        tokenizer: the model's.
        rows: the data set: `prompt` (rendered text, or messages) and whatever columns the reward reads.
        reward: a reward function of TRL; what it logs as `name/term` becomes the column `term`.
        usage: counts tokens and FLOPs; its resume folder holds checkpoints, train.csv and sample completions.
        columns: of train.csv, beside `COLUMNS`.
        forwards: forward passes over prompt and completion besides training's own (generation, reference, reward).
        shuffle: draw the rows in random order.

    Returns:
        The trainer after its last step.

    Raises:
        UserError: a loss that is not finite.
    """
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    resumed_from = checkpoint_of(usage)
    usage.resumed = resumed_from is not None
    step = int(Path(resumed_from).name.split("-")[1]) if resumed_from else 0
    per_token = flops_per_token(model, params.max_tokens) * (1 + forwards * FORWARD)
    trainer = _trainer_class()(
        model=model,
        reward_funcs=reward,
        args=_config(params, compute, usage.resume, shuffle),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora_config(params.lora),
        callbacks=[
            *trackers(usage),
            GrpoLog(usage, per_token, [*COLUMNS, *columns], step),
            TimedCheckpoints(compute.checkpoint_s),
        ],
    )
    generate_with_room(model)
    if resumed_from and trainer.ref_model is not None:
        trainer.ref_model.load_state_dict(torch.load(Path(resumed_from) / REFERENCE, weights_only=True))
    trainer.train(resume_from_checkpoint=resumed_from)
    return trainer


class GrpoLog(UsageCallback):
    """UsageCallback for TRL's GRPO logs: their names without the part before the slash, tokens counted across a resume."""

    def on_train_begin(self, args, state, control, **kwargs):
        """Tokens of earlier attempts were counted by them."""
        self.seen = int(state.num_input_tokens_seen)

    def on_log(self, args, state, control, logs=None, **kwargs):
        """See UsageCallback."""
        super().on_log(args, state, control, {name.rpartition("/")[2]: value for name, value in logs.items()}, **kwargs)


def _config(params: Grpo, compute: Compute, out: Path, shuffle: bool):
    from trl import GRPOConfig

    completions = params.prompts * params.group
    vllm = {"use_vllm": True, "vllm_mode": "colocate"} if params.vllm else {}
    return GRPOConfig(
        output_dir=str(out),
        max_steps=params.steps,
        per_device_train_batch_size=params.rows,
        gradient_accumulation_steps=max(1, completions // (params.rows * processes())),
        num_generations=params.group,
        shuffle_dataset=shuffle,
        max_completion_length=params.max_tokens,
        temperature=params.temperature,
        learning_rate=params.lr,
        lr_scheduler_type=params.schedule,
        warmup_steps=params.warmup,
        optim="adamw_torch_fused",
        weight_decay=0.0,
        max_grad_norm=params.max_grad_norm,
        loss_type="grpo",
        beta=params.beta,
        epsilon=params.clip,
        sync_ref_model=bool(params.sync_every),
        ref_model_sync_steps=params.sync_every or 1,
        ref_model_mixup_alpha=params.sync_alpha,
        gradient_checkpointing=False,
        bf16=compute.bf16,
        torch_compile=compute.compile,
        log_completions=False,
        seed=params.seed,
        logging_steps=params.log_every,
        save_strategy="no",
        save_total_limit=1,
        report_to="none",
        disable_tqdm=not os.isatty(2),
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        **vllm,
    )


def _trainer_class():
    from trl import GRPOTrainer
    from trl.trainer.utils import RepeatSampler

    class EpochSampler(RepeatSampler):
        """TRL's order of prompts, drawn for each epoch by its number: a resumed run has not drawn the earlier ones."""

        def set_epoch(self, epoch: int) -> None:
            """Called by the training loop before an epoch."""
            self.generator.manual_seed(self.seed + epoch)

    class Trainer(GRPOTrainer):
        """GRPOTrainer that goes on exactly: the order of prompts does not depend on where a run was resumed, and checkpoints
        hold the reference model too, as a synced one is not the one that training began with."""

        def _get_train_sampler(self, dataset=None):
            sampler = super()._get_train_sampler(dataset)
            if sampler.shuffle:
                sampler.__class__ = EpochSampler
            return sampler

        def _save_checkpoint(self, model, trial):
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
            if self.ref_model is not None and self.accelerator.is_main_process:
                torch.save(self.accelerator.unwrap_model(self.ref_model).state_dict(), folder / REFERENCE)
            super()._save_checkpoint(model, trial)

        def create_model_card(self, *args, **kwargs):
            """Checkpoints are nobody's to read."""

    return Trainer
