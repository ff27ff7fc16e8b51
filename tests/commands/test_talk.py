"""python -m genesis chat."""

import io

import pytest

from genesis.__main__ import main
from genesis.nanochat.engine import Engine


@pytest.fixture
def agent(tiny_folder, monkeypatch):
    """An agent called qa in this folder's models."""
    monkeypatch.chdir(tiny_folder.parent)
    out = tiny_folder.parent / "models/agents/qa"
    out.mkdir(parents=True)
    tiny_folder.rename(out / "model")
    return out


def test_each_line_is_answered_in_one_growing_conversation(agent, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n\nWhere is it?\n"))
    assert main(["chat", "qa", "--max-tokens", "8"]) == 0
    engine = Engine(agent)
    first = engine.generate("Hello", max_tokens=8)
    talk = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": first or "…"},
        {"role": "user", "content": "Where is it?"},
    ]
    assert capsys.readouterr().out == f"{first}\n{engine.generate(talk, max_tokens=8)}\n"


def test_an_unknown_agent_is_one_line(agent, capsys):
    assert main(["chat", "nobody"]) == 1
    assert capsys.readouterr().err.startswith("error: nobody: no such model folder; ")
