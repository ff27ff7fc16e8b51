"""Pretrain a NanoChat model from scratch: packed rows, Muon + AdamW, bits per byte, resumable at any moment."""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm
from transformers import NanoChatConfig, NanoChatForCausalLM

from genesis.common.chat import write_json
from genesis.common.errors import BudgetError, UserError
from genesis.common.usage import Usage
from genesis.loss import IGNORE, summed_loss, token_losses
from genesis.models import load_tokenizer
from genesis.nanochat.optim import build_optimizers
from genesis.nanochat.packing import PackedRows, documents
from genesis.tracking import LoopTrackers, keep
from genesis.training import (
    Compute,
    TrainLog,
    agreed,
    check_loss,
    check_weights,
    flops_per_token,
    load_checkpoint,
    read_log,
    save_checkpoint,
    warmup_warmdown,
)

COLUMNS = ["step", "tokens", "loss", "lr", "bpb", "tokens_per_s"]


@dataclass
class Pretrain:
    """Section `pretrain`.

    Attributes:
        depth: layers; the width is depth × aspect, the heads are width / head_dim.
        length: tokens in a row; also the context the model is saved with, unless `context` is larger.
        context: the saved model's context; rotary positions let short fine-tuning examples use more than `length`.
        steps, batch_tokens: optimiser steps and tokens in each, over all processes.
        rows: rows a process computes at once; gradients accumulate up to `batch_tokens`.
        matrix_lr, embedding_lr, head_lr: rates of Muon and of AdamW's two groups.
        warmup, warmdown: shares of the steps.
        eval_every, eval_tokens: steps between validations, and the tokens of each.
    """

    depth: int = 4
    aspect: int = 32
    head_dim: int = 64
    length: int = 256
    context: int = 1024
    steps: int = 300
    batch_tokens: int = 4096
    rows: int = 16
    matrix_lr: float = 0.02
    embedding_lr: float = 0.2
    head_lr: float = 0.004
    weight_decay: float = 0.0
    warmup: float = 0.02
    warmdown: float = 0.5
    eval_every: int = 100
    eval_tokens: int = 32768
    log_every: int = 10
    seed: int = 0


