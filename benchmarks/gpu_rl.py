"""rlt_rl on one GPU at the size of a small real teacher: completions/s, peak memory, where the time goes.

    python benchmarks/gpu_rl.py [--seconds 180] [--prompts 2 --group 32 --rows 16 --tokens 256] [--out reports/hardware]
    python benchmarks/gpu_rl.py --tiny     # the same on any CPU in seconds: shows that it runs, says nothing of a GPU

Teacher and student are randomly initialised models of Qwen2's architecture with the shape of its 0.5 B member, in bfloat16, so
nothing is downloaded. Their tokenizer has as many tokens as Qwen2's, made of printable characters, and RLT's own system
messages stand in front. A random teacher never writes the end tag: every completion has all of its tokens, as in the worst
step of a real run. The stage itself runs (`genesis.rlt.rl.rlt_rl`), ended after the seconds asked for and at least two
steps; the first step, which warms the GPU up, is not counted. `update` is everything but generation and reward: the
reference's forward pass, forward, backward and optimizer.

Writes <name>.json with the command, the versions and the device it ran on.
"""

import argparse
import json
import platform
import re
import shlex
import statistics
import string
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

SHAPES = {
    "full": {
        "vocab_size": 151_936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
    },
    "tiny": {
        "vocab_size": 600,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    },
}
TINY = {"seconds": 0.0, "prompts": 2, "group": 2, "rows": 4, "tokens": 8}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QUESTIONS = 64


def main() -> None:
    """Make the models, run the stage with its parts timed, write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="toy models, two steps: a check of this script")
    parser.add_argument("--seconds", type=float, default=180.0, help="of training (%(default)s)")
    parser.add_argument("--prompts", type=int, default=2, help="a step (%(default)s)")
    parser.add_argument("--group", type=int, default=32, help="completions of a prompt (%(default)s)")
    parser.add_argument("--rows", type=int, default=16, help="completions computed at a time (%(default)s)")
    parser.add_argument("--tokens", type=int, default=256, help="of a completion (%(default)s)")
    parser.add_argument("--vllm", action="store_true", help="generate with vLLM")
    parser.add_argument("--name", help="of the result (default: rlt_rl and the device)")
    parser.add_argument("--out", type=Path, default=Path("reports/hardware"))
    args = parser.parse_args()
    if args.tiny:
        vars(args).update(TINY)
    import torch

    if not args.tiny and not torch.cuda.is_available():
        sys.exit("error: no GPU here; --tiny shows on a CPU that the script runs")
    clock = Clock(args.seconds)
    with tempfile.TemporaryDirectory() as folder:
        parameters = make_inputs(Path(folder), SHAPES["tiny" if args.tiny else "full"], args)
        train(Path(folder), args, clock)
    write(report(args, clock, parameters), args)


def make_tokenizer(size: int):
    """A byte-level BPE of exactly so many tokens: bytes, then pairs and triples of printable characters; RLT's tags."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from genesis.tags import TAGS

    single = sorted(pre_tokenizers.ByteLevel.alphabet())
    printable = string.ascii_letters + string.digits + "Ġ.,"
    room = size - len(single) - len(SPECIALS) - len(TAGS)
    merges = list(product(printable, printable))
    merges += [(a + b, c) for a, b in merges for c in printable]
    merges = merges[:room]
    vocabulary = {token: index for index, token in enumerate([*single, *map("".join, merges)])}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(SPECIALS)
    bpe.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=SPECIALS[0],
        eos_token=SPECIALS[2],
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
    if len(made) != size:
        sys.exit(f"error: the tokenizer has {len(made)} tokens, not {size}")
    return made


