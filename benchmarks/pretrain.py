"""Pretraining speed, side by side: ours, a plain transformers Trainer with AdamW, and nanochat's own model and optimizer.

    python benchmarks/pretrain.py [--nanochat CHECKOUT] [--depth 4 --width 256 --vocab 32768 --length 512 --rows 8] [--steps 5]

Each contender runs in a process of its own on the same shapes, tokens drawn at random (the speed does not depend on them),
and reports the median step. The arithmetic limit beside them is the machine's float32 (bfloat16 on a GPU) matrix product rate
over the training FLOPs of a token. nanochat has its own Muon + AdamW and full attention windows, as it advises without its
flash attention. Ours and nanochat run eagerly and compiled, and the faster way counts. CPU time a step (all threads) stands
beside the wall time: it is steadier where other work shares the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

CONTENDERS = ("ours", "trainer", "nanochat")


def main() -> None:
    """Run every contender that is at hand and print tokens/s, ratios and the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("depth", 4), ("width", 256), ("vocab", 32768), ("length", 512), ("rows", 8), ("steps", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--nanochat", help="a checkout of karpathy/nanochat")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        print(json.dumps({"ours": ours, "trainer": trainer, "nanochat": nanochat}[args.contender](args)))
        return
    found = {name: measure(name) for name in CONTENDERS if name != "nanochat" or args.nanochat}
    per_token = found["ours"]["flops_per_token"]
    limit = matmul_rate() / per_token
    tokens = args.rows * args.length
    print(f"depth {args.depth}, width {args.width}, vocabulary {args.vocab}, batch {args.rows} x {args.length}")
    for name, result in found.items():
        speed = tokens / result["seconds"]
        ratio = result["seconds"] / found["ours"]["seconds"]
        cpu = result["cpu_seconds"] / found["ours"]["cpu_seconds"]
        print(
            f"{name:<9}{speed:>10,.0f} tokens/s  {speed / limit:>5.0%} of the limit  "
            f"ours is {ratio:.2f} x ({cpu:.2f} x in CPU time)"
        )
    print(
        f"limit    {limit:>10,.0f} tokens/s  ({matmul_rate() / 1e9:,.0f} GFLOP/s, {per_token / 1e6:.1f} MFLOP a token)"
    )


def measure(name: str) -> dict:
    """One contender in its own process."""
    command = [sys.executable, __file__, *sys.argv[1:], "--contender", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def median_step(step: Callable[[], object], steps: int) -> dict[str, float]:
    """Wall and CPU seconds of the median step after two that warm up."""
    wall, cpu = [], []
    for _ in range(steps + 2):
        started, started_cpu = time.perf_counter(), time.process_time()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - started_cpu)
    return {"seconds": statistics.median(wall[2:]), "cpu_seconds": statistics.median(cpu[2:])}


def faster(step_of: Callable[[bool], Callable[[], object]], steps: int) -> dict[str, float]:
    """The quicker of a step run eagerly and compiled; a GPU runs compiled, since eagerly nobody would."""
    ways = (True,) if torch.cuda.is_available() else (False, True)
    found = [median_step(step_of(compiled), steps) for compiled in ways]
    return min(found, key=lambda result: result["seconds"])


def model_of(args: argparse.Namespace):
    """The same NanoChat for ours and the Trainer."""
    from transformers import NanoChatConfig, NanoChatForCausalLM

    config = NanoChatConfig(
        vocab_size=args.vocab,
        hidden_size=args.width,
        intermediate_size=4 * args.width,
        num_hidden_layers=args.depth,
        num_attention_heads=max(1, args.width // 128),
        max_position_embeddings=args.length,
    )
    return NanoChatForCausalLM(config).to(device())


def device() -> str:
    """Where everything runs."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def ours(args: argparse.Namespace) -> dict:
    """Our loop's step: loss in slices, Muon + AdamW."""
    from genesis.nanochat.optim import build_optimizers
    from genesis.nanochat.pretrain import NextTokenLoss
    from genesis.training import flops_per_token

    model = model_of(args)
    optimizers = build_optimizers(model, 0.02, 0.2, 0.004, 0.0)
    rows_BT = torch.randint(0, args.vocab, (args.rows, args.length + 1), device=device())

    def step_of(compiled: bool) -> Callable[[], object]:
        module = NextTokenLoss(model, compiled)

        def step() -> None:
            with torch.autocast(device(), torch.bfloat16, enabled=torch.cuda.is_available()):
                loss = module(rows_BT)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        return step

    return {**faster(step_of, args.steps), "flops_per_token": flops_per_token(model, args.length)}


def trainer(args: argparse.Namespace) -> dict:
    """A plain transformers Trainer with its defaults (AdamW), timed between its steps."""
    import tempfile

    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        times: list[tuple[float, float]] = []  # noqa: RUF012

        def on_step_end(self, args, state, control, **kwargs):
            self.times.append((time.perf_counter(), time.process_time()))

    ids = torch.randint(0, args.vocab, (args.rows * (args.steps + 3), args.length))
    rows = [{"input_ids": row, "labels": row} for row in ids]
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingArguments(
            folder,
            per_device_train_batch_size=args.rows,
            max_steps=args.steps + 3,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            bf16=torch.cuda.is_available(),
            torch_compile=torch.cuda.is_available(),
        )
        clock = Clock()
        Trainer(model_of(args), config, train_dataset=rows, callbacks=[clock]).train()
    gaps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(clock.times, clock.times[1:], strict=False)]
    wall, cpu = zip(*gaps[2:], strict=True)
    return {"seconds": statistics.median(wall), "cpu_seconds": statistics.median(cpu)}


def nanochat(args: argparse.Namespace) -> dict:
    """nanochat's GPT and optimizer from a checkout, its step as in base_train."""
    os.environ.setdefault("NANOCHAT_BASE_DIR", "/nonexistent")
    sys.path.insert(0, args.nanochat)
    from nanochat.gpt import GPT, GPTConfig

    heads = max(1, args.width // 128)
    config = GPTConfig(
        sequence_len=args.length,
        vocab_size=args.vocab,
        n_layer=args.depth,
        n_head=heads,
        n_kv_head=heads,
        n_embd=args.width,
        window_pattern="L",
    )
    with torch.device("meta"):
        model = GPT(config)
    model.to_empty(device=device())
    model.init_weights()
    optimizer = model.setup_optimizer()
    ids_BT = torch.randint(0, args.vocab, (args.rows, args.length + 1), device=device())

    def step_of(compiled: bool) -> Callable[[], object]:
        forward = torch.compile(model, dynamic=False) if compiled else model

        def step() -> None:
            forward(ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous()).backward()
            optimizer.step()
            model.zero_grad(set_to_none=True)

        return step

    return faster(step_of, args.steps)


def matmul_rate() -> float:
    """FLOP/s of a large matrix product in the type that training uses."""
    size, kind = (8192, torch.bfloat16) if torch.cuda.is_available() else (2048, torch.float32)
    a, b = (torch.randn(size, size, device=device(), dtype=kind) for _ in range(2))
    return 2 * size**3 / median_step(lambda: a @ b, 5)["seconds"]


if __name__ == "__main__":
    main()