class NextTokenLoss(nn.Module):
    """The model with its loss: summed nats over a batch of rows; what data-parallel training wraps."""

    def __init__(self, model: NanoChatForCausalLM, compiled: bool):
        super().__init__()
        self.model = model
        self.backbone = torch.compile(model.model) if compiled else model.model

    def hidden(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Last hidden states, B × T × width."""
        return self.backbone(ids_BT, use_cache=False).last_hidden_state

    def forward(self, rows_BT: torch.Tensor) -> torch.Tensor:
        """Mean nats a token of rows that hold one token more than the model reads."""
        targets_BT = rows_BT[:, 1:]
        softcap = self.model.config.final_logit_softcapping
        total = summed_loss(self.hidden(rows_BT[:, :-1]), self.model.lm_head, targets_BT, softcap)
        return total / targets_BT.numel()


def build_model(params: Pretrain, tokenizer, attention: str = "sdpa") -> NanoChatForCausalLM:
    """A fresh model; the head and each layer's outputs start at zero, so the first loss is exactly ln(vocabulary).

    Raises:
        UserError: a width that head_dim does not divide.
    """
    width = params.depth * params.aspect
    if width % params.head_dim:
        raise UserError(f"pretrain: width {width} (depth × aspect) is no multiple of head_dim {params.head_dim}")
    config = NanoChatConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=params.depth,
        num_attention_heads=width // params.head_dim,
        max_position_embeddings=max(params.context, params.length),
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        initializer_range=width**-0.5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config._attn_implementation = attention
    model = NanoChatForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.fc2.weight.zero_()
    return model


def pretrain(params: Pretrain, compute: Compute, corpus: Path, tokenizer_path: Path, out: Path, usage: Usage) -> None:
    """Train and write `out`/model (with tokenizer), train.csv and summary.json.

    Raises:
        UserError: a corpus smaller than a batch, sizes that do not divide, or a loss that is not finite.
        BudgetError: a budget cap was reached.
    """
    accelerator = Accelerator(mixed_precision="bf16" if compute.bf16 else "no")
    tokenizer = load_tokenizer(tokenizer_path)
    micro_batches = accumulation(params, accelerator.num_processes)
    check_corpus(corpus / "train", tokenizer, params.batch_tokens)
    torch.manual_seed(params.seed)
    model = build_model(params, tokenizer, compute.attention)
    optimizers = build_optimizers(model, params.matrix_lr, params.embedding_lr, params.head_lr, params.weight_decay)
    rows = PackedRows(corpus / "train", tokenizer, params.length, accelerator.process_index, accelerator.num_processes)
    start = resume(usage, model, optimizers, rows, accelerator)
    if usage.resumed:
        accelerator.print(f"pretrain: resumed after step {start}")
    module = accelerator.prepare(NextTokenLoss(model, compute.compile))
    optimizers = [accelerator.prepare(optimizer) for optimizer in optimizers]
    validate = Validation(corpus / "val", tokenizer, params, accelerator.device)
    log = TrainLog(usage.resume / "train.csv", COLUMNS, start) if accelerator.is_main_process else None
    run = Run(params, compute.checkpoint_s, accelerator, module, optimizers, rows, usage, log, validate, micro_batches)
    run.train(start)
    if accelerator.is_main_process:
        unwrapped = accelerator.unwrap_model(module).model
        unwrapped.save_pretrained(out / "model")
        tokenizer.save_pretrained(out / "model")
        (out / "train.csv").write_bytes(log.path.read_bytes())
        keep(usage, out)
        write_json(out / "summary.json", run.summary())
    accelerator.wait_for_everyone()


def accumulation(params: Pretrain, processes: int) -> int:
    """Micro-batches a process does for one optimiser step.

    Raises:
        UserError: batch_tokens is no whole number of micro-batches.
    """
    at_once = params.rows * params.length * processes
    if params.batch_tokens % at_once:
        raise UserError(
            f"pretrain.batch_tokens: {params.batch_tokens} is no multiple of rows × length × processes = {at_once}"
        )
    return params.batch_tokens // at_once


def check_corpus(folder: Path, tokenizer, batch_tokens: int) -> None:
    """Refuse a corpus smaller than one batch.

    Raises:
        UserError: with both sizes.
    """
    count = 0
    for text in documents(folder):
        count += len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1
        if count >= batch_tokens:
            return
    raise UserError(
        f"{folder}: {count} tokens are fewer than one batch of {batch_tokens}; add text or lower pretrain.batch_tokens"
    )


def resume(usage: Usage, model, optimizers, rows: PackedRows, accelerator: Accelerator) -> int:
    """Restore the newest checkpoint into everything that trains; the step it was taken after, or 0."""
    state = load_checkpoint(usage.resume / f"rank-{accelerator.process_index}")
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    rows.load_state_dict(state["rows"])
    usage.resumed = True
    return state["step"]


class Validation:
    """Bits per byte on a fixed part of the validation split, special tokens left out (5.3 of the design)."""

    def __init__(self, folder: Path, tokenizer, params: Pretrain, device: torch.device):
        rows = PackedRows(folder, tokenizer, params.length)
        count = max(1, params.eval_tokens // params.length)
        self.batches = [rows.batch(min(params.rows, count - k)).to(device) for k in range(0, count, params.rows)]
        self.bytes_V = token_bytes(tokenizer).to(device)

    @torch.no_grad()
    def bits_per_byte(self, module: NextTokenLoss) -> float:
        """Σ nats / (ln 2 · Σ bytes) over the tokens that stand for bytes."""
        nats = length = 0.0
        for rows_BT in self.batches:
            targets_BT = rows_BT[:, 1:]
            size_BT = self.bytes_V[targets_BT]
            hidden_BTC = module.hidden(rows_BT[:, :-1])
            softcap = module.model.config.final_logit_softcapping
            targets_BT = targets_BT.masked_fill(size_BT == 0, IGNORE)
            nats += token_losses(hidden_BTC, module.model.lm_head, targets_BT, softcap).sum().item()
            length += size_BT.sum().item()
        return nats / (math.log(2) * length)


def token_bytes(tokenizer) -> torch.Tensor:
    """Bytes that each token stands for, 0 for special tokens; a ByteLevel token has one character a byte."""
    special = set(tokenizer.all_special_ids)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return torch.tensor([0 if index in special else len(piece) for index, piece in enumerate(pieces)])


class Run:
    """The loop and what it reports."""

    def __init__(
        self, params, checkpoint_s, accelerator, module, optimizers, rows, usage, log, validate, micro_batches
    ):
        self.params, self.accelerator, self.module, self.optimizers = params, accelerator, module, optimizers
        self.rows, self.usage, self.log, self.validate = rows, usage, log, validate
        self.micro_batches, self.checkpoint_s = micro_batches, checkpoint_s
        self.core = accelerator.unwrap_model(module)
        self.per_token = flops_per_token(self.core.model, params.length)
        self.speeds: list[float] = []
        self.bar_text = ""
        self.trackers = LoopTrackers(usage, self.core.model) if log else None

    def train(self, start: int) -> None:
        """Steps `start` + 1 … `steps`, with logs, validations and checkpoints.

        Raises:
            BudgetError: a cap was reached; the checkpoint is written.
        """
        try:
            self._loop(start)
        finally:
            if self.trackers:
                self.trackers.end()

    def _loop(self, start: int) -> None:
        params = self.params
        if start == 0:
            self._log(0, math.nan, 0.0, self._validated())
        saved = mark = time.perf_counter()
        for step in self._bar(start):
            factor = warmup_warmdown(step - 1, params.steps, params.warmup, params.warmdown)
            loss = self._step(factor)
            self.usage.add(params.batch_tokens, params.batch_tokens * self.per_token)
            last = step == params.steps
            due = last or step % params.eval_every == 0
            if due or step % params.log_every == 0:
                value = self._finite(loss, step)
                done = step % params.log_every or params.log_every
                now = time.perf_counter()
                self.speeds.append(min(done, step - start) * params.batch_tokens / (now - mark))
                self._log(step, value, factor, self._validated() if due else math.nan)
                mark = time.perf_counter()
            cap = self.usage.cap_reached()
            capped = agreed(cap is not None)
            if not last and (agreed(time.perf_counter() - saved > self.checkpoint_s) or capped):
                self._finite(loss, step)
                check_weights(self.core.model, step, self._kept())
                self._checkpoint(step)
                saved = mark = time.perf_counter()
            if not last and capped:
                raise BudgetError(f"stopped after step {step}: {cap}")

    def _step(self, factor: float) -> torch.Tensor:
        total = 0.0
        for _ in range(self.micro_batches):
            rows_BT = self.rows.batch(self.params.rows).to(self.accelerator.device, non_blocking=True)
            loss = self.module(rows_BT) / self.micro_batches
            self.accelerator.backward(loss)
            total = total + loss.detach()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return total

    def _finite(self, loss: torch.Tensor, step: int) -> float:
        value = float(loss)
        check_loss(value, step, self._kept())
        return value

    def _kept(self) -> str:
        return f"the last good checkpoint is kept in {self.usage.resume}"

    def _validated(self) -> float:
        return self.validate.bits_per_byte(self.core)

    def _log(self, step: int, loss: float, factor: float, bpb: float) -> None:
        if self.log is None:
            return
        tokens = step * self.params.batch_tokens
        speed = round(self.speeds[-1], 1) if self.speeds else math.nan
        lr = self.params.matrix_lr * factor
        row = {"tokens": tokens, "loss": loss, "lr": lr, "bpb": bpb, "tokens_per_s": speed}
        self.log.add(step=step, **row)
        self.trackers.log(step, row)
        self.bar_text = f"loss {loss:.3f}, {speed:,.0f} tokens/s"

    def _bar(self, start: int) -> Iterator[int]:
        quiet = not self.accelerator.is_main_process
        interval = 0.5 if sys.stderr.isatty() else 15.0
        with tqdm(total=self.params.steps, initial=start, unit="step", mininterval=interval, disable=quiet) as bar:
            for step in range(start + 1, self.params.steps + 1):
                yield step
                bar.set_postfix_str(self.bar_text, refresh=False)
                bar.update()

    def _checkpoint(self, step: int) -> None:
        state = {
            "step": step,
            "model": self.core.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rows": self.rows.state_dict(),
        }
        save_checkpoint(self.usage.resume / f"rank-{self.accelerator.process_index}", step, state)
        self.accelerator.wait_for_everyone()
        self.usage.saved()

    def summary(self) -> dict:
        """What summary.json holds."""
        rows = [row for row in read_log(self.log.path) if row["bpb"]]
        model = self.core.model
        return {
            "parameters": sum(p.numel() for p in model.parameters()),
            "width": model.config.hidden_size,
            "steps": self.params.steps,
            "tokens": self.params.steps * self.params.batch_tokens,
            "bpb_start": float(rows[0]["bpb"]),
            "bpb": float(rows[-1]["bpb"]),
            "loss": float(rows[-1]["loss"]),
            "tokens_per_s": sorted(self.speeds)[len(self.speeds) // 2] if self.speeds else None,
            "flops_per_token": self.per_token,
            "epochs": self.rows.epoch + 1,
            "packing_kept": self.rows.kept(),
        }
