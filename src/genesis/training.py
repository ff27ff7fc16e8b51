"""What every training loop and every Trainer here shares: precision, FLOPs, logs, checkpoints, the loss check."""

import csv
import math
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from genesis.common.errors import BudgetError, UserError
from genesis.common.usage import Usage


@dataclass
class Compute:
    """Section `compute`: how the machine is used; the same for every stage that trains.

    Attributes:
        bf16: mixed precision in bfloat16 (on GPUs; two CPU cores are slower with it).
        compile: torch.compile the model.
        attention: transformers' attention implementation: sdpa, flash_attention_2, eager.
        checkpoint_s: seconds between resumable checkpoints.
        processes: copies of a training stage that work together, one for each GPU (`genesis.launch`).
        accelerate: a file of infra/accelerate/ that shards a model too large for one GPU over them; "" for none.
    """

    bf16: bool = False
    compile: bool = False
    attention: str = "sdpa"
    checkpoint_s: float = 60.0
    processes: int = 1
    accelerate: str = ""


def flops_per_token(model, length: int) -> float:
    """Training FLOPs a token: 6 a weight that multiplies, and 12 · layers · width · length for attention.

    The count of PaLM (arXiv 2204.02311, appendix B), embedding look-ups left out; causal attention counted in full.
    """
    config = model.config.get_text_config()
    weights = sum(parameter.numel() for parameter in model.parameters())
    weights -= model.get_input_embeddings().weight.numel() if not config.tie_word_embeddings else 0
    return 6.0 * weights + 12.0 * config.num_hidden_layers * config.hidden_size * length


def warmup_warmdown(step: int, steps: int, warmup: float, warmdown: float) -> float:
    """Learning-rate factor of `step`: linear rise over the share `warmup`, flat, linear fall over `warmdown` to zero."""
    rise, fall = max(1, round(warmup * steps)), max(1, round(warmdown * steps))
    return min((step + 1) / rise, 1.0, (steps - step) / fall)


def check_loss(loss: float, step: int, kept: str) -> None:
    """Stop a run whose loss is no longer a number.

    Raises:
        UserError: with the step and what is kept.
    """
    if not math.isfinite(loss):
        raise UserError(f"the loss became {loss} at step {step}; {kept}; lower the learning rate, look at the data")


def check_weights(model, step: int, kept: str) -> None:
    """Refuse to save weights that are not finite: the loss shows a bad update only one step later.

    Raises:
        UserError: with the step and what is kept.
    """
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        check_loss(math.nan, step, kept)


class TrainLog:
    """train.csv: one row a logged step, kept beside the checkpoints while the run may still be resumed."""

    def __init__(self, path: Path, columns: list[str], from_step: int = 0):
        self.path = path
        self.columns = columns
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [row for row in read_log(path) if int(row["step"]) <= from_step] if path.is_file() else []
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)

    def add(self, **values: Any) -> None:
        """Append one row; a float that is not finite becomes an empty cell."""
        clean = {k: "" if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(clean)


def read_log(path: Path) -> list[dict[str, str]]:
    """Rows of a train.csv; a last row cut off by a kill is left out."""
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write a checkpoint that is either whole or absent, then drop the older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"step-{step:08d}.pt.part"
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(part.with_suffix(""))
    for path in checkpoints(folder)[:-1]:
        path.unlink()


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint, or None."""
    found = checkpoints(folder)
    return torch.load(found[-1], map_location="cpu", weights_only=True) if found else None


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def processes() -> int:
    """How many processes of a launch share every optimiser step; 1 outside of one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def agreed(wanted: bool) -> bool:
    """The first process's answer, in every process of a launch: clocks differ, but all must save or stop at one step."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return wanted
    answer = torch.tensor([wanted], dtype=torch.uint8, device=PartialState().device)
    torch.distributed.broadcast(answer, src=0)
    return bool(answer.item())


class UsageCallback(TrainerCallback):
    """Counts a Trainer's tokens and FLOPs, writes train.csv, stops at a loss that is not finite and at a budget cap."""

    def __init__(self, usage: Usage, per_token: float, columns: list[str], resumed_step: int = 0):
        self.usage = usage
        self.per_token = per_token
        self.seen = 0
        self.columns = ["step", "tokens", *columns]
        first = os.environ.get("RANK", "0") == "0"  # the Trainer logs in every process of a launch
        self.log = TrainLog(usage.resume / "train.csv", self.columns, resumed_step) if first else None
        self.cap: str | None = None

    def on_step_end(self, args, state, control, **kwargs):
        """At a budget cap, ask for a last row, a checkpoint and the end."""
        self.cap = self.usage.cap_reached()
        if agreed(self.cap is not None):
            self.cap = self.cap or "the first process of this launch reached a budget cap"
            control.should_log = control.should_save = control.should_training_stop = True

    def on_save(self, args, state, control, **kwargs):
        """Tell that a checkpoint is whole."""
        self.usage.saved()

    def on_train_end(self, args, state, control, **kwargs):
        """End the stage if the budget did; the checkpoint is written by now."""
        if self.cap and state.global_step < state.max_steps:
            raise BudgetError(f"stopped after step {state.global_step}: {self.cap}")

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Write one row; `logs` holds what the Trainer measured since the last."""
        tokens = int(logs.get("num_tokens", self.seen))
        self.usage.add(tokens - self.seen, (tokens - self.seen) * self.per_token)
        self.seen = tokens
        if "loss" in logs:
            check_loss(float(logs["loss"]), state.global_step, kept(self.usage.resume))
            row = {name: logs.get(name, "") for name in self.columns}
            if self.log:
                self.log.add(**{**row, "step": state.global_step, "tokens": tokens})


class LikeLengths(LengthGroupedSampler):
    """transformers' order of like lengths, drawn from seed and epoch alone, so that a resumed run goes on in the same order."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths)
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; the Trainer calls it."""
        self.generator = torch.Generator().manual_seed(self.seed + epoch)


class TimedCheckpoints(TrainerCallback):
    """Asks the Trainer for a checkpoint when so many seconds have passed since the last one."""

    def __init__(self, every_s: float):
        self.every_s = every_s
        self.last = time.monotonic()

    def on_train_begin(self, args, state, control, **kwargs):
        """Start the clock."""
        self.last = time.monotonic()

    def on_step_end(self, args, state, control, model=None, **kwargs):
        """Ask for a save where one is due and the run is not about to end."""
        if agreed(time.monotonic() - self.last >= self.every_s) and state.global_step < state.max_steps:
            check_weights(model, state.global_step, kept(Path(args.output_dir)))
            self.last = time.monotonic()
            control.should_save = True


def kept(folder: Path) -> str:
    """What an error says of the checkpoints of a Trainer that stops."""
    return "the last good checkpoint is kept" if newest_checkpoint(folder) else "no checkpoint was due yet"


def checkpoint_of(usage: Usage) -> str | None:
    """A Trainer's newest whole checkpoint in the resume folder."""
    return newest_checkpoint(usage.resume)


def newest_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint of a Trainer; half-written ones are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    while found and not (found[-1] / "trainer_state.json").is_file():
        shutil.rmtree(found.pop())
    return str(found[-1]) if found else None
