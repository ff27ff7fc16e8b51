"""Trackers beside train.csv: DVCLive and Weights & Biases through transformers' own callbacks (`tracking: [dvclive]`).

They write into the resume folder while the stage is at work, so that a resumed run goes on with the same record, and
`keep` copies that into the stage's out: nothing of theirs reaches a folder that git tracks, and later stages, which depend on the
out's payload alone, do not see it. Both stay offline; WANDB_MODE=online sends.
"""

import importlib.util
import math
import os
import shutil
from pathlib import Path

from genesis.common.errors import UserError
from genesis.common.params import read_yaml
from genesis.common.usage import Usage

KNOWN = ("dvclive", "wandb")


def wanted(params: Path = Path("params.yaml")) -> list[str]:
    """The names under `tracking`; none without a params file.

    Raises:
        UserError: an unknown name, or a package that is not installed.
    """
    names = read_yaml(params).get("tracking", []) if params.is_file() else []
    for name in names if isinstance(names, list) else [names]:
        if name not in KNOWN:
            raise UserError(f"{params}: tracking: unknown tracker {name!r}; expected a list of {' and '.join(KNOWN)}")
        if importlib.util.find_spec(name) is None:
            raise UserError(f"{params}: tracking: {name} is not installed; pip install {name}, or take it off the list")
    return names


def trackers(usage: Usage) -> list:
    """A callback for each wanted tracker, for a Trainer's `callbacks`; they stand before the one that may end the run."""
    if os.environ.get("RANK", "0") != "0":
        return []
    return [MAKE[tracker](usage.resume / tracker, usage.name) for tracker in wanted()]


def keep(usage: Usage, out: Path) -> None:
    """Copy what the trackers wrote into the out."""
    keep_from(usage.resume, out)


def keep_from(folder: Path, out: Path) -> None:
    """Copy what they wrote into a folder, where they did."""
    for tracker in wanted():
        if (folder / tracker).is_dir():
            shutil.copytree(folder / tracker, out / tracker, dirs_exist_ok=True)


class LoopTrackers:
    """Hands the rows of a loop that is no Trainer to the same callbacks."""

    def __init__(self, usage: Usage, model):
        self.callbacks = trackers(usage)
        if self.callbacks:
            from transformers import TrainerControl, TrainerState, TrainingArguments

            self.arguments = TrainingArguments(output_dir=str(usage.resume), report_to="none", run_name=usage.name)
            self.state, self.control, self.model = TrainerState(), TrainerControl(), model

    def log(self, step: int, values: dict[str, float]) -> None:
        """Report one row; what is not finite is left out."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        for callback in self.callbacks:
            self.state.global_step = step
            callback.on_log(self.arguments, self.state, self.control, model=self.model, logs=dict(finite))

    def end(self) -> None:
        """Close the records."""
        for callback in self.callbacks:
            callback.on_train_end(self.arguments, self.state, self.control, model=self.model)


def _dvclive(folder: Path, name: str):
    from dvclive import Live
    from transformers.integrations import DVCLiveCallback

    live = Live(str(folder), resume=True, dvcyaml=None, save_dvc_exp=False, exp_name=name)
    return DVCLiveCallback(live=live)


def _wandb(folder: Path, name: str):
    import wandb
    from transformers.integrations import WandbCallback

    folder.mkdir(parents=True, exist_ok=True)
    mode = os.environ.get("WANDB_MODE", "offline")
    wandb.init(project="genesis", name=name, dir=str(folder), mode=mode)
    return WandbCallback()


MAKE = {"dvclive": _dvclive, "wandb": _wandb}
