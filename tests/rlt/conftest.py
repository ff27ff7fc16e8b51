"""Tokenizers of three kinds with a teacher and a student each."""

import pytest
from rlt_models import make_model, train_chatml


@pytest.fixture(scope="session")
def tokenizers(tokenizer, seed_texts):
    """One with one-token tags, two that spell them."""
    return {
        "own": tokenizer,
        "gpt4": train_chatml(seed_texts, "gpt4", 600),
        "gpt2": train_chatml(seed_texts, "gpt2", 450),
    }


@pytest.fixture(scope="session")
def models_of(tokenizers):
    """A teacher and a student for each tokenizer."""
    return {name: (make_model(one, 1), make_model(one, 2)) for name, one in tokenizers.items()}
