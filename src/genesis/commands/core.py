"""Score a base model on CORE: the 22 tasks of DCLM, as nanochat runs them.

python -m genesis core models/base/model --bundle data/seed/core_mini --out core.json
"""

import argparse
import sys
import time
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("model", help="model folder or hub name, its tokenizer beside it")
    parser.add_argument("--bundle", type=Path, required=True, help="folder with core_tasks.csv or core.yaml")
    parser.add_argument("--tasks", help="labels, separated by commas (default: all)")
    parser.add_argument("--max-per-task", type=int, help="keep so many shuffled rows of each task (default: all)")
    parser.add_argument("--batch-tokens", type=int, help="padded tokens in one forward (default: by device)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for scores and every example's verdict")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print a table and write the file."""
    from genesis.common.chat import write_json
    from genesis.common.errors import UserError
    from genesis.evals.core import evaluate_core
    from genesis.evals.core_bundle import read_bundle
    from genesis.models import load_model, load_tokenizer

    if args.batch_tokens is not None and args.batch_tokens < 1:
        raise UserError(f"--batch-tokens: expected 1 or more, found {args.batch_tokens}")
    labels = [label.strip() for label in args.tasks.split(",") if label.strip()] if args.tasks else None
    tasks = read_bundle(args.bundle, labels)
    tokenizer = load_tokenizer(args.model)
    model = load_model(args.model, tokenizer=tokenizer)
    print(f"{'task':<34}{'accuracy':>9}{'centred':>9}{'v1':>9}{'n':>7}{'cropped':>8}{'NaN':>5}{'failed':>7}{'s':>8}")
    started = time.perf_counter()
    outcome = evaluate_core(
        model,
        tokenizer,
        tasks,
        max_per_task=args.max_per_task,
        batch_tokens=args.batch_tokens,
        progress=_print_task,
    )
    seconds = time.perf_counter() - started
    for name in ("core", "core_v1", "core_mini", "core_mini_v1"):
        print(f"{name:<34}{'':>9}{_number(outcome[name])}")
    facts = {
        "model": args.model,
        "bundle": str(args.bundle),
        "command": " ".join(["python -m genesis", *sys.argv[1:]]),
        "device": _device(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "seconds": seconds,
    }
    write_json(args.out, {**facts, **outcome})
    return 0


def _print_task(label: str, result: dict) -> None:
    scores = "".join(_number(result[name]) for name in ("accuracy", "centered", "centered_v1"))
    counts = f"{result['n']:>7}{result['n_cropped']:>8}{result['n_nan_options']:>5}{result['n_failed']:>7}"
    print(f"{label:<34}{scores}{counts}{result['seconds']:>8.1f}", flush=True)


def _number(value: float | None) -> str:
    return f"{'—' if value is None else format(value, '.4f'):>9}"


def _device(model) -> str:
    import torch

    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    return f"{model.device.type}, {torch.get_num_threads()} threads"
