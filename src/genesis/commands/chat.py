"""Talk to an agent or any model in the terminal: python -m genesis chat qa."""

import argparse
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", help="an agent's name, a model folder or a hub name")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")


def run(args: argparse.Namespace) -> None:
    """Read prompts line by line, until end of input; each is answered on its own turn of one conversation."""
    from genesis.nanochat.engine import Engine

    agent = Path("models/agents") / args.model
    engine = Engine(agent if agent.is_dir() else args.model)
    messages = []
    interactive = sys.stdin.isatty()
    while True:
        try:
            prompt = input("you: " if interactive else "").strip()
        except EOFError:
            return
        if not prompt:
            continue
        messages.append({"role": "user", "content": prompt})
        answer = ""
        for piece in engine.stream(messages, max_tokens=args.max_tokens, temperature=args.temperature):
            print(piece, end="", flush=True)
            answer += piece
        print()
        messages.append({"role": "assistant", "content": answer or "…"})
