"""General chat SFT of the base: format, instructions, identity, several turns; every later fine-tune starts here."""

import random
from dataclasses import dataclass, field
from pathlib import Path

from genesis.common.chat import Message, message_problem, read_conversations, write_jsonl
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.sft import Sft, sft
from genesis.training import Compute


@dataclass
class ChatSource:
    """Conversations of one origin: `path` is a folder or file of chat records, or (kind hub) a data set with `messages`.

    Weight below 1 keeps that share, above 1 repeats.
    """

    kind: str = "folder"
    path: str = "data/seed/chat"
    weight: float = 1.0
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    max_rows: int = 0


@dataclass
class Chat(Sft):
    """Section `chat`: sources and their weights, the share kept for the validation loss, and the SFT's own values."""

    sources: list[ChatSource] = field(default_factory=lambda: [ChatSource()])
    val_share: float = 0.05


def chat(params: Chat, compute: Compute, base: Path, out: Path, usage: Usage) -> None:
    """Fine-tune `base` on the weighted mixture; see `genesis.sft.sft` for what is written, and val.jsonl: what was held out.

    Raises:
        UserError: bad records (file, line, field), an unknown kind, or no conversation at all.
    """
    train, val = [], []
    for source in params.sources:
        conversations = read_chats(source)
        random.Random(params.seed).shuffle(conversations)
        held = round(params.val_share * len(conversations))
        val += conversations[:held]
        train += weighted(conversations[held:], source.weight)
    if not train:
        raise UserError("chat.sources: no conversation found")
    sft(params, compute, base, train, val, out, usage)
    for name, conversations in (("train", train), ("val", val)):
        write_jsonl(out / f"{name}.jsonl", ({"messages": conversation} for conversation in conversations))


def read_chats(source: ChatSource) -> list[list[Message]]:
    """All conversations of one source.

    Raises:
        UserError: see `read_conversations`; for hub rows, the number of the first bad one.
    """
    if source.kind == "folder":
        root = Path(source.path)
        paths = [root] if root.is_file() else sorted(root.rglob("*.jsonl*"))
        if not paths:
            raise UserError(f"chat.sources: {root}: no .jsonl file")
        return [record["messages"] for path in paths for record in read_conversations(path)]
    if source.kind != "hub":
        raise UserError(f"chat.sources: unknown kind '{source.kind}'; expected folder or hub")
    return _hub_chats(source)


def _hub_chats(source: ChatSource) -> list[list[Message]]:
    from genesis.hub import stream

    found = []
    for number, row in enumerate(stream(source.path, source.config, source.split, source.revision)):
        if source.max_rows and number >= source.max_rows:
            break
        problem = message_problem(row.get("messages"))
        if problem:
            raise UserError(f"{source.path}: row {number}: {problem}")
        found.append([{"role": turn["role"], "content": turn["content"]} for turn in row["messages"]])
    return found


def weighted(rows: list, weight: float) -> list:
    """Repeat the rows `weight` times; the last pass takes the first ones up to the fraction."""
    whole, fraction = divmod(weight, 1.0)
    return rows * int(whole) + rows[: round(fraction * len(rows))]
