import json
from collections import Counter
from pathlib import Path

import pytest

from genesis.common.chat import read_conversations, write_jsonl
from genesis.common.errors import UserError
from genesis.nanochat.chat import Chat, ChatSource, chat, read_chats, weighted
from genesis.training import Compute

SEED = Path(__file__).parents[2] / "data/seed/chat"
TURNS = [{"role": "user", "content": "Say red."}, {"role": "assistant", "content": "Red."}]


def record(number: int, question: str = "What is {}?") -> dict:
    messages = [
        {"role": "user", "content": question.format(number)},
        {"role": "assistant", "content": f"It is {number}."},
    ]
    return {"id": str(number), "messages": messages, "meta": {}}


def test_the_seed_conversations_are_many_and_varied():
    records = [record for path in sorted(SEED.glob("*.jsonl")) for record in read_conversations(path)]
    assert len(records) >= 400
    assert len({record["id"] for record in records}) == len(records)
    asked = Counter(record["messages"][0]["content"].lower() for record in records if len(record["messages"]) == 2)
    assert max(asked.values()) == 1, asked.most_common(3)
    answers = Counter(record["messages"][-1]["content"] for record in records)
    assert answers.most_common(1)[0][1] <= 0.02 * len(records)
    assert {"format", "instructions", "identity", "multiturn"} <= {path.stem for path in SEED.glob("*.jsonl")}
    assert sum(len(record["messages"]) >= 4 for record in records) >= 40
    assert any(record["messages"][0]["role"] == "system" for record in records)


def test_weights_repeat_and_choose():
    assert weighted([1, 2, 3, 4], 2.5) == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]
    assert weighted([1, 2, 3, 4], 0.5) == [1, 2]


def test_a_folder_is_read_whole_and_bad_sources_are_named(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [record(1), record(2)])
    write_jsonl(tmp_path / "more/b.jsonl", [record(3)])
    assert len(read_chats(ChatSource(path=str(tmp_path)))) == 3
    assert len(read_chats(ChatSource(path=str(tmp_path / "a.jsonl")))) == 2
    for source, said in (
        (ChatSource(path=str(tmp_path / "none")), "no .jsonl file"),
        (ChatSource(kind="web"), "unknown kind 'web'; expected folder or hub"),
    ):
        with pytest.raises(UserError, match=said):
            read_chats(source)


def test_a_hub_mixture_is_streamed_and_a_bad_row_is_named(tmp_path):
    def rows(name: str, found: list[dict]) -> ChatSource:
        write_jsonl(tmp_path / name / "train.jsonl", found)
        return ChatSource(kind="hub", path=str(tmp_path / name), max_rows=3)

    good = [{"messages": record(k)["messages"], "source": "smol"} for k in range(5)]
    assert read_chats(rows("good", good)) == [record(k)["messages"] for k in range(3)]
    with pytest.raises(UserError, match=r"row 1: field 'messages\[1\].content'"):
        read_chats(
            rows("bad", [good[0], {"messages": [TURNS[0], {"role": "assistant", "content": " "}], "source": ""}])
        )


def test_it_learns_from_the_mixture_and_holds_some_back(tiny_folder, tmp_path, usage):
    write_jsonl(tmp_path / "one/a.jsonl", [record(k) for k in range(20)])
    write_jsonl(tmp_path / "two/b.jsonl", [record(k, "Tell me {}.") for k in range(10)])
    sources = [ChatSource(path=str(tmp_path / "one")), ChatSource(path=str(tmp_path / "two"), weight=2.0)]
    params = Chat(sources=sources, val_share=0.1, epochs=8, batch=8, rows=8, lr=1e-2, max_length=64)
    chat(params, Compute(), tiny_folder, tmp_path / "out", usage)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["examples"] == 18 + 2 * 9
    assert summary["val_loss"] < 0.7 * summary["val_loss_start"]


def test_no_conversation_at_all_is_an_error(tiny_folder, tmp_path, usage):
    with pytest.raises(UserError, match="no conversation found"):
        chat(Chat(sources=[]), Compute(), tiny_folder, tmp_path / "out", usage)
