"""Loading models and tokenizers, with an error that says what to do where a folder is cut short or two do not fit."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from genesis.common.errors import UserError


def best_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_tokenizer(path: str | Path):
    """Load a tokenizer from a folder or the hub.

    Raises:
        UserError: the folder is absent or holds no whole tokenizer.
    """
    _check_folder(path)
    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: no usable tokenizer ({_first_line(error)}); make it again or name another") from error


def load_model(path: str | Path, tokenizer=None, dtype: torch.dtype | None = None, device: torch.device | None = None):
    """Load a causal language model (a PEFT adapter folder too) for inference or training.

    Args:
        path: a folder or a hub name.
        tokenizer: when given, its ids must fit the model's embedding.
        dtype: weights' type; by default float32 on the CPU and as saved elsewhere.
        device: default `best_device()`.

    Raises:
        UserError: the folder is absent or cut short, or the tokenizer has more ids than the model has embeddings.
    """
    _check_folder(path)
    device = device or best_device()
    dtype = dtype or (torch.float32 if device.type == "cpu" else "auto")
    try:
        model = _from_pretrained(path, dtype)
    except (OSError, ValueError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path}: the model cannot be loaded ({_first_line(error)}); the folder may be cut short: "
            "make it again (dvc repro, dvc pull) or name another"
        ) from error
    if tokenizer is not None:
        check_vocabulary(model, tokenizer, path)
    return model.to(device)


def check_vocabulary(model, tokenizer, path: str | Path) -> None:
    """Refuse a tokenizer whose ids the model has no embedding for.

    Raises:
        UserError: with both sizes.
    """
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise UserError(
            f"{path}: the tokenizer has {len(tokenizer)} tokens and the model {rows} embeddings; "
            "they were not made for each other: use the tokenizer saved beside the model"
        )


def _from_pretrained(path: str | Path, dtype):
    if (Path(path) / "adapter_config.json").is_file():
        from peft import AutoPeftModelForCausalLM

        return AutoPeftModelForCausalLM.from_pretrained(path, dtype=dtype)
    model, report = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, output_loading_info=True)
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(f"{len(missing)} weights are missing, {missing[0]} for one")
    return model


def _check_folder(path: str | Path) -> None:
    looks_local = isinstance(path, Path) or str(path).startswith((".", "/")) or str(path).count("/") != 1
    if looks_local and not Path(path).is_dir():
        raise UserError(f"{path}: no such model folder; run the stage that makes it, or name a folder or hub model")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