def make_inputs(folder: Path, shape: dict[str, int], args: argparse.Namespace) -> int:
    """Teacher, student and data as the stages before leave them; returns a model's parameters."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = make_tokenizer(shape["vocab_size"])
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "eos_token_id")}
    for seed, name in enumerate(("teacher", "student")):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(Qwen2Config(**shape, **ids, tie_word_embeddings=True))
        model.to(torch.float32 if args.tiny else torch.bfloat16).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    rows = [
        {
            "id": str(i),
            "question": f"A colleague asks about case {i}: what should be checked first, by whom, and when does it end?",
            "solution": f"In case {i} check the aim first. The person on duty does it, and it ends when both agree in writing.",
            "part": "teacher",
        }
        for i in range(QUESTIONS)
    ]
    for name, some in (("train", rows), ("val", rows[:2])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return sum(parameter.numel() for parameter in model.parameters())


class Clock:
    """Seconds in generation, reward and whole steps, taken by wrapping the trainer's methods while the stage runs."""

    def __init__(self, limit: float):
        self.limit = limit
        self.parts: dict[str, list[float]] = {"generation": [0.0], "reward": [0.0], "step": [0.0]}
        self.started = None

    def watch(self, owner: type, method: str, part: str) -> None:
        """Add the time of each call of a method to the step at hand."""
        plain = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = now()
            result = plain(*args, **kwargs)
            self.parts[part][-1] += now() - begun
            return result

        setattr(owner, method, timed)

    def callback(self) -> Any:
        """Ends the step at hand, and the run when its time is over."""
        from transformers import TrainerCallback

        clock = self

        class Deadline(TrainerCallback):
            def on_step_begin(self, args, state, control, **kwargs):
                clock.started = clock.started or now()
                clock.begun = clock.begun if state.global_step else clock.started

            def on_step_end(self, args, state, control, **kwargs):
                moment = now()
                clock.parts["step"][-1] = moment - clock.begun
                clock.begun = moment
                for values in clock.parts.values():
                    values.append(0.0)
                over = moment - clock.started >= clock.limit and state.global_step >= 2
                control.should_training_stop = control.should_training_stop or over

        return Deadline()

    def steps(self) -> dict[str, list[float]]:
        """Whole steps after the first."""
        return {name: values[1:-1] for name, values in self.parts.items()}


def now() -> float:
    """Seconds, after the device has done what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def train(folder: Path, args: argparse.Namespace, clock: Clock) -> None:
    """Run the stage, its parts watched."""
    from trl import GRPOTrainer

    from genesis.common.usage import Usage
    from genesis.rlt.rl import Rl, rlt_rl
    from genesis.rlt.settings import Rlt
    from genesis.training import Compute

    params = Rl(
        steps=2 if args.tiny else 100_000,
        prompts=args.prompts,
        group=args.group,
        rows=args.rows,
        max_tokens=args.tokens,
        eval_pairs=1,
        eval_samples=1,
        vllm=args.vllm,
    )
    clock.watch(GRPOTrainer, "_generate", "generation")
    clock.watch(GRPOTrainer, "_calculate_rewards", "reward")
    plain = GRPOTrainer.__init__

    def init(self: Any, *given: Any, **named: Any) -> None:
        plain(self, *given, **named)
        self.add_callback(clock.callback())

    GRPOTrainer.__init__ = init
    systems = Rlt(teacher_system="", student_system="") if args.tiny else Rlt()
    compute = Compute(bf16=not args.tiny, checkpoint_s=float("inf"))
    (folder / "work").mkdir()
    usage = Usage(folder / "work", "benchmark")
    rlt_rl(params, systems, compute, folder / "teacher", folder / "student", folder, folder / "out", usage)


def report(args: argparse.Namespace, clock: Clock, parameters: int) -> dict[str, Any]:
    """What was measured, where and by which command."""
    import torch
    import transformers
    import trl

    from genesis.common.usage import device, peak_memory_bytes

    steps = clock.steps()
    total = sum(steps["step"])
    shares = {name: sum(steps[name]) / total for name in ("generation", "reward")}
    completions = args.prompts * args.group
    return {
        "benchmark": "rlt_rl",
        "tiny": args.tiny,
        "command": shlex.join(["python", "benchmarks/gpu_rl.py", *sys.argv[1:]]),
        "device": device(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "trl": trl.__version__,
        },
        "dtype": "float32" if args.tiny else "bfloat16",
        "parameters_each": parameters,
        "prompts": args.prompts,
        "group": args.group,
        "rows": args.rows,
        "completion_tokens": args.tokens,
        "steps_counted": len(steps["step"]),
        "step_s_median": statistics.median(steps["step"]),
        "completions_per_s": completions * len(steps["step"]) / total,
        "reward_completions_per_s": completions * len(steps["reward"]) / sum(steps["reward"]),
        "generated_tokens_per_s": completions * args.tokens * len(steps["step"]) / sum(steps["generation"]),
        "peak_memory_bytes": peak_memory_bytes(),
        "share_of_time": {**shares, "update": 1 - sum(shares.values())},
    }


def write(found: dict[str, Any], args: argparse.Namespace) -> None:
    """Write the result and print it."""
    from genesis.common.chat import write_json

    name = args.name or "rlt_rl-" + re.sub(r"\W+", "-", found["device"]["name"]).strip("-").lower()
    path = args.out / f"{name}.json"
    write_json(path, found)
    print(json.dumps(found, indent=2))
    print(path)


if __name__ == "__main__":
    main()
