"""Two questions, and tiny agents that have learnt the words but not when to use them."""

import pytest
from toy import FLAGS, HELP, QUESTIONS, RIGHT, mostly_wrong, said

from genesis.common.chat import user_turn, write_jsonl
from genesis.common.usage import Usage
from genesis.protocol import feedback_messages
from genesis.sft import Sft, sft
from genesis.training import Compute


@pytest.fixture
def usage(tmp_path):
    """A fresh attempt with its own resume folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Usage(folder, "key")


@pytest.fixture
def rows(tmp_path):
    """data/safety with the two questions in train and in val."""
    for name in ("train", "val"):
        table = [{"question": question, "label": label} for question, label in QUESTIONS.items()]
        write_jsonl(tmp_path / f"safety/{name}.jsonl", table)
    return tmp_path / "safety"


@pytest.fixture(scope="session")
def taught(tmp_path_factory, tokenizer, make_tiny):
    """Teach a tiny random model conversations and give its folder."""

    def teach(name, conversations, epochs=60):
        folder = tmp_path_factory.mktemp(name)
        make_tiny().save_pretrained(folder / "start")
        tokenizer.save_pretrained(folder / "start")
        (folder / "work").mkdir()
        params = Sft(epochs=epochs, batch=6, rows=6, lr=1e-2, max_length=256)
        sft(params, Compute(), folder / "start", conversations, [], folder, Usage(folder / "work", "key"))
        return folder / "model"

    return teach


@pytest.fixture(scope="session")
def undecided(taught):
    """A conversation agent that gives the wrong answer to both questions two times out of three."""
    return taught("undecided", [[*user_turn(question), said(answer)] for question, answer in mostly_wrong(RIGHT)])


@pytest.fixture(scope="session")
def helpful(taught):
    """A conversation agent that always helps."""
    return taught("helpful", [[*user_turn(question), said(HELP)] for question in QUESTIONS])


@pytest.fixture(scope="session")
def guessing(taught):
    """A feedback agent that flags help with the harmless question, and not the other, two times out of three."""
    pairs = mostly_wrong(FLAGS)
    conversations = [[*feedback_messages(question, HELP), said(feedback.text)] for question, feedback in pairs]
    return taught("guessing", conversations, epochs=200)
