"""CORE examples a second: ours against one example at a time with every option's whole prompt and full logits.

    python benchmarks/core.py
    python benchmarks/core.py --bundle ../shared/data/core --tasks arc_easy,piqa,winogrande,jeopardy --n 64

The plain way stacks the options of one example, as karpathy/nanochat does. Both must give the same verdicts. Wall time
is what one waits for; CPU time (all threads) is steadier where other work shares the machine.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import NanoChatConfig, NanoChatForCausalLM

from genesis.evals.core import Encoder, context_length, evaluate_core, shuffled
from genesis.evals.core_bundle import LANGUAGE_MODELING, Task, read_bundle
from genesis.models import best_device, load_model, load_tokenizer
from genesis.nanochat.tokenizer import train_bpe

SEED_BUNDLE = Path(__file__).parents[1] / "data" / "seed" / "core_mini"


def main() -> None:
    """Measure task by task and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder or hub name (default: a random NanoChat of about 4 M parameters)")
    parser.add_argument("--bundle", type=Path, default=SEED_BUNDLE)
    parser.add_argument("--tasks", default="arc_easy", help="labels, separated by commas")
    parser.add_argument("--n", type=int, default=48, help="examples a task")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch-tokens", type=int)
    args = parser.parse_args()
    tasks = read_bundle(args.bundle, args.tasks.split(","))
    if args.model:
        tokenizer = load_tokenizer(args.model)
        model = load_model(args.model, tokenizer=tokenizer, dtype=torch.float32).eval()
    else:
        tokenizer, model = random_model(tasks)
    millions = sum(weight.numel() for weight in model.parameters()) / 1e6
    name = args.model or "random NanoChat"
    print(f"{name}, {millions:.1f} M parameters, {model.device}, {torch.get_num_threads()} threads")
    print(f"{'task':<32}{'n':>5}{'plain/s':>10}{'ours/s':>10}{'ratio':>8}{'ratio in CPU time':>20}")
    for task in tasks:
        compare(model, tokenizer, task, args)


def random_model(tasks: list[Task]):
    """A small model of the project's architecture, and a tokenizer of 2,048 tokens trained on the tasks' own text."""
    values = (value for task in tasks for row in task.rows for value in row.values())
    parts = (part for value in values for part in (value if isinstance(value, list) else [value]))
    tokenizer = train_bpe((part for part in parts if isinstance(part, str)), 2048)
    torch.manual_seed(0)
    config = NanoChatConfig(
        vocab_size=2048,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        initializer_range=0.1,
    )
    return tokenizer, NanoChatForCausalLM(config).eval().to(best_device())


def compare(model, tokenizer, task: Task, args: argparse.Namespace) -> None:
    """Run both ways in turn, assert the same verdicts, and print medians."""
    n = min(max(args.n, task.shots + 1), len(task.rows))
    rows = shuffled(task.rows)[:n]
    ways = {
        "plain": lambda: plain_verdicts(model, tokenizer, task, rows),
        "ours": lambda: our_verdicts(model, tokenizer, task, n, args.batch_tokens),
    }
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.runs):
        verdicts = []
        for name, way in ways.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            verdicts.append(way())
            wall[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - started_cpu)
        assert verdicts[0] == verdicts[1], f"{task.label}: the two ways disagree"
    plain, ours = (statistics.median(wall[name]) for name in ways)
    plain_cpu, ours_cpu = (statistics.median(cpu[name]) for name in ways)
    speeds = f"{n:>5}{n / plain:>10.2f}{n / ours:>10.2f}{plain / ours:>8.2f}{plain_cpu / ours_cpu:>20.2f}"
    print(f"{task.label:<32}{speeds}", flush=True)


def our_verdicts(model, tokenizer, task: Task, n: int, batch_tokens: int | None) -> list[bool | None]:
    """The benchmark as the project runs it, its start-up checks included."""
    outcome = evaluate_core(model, tokenizer, [task], max_per_task=n, batch_tokens=batch_tokens)
    return [record["correct"] for record in outcome["records"]]


@torch.inference_mode()
def plain_verdicts(model, tokenizer, task: Task, rows: list[dict]) -> list[bool | None]:
    """One example at a time: its options padded on the right, logits and losses everywhere."""
    encoder = Encoder(tokenizer, context_length(model))
    verdicts: list[bool | None] = []
    for index in range(len(rows)):
        (example,) = encoder.encode(task, rows, range(index, index + 1))
        if example.failed:
            verdicts.append(None)
            continue
        width = max(len(option.tokens) for option in example.options)
        padded = [option.tokens + [0] * (width - len(option.tokens)) for option in example.options]
        ids_BT = torch.tensor(padded, device=model.device)
        logits_BTV = model(ids_BT).logits.float()
        targets_BT = ids_BT.roll(-1, dims=1)
        losses_BT = cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), reduction="none").view_as(ids_BT)
        hits_BT = logits_BTV.argmax(dim=-1) == targets_BT
        # an option with nothing to score has an empty slice, whose mean is NaN
        spans = [slice(max(option.start, 1) - 1, len(option.tokens) - 1) for option in example.options]
        if task.kind == LANGUAGE_MODELING:
            verdicts.append(bool(hits_BT[0, spans[0]].all()))
        else:
            losses = [losses_T[span].mean().item() for losses_T, span in zip(losses_BT, spans, strict=True)]
            verdicts.append(losses.index(min(losses)) == rows[index]["gold"])
    return verdicts


if __name__ == "__main__":
    main()
