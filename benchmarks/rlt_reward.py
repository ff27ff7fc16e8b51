"""How fast the RLT reward is: ours against scoring one at a time, on one CPU core.

    python benchmarks/rlt_reward.py [--public CHECKOUT_OF_RLT] [--questions 1] [--rounds 5]

Scores 64 completions of 256 explanation tokens under RLT's own system messages, each way in a process of its own:
`ours`; `naive`, one text at a time with logits for the whole vocabulary at every position, the way the public code
does; and, given a checkout of SakanaAI/RLT, the public code itself, as it is and with its garbage collection after
every completion switched off. All must give the same rewards to 1e-4. Prints the median completions per second, the
peak memory of each process and the ratios. `--questions 1` is one GRPO group; more questions share less.
"""

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path

SEED_TEXTS = Path(__file__).parents[1] / "data" / "seed" / "corpus"
TEMPERATURE = 0.7


def main() -> int:
    """Run every way, compare and print; 1 where rewards differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", help="model folder (default: a random one of 0.35 M parameters)")
    parser.add_argument("--student", help="model folder (default: another random one)")
    parser.add_argument("--public", help="a checkout of SakanaAI/RLT")
    parser.add_argument("--completions", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=256, help="explanation tokens")
    parser.add_argument("--questions", type=int, default=1, help="different questions among the completions")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if not (args.teacher and args.student):
            args.teacher, args.student = make_models(Path(folder))
        ways = ["ours", "naive", *(["public", "public, no gc"] if args.public else [])]
        results = {way: run_way(way, args) for way in ways}
    return report(results, args)


def report(results: dict[str, dict], args: argparse.Namespace) -> int:
    """Print the table; compare the rewards."""
    ours = results["ours"]
    print(f"{args.completions} completions of {args.tokens} tokens, {args.questions} question(s), one core")
    print(f"{'':15}{'completions/s':>14}{'peak MiB':>10}{'of it scoring':>15}{'ours is':>10}{'most apart':>12}")
    apart = 0.0
    for way, result in results.items():
        difference = max(abs(a - b) for a, b in zip(ours["rewards"], result["rewards"], strict=True))
        apart = max(apart, difference)
        print(
            f"{way:15}{result['rate']:14.1f}{result['peak'] / 2**20:10.0f}{result['extra'] / 2**20:15.0f}"
            f"{ours['rate'] / result['rate']:9.1f}x{difference:12.1e}"
        )
    return int(apart > 1e-4)


def run_way(way: str, args: argparse.Namespace) -> dict:
    """Measure one way in a fresh process on one core."""
    options = {name: value for name, value in vars(args).items() if name != "way" and value is not None}
    command = [sys.executable, __file__, "--way", way, *(f"--{name}={value}" for name, value in options.items())]
    one = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env={**os.environ, **one}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace) -> dict:
    """Load, score `rounds` times, and say how fast and how large."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import torch

    from genesis.models import load_model, load_tokenizer

    torch.set_num_threads(1)
    tokenizer = load_tokenizer(args.teacher)
    teacher, student = (
        load_model(path, tokenizer, device=torch.device("cpu")) for path in (args.teacher, args.student)
    )
    score = WAYS[args.way](teacher.eval(), student.eval(), tokenizer, args)
    score(make_cases(tokenizer, 2, args.tokens, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cases = make_cases(tokenizer, args.completions, args.tokens, args.questions)
    seconds = []
    for _ in range(args.rounds):
        started = time.perf_counter()
        rewards = score(cases)
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rate = len(cases) / statistics.median(seconds)
    return {"rate": rate, "peak": peak, "extra": peak - before, "rewards": rewards}


def make_models(folder: Path) -> tuple[str, str]:
    """Two random models of 0.35 M parameters and a tokenizer of 2,048 tokens learned from the seed corpus."""
    import torch
    from transformers import NanoChatConfig, NanoChatForCausalLM

    from genesis.nanochat.tokenizer import train_bpe

    tokenizer = train_bpe((path.read_text(encoding="utf-8") for path in sorted(SEED_TEXTS.glob("*.md"))), 2048)
    for seed, name in enumerate(("teacher", "student")):
        torch.manual_seed(seed)
        config = NanoChatConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=1,
            num_key_value_heads=1,
            max_position_embeddings=2048,
            initializer_range=0.2,
        )
        NanoChatForCausalLM(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return str(folder / "teacher"), str(folder / "student")


def make_cases(tokenizer, completions: int, tokens: int, questions: int) -> list:
    """Explanations cut from the seed corpus, as many tokens long as asked."""
    from genesis.rlt.cases import Case
    from genesis.rlt.prompts import END_EXPLANATION

    text = "\n\n".join(path.read_text(encoding="utf-8") for path in sorted(SEED_TEXTS.glob("*.md")))
    words = text.split(" ")
    cases = []
    for i in range(completions):
        which = i * questions // completions
        start = 400 * i % (len(words) - 4 * tokens)
        ids = tokenizer(" ".join(words[start : start + 4 * tokens]), add_special_tokens=False)["input_ids"][:tokens]
        question = "Explain to a new colleague: " + " ".join(words[50 * which + 7 : 50 * which + 57])
        solution = " ".join(words[31 * which + 900 : 31 * which + 930])
        cases.append(Case(str(i), question, solution, tokenizer.decode(ids) + END_EXPLANATION))
    return cases


def ours(teacher, student, tokenizer, _args) -> Callable[[list], list[float]]:
    """`RltReward` as it is used in training."""
    from genesis.rlt.reward import RltReward

    reward = RltReward(teacher, tokenizer, student, tokenizer)
    return lambda cases: [row.reward for row in reward.score(cases)]


def naive(teacher, student, tokenizer, _args) -> Callable[[list], list[float]]:
    """Every text on its own, all logits, one log-softmax over them."""
    import torch

    from genesis.rlt.prompts import split_completion, student_text, teacher_prompt, teacher_text
    from genesis.rlt.spans import SpanTokenizer, explanation_span

    encoder = SpanTokenizer(tokenizer)

    def logprobs(model, ids):
        logits_TV = model(torch.tensor([ids])).logits[0, :-1] / TEMPERATURE
        return torch.log_softmax(logits_TV, -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]

    def score_one(case) -> float:
        said = teacher_text(teacher_prompt(tokenizer, case.question, case.solution), case.completion)
        read = student_text(tokenizer, case.question, case.solution, split_completion(case.completion)[0])
        teacher_ids, student_ids = encoder.encode([said.text])[0], encoder.encode([read.text])[0]
        teacher_T, student_T = logprobs(teacher, teacher_ids.ids), logprobs(student, student_ids.ids)
        (a, b), (c, d) = explanation_span(teacher_ids, said, True), explanation_span(student_ids, read, True)
        e, f = student_ids.span(read.solution)
        solution_S, d_E = student_T[e - 1 : f - 1], teacher_T[a - 1 : b - 1] - student_T[c - 1 : d - 1]
        return float(solution_S.mean() + 0.01 * solution_S.min() - 3 * (d_E.mean() + 0.01 * d_E.max()))

    def score(cases: list) -> list[float]:
        with torch.no_grad():
            return [score_one(case) for case in cases]

    return score


def public(teacher, student, tokenizer, args) -> Callable[[list], list[float]]:
    """The public reward class with the values of its run_cfg/teacher_rlt, outside its trainer."""
    for package in ("trainers", "custom_data"):
        # The packages' own __init__ imports vLLM and DeepSpeed, which the reward does not need.
        module = types.ModuleType(package)
        module.__path__ = [str(Path(args.public) / package)]
        sys.modules[package] = module
    from custom_data.teacher_data import get_process_line_fn
    from trainers.teacher_rewards import TeacherKLBasedReward

    reward = TeacherKLBasedReward(
        answer_log_prob_coeff=[1, 0.01],
        kl_penalty_reward_coeff=[3, 0.03],
        normalize_log_prob_fn=None,
        clip_log_prob=100000,
        normalize_kl_fn=None,
        clip_kl=100000,
        reduction_log_prob_fn=["mean", "min"],
        reduction_kl_fn=["mean", "max"],
        unbias_teacher_log_probs=True,
        unbias_student_log_probs_temp=TEMPERATURE,
    )
    trainer = types.SimpleNamespace(
        gen_temperature=TEMPERATURE,
        accelerator=types.SimpleNamespace(is_main_process=False),
        log_metric=lambda **values: values,
        _print_debugging_logs=lambda to_print: None,
    )
    reward.link_with_trainer(trainer, student, teacher, tokenizer)
    line = get_process_line_fn("custom")

    def score(cases: list) -> list[float]:
        columns: dict[str, list] = {}
        for case in cases:
            row = {"prompt": case.question, "solution": case.solution, "reasoning_trace": "\n\n…"}
            for name, value in line(row, tokenizer).items():
                columns.setdefault(name, []).append(value)
        return reward(prompts=columns.pop("prompt"), completions=[case.completion for case in cases], **columns)

    return score


def public_without_gc(teacher, student, tokenizer, args) -> Callable[[list], list[float]]:
    """The same with its explicit garbage collections made to do nothing."""
    gc.collect = lambda *_: 0
    return public(teacher, student, tokenizer, args)


WAYS = {"ours": ours, "naive": naive, "public": public, "public, no gc": public_without_gc}

if __name__ == "__main__":
    sys.exit(main())
