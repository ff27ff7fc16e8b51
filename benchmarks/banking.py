"""A user's own agent against a classical baseline: Banking77 (77 intents), exact answers on the whole test file.

    python benchmarks/banking.py [--train banking77_train.csv.gz --test banking77_test.csv.gz]

The agent is the one of the README, fine-tuned from the chat model at hand through the pipeline's own functions; beside it
stands TF-IDF (words and pairs of words) with logistic regression, trained on the same pairs.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from genesis.agents import Agent, AgentSource
from genesis.common.chat import read_jsonl, user_turn
from genesis.common.params import load_params
from genesis.common.usage import Usage
from genesis.evals.records import wilson_interval
from genesis.graders.answers.grade import grade
from genesis.nanochat.finetune import Finetune, finetune
from genesis.prepare.agents import AgentData, agent_data
from genesis.sampling import TransformersSampler
from genesis.training import Compute

Pairs = list[dict]


def main() -> None:
    """Train both, score both, say which is better."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default="data/raw/agents/banking/train.csv.gz")
    parser.add_argument("--test", default="data/raw/agents/banking/test.csv.gz")
    parser.add_argument("--chat", default="models/chat/model", help="the model to start from")
    parser.add_argument("--prompt", default="text", help="the column of prompts")
    parser.add_argument("--completion", default="category", help="the column of answers")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--prompt-dropout", type=float, default=0.15)
    parser.add_argument("--max-rows", type=int, default=0, help="only so many rows of each file")
    args = parser.parse_args()
    absent = [path for path in (args.train, args.test, args.chat) if not Path(path).exists()]
    if absent:
        print(f"not run: no {', '.join(absent)}")
        return
    with tempfile.TemporaryDirectory() as folder:
        train, test = prepare(args, Path(folder))
        scores = {
            "TF-IDF + logistic regression": scored(lambda: baseline(train), test),
            "agent": scored(lambda: agent(args, Path(folder)), test),
        }
    for name, score in scores.items():
        print(f"{name:<30}{score:.1%} exact")
    print(f"better: {max(scores, key=scores.get)}")


def prepare(args: argparse.Namespace, folder: Path) -> tuple[Pairs, Pairs]:
    """The pairs as agent_data makes them: checked, without duplicates and without what stands in both files."""
    source = AgentSource("file", args.train, args.test, args.prompt, args.completion, max_rows=args.max_rows)
    params = load_params(AgentData, "agent_data", max_leakage=0.01)
    (folder / "data").mkdir()
    agent_data("banking", Agent(sources=[source]), params, folder / "data", usage(folder), review=folder / "review")
    parts = {part: [row for _, row in read_jsonl(folder / f"data/{part}.jsonl")] for part in ("train", "val", "test")}
    return parts["train"] + parts["val"], parts["test"]


def usage(folder: Path) -> Usage:
    """An attempt that nobody reads."""
    (folder / "attempt").mkdir(exist_ok=True)
    return Usage(folder / "attempt", "benchmark")


def scored(train: Callable[[], Callable[[Pairs], list[str]]], test: Pairs) -> float:
    """Train, answer the test rows and print the times; the share of exact answers."""
    started, cpu = time.perf_counter(), time.process_time()
    answer = train()
    print(f"trained in {time.perf_counter() - started:.0f} s ({time.process_time() - cpu:.0f} s of CPU)", flush=True)
    labels = [{"kind": "label", "answer": row["completion"]} for row in test]
    right = sum(grade(label, text).correct is True for label, text in zip(labels, answer(test), strict=True))
    low, high = wilson_interval(right, len(test))
    print(f"{right} of {len(test)} right (95 % {low:.1%} to {high:.1%})", flush=True)
    return right / len(test)


def baseline(train: Pairs) -> Callable[[Pairs], list[str]]:
    """scikit-learn's pipeline."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=20, max_iter=1000)
    )
    model.fit([row["prompt"] for row in train], [row["completion"] for row in train])
    return lambda rows: list(model.predict([row["prompt"] for row in rows]))


def agent(args: argparse.Namespace, folder: Path) -> Callable[[Pairs], list[str]]:
    """The fine-tuned chat model, greedy."""
    values = {"start": args.chat, "epochs": args.epochs, "prompt_dropout": args.prompt_dropout}
    params = load_params(Finetune, "finetune", **values)
    finetune(params, load_params(Compute, "compute"), folder / "data", folder / "agent", usage(folder))

    def answer(rows: Pairs) -> list[str]:
        sampler = TransformersSampler.load(folder / "agent/model", batch_size=64)
        return [made.text for made in sampler.sample([user_turn(row["prompt"]) for row in rows], max_tokens=32)]

    return answer


if __name__ == "__main__":
    main()
