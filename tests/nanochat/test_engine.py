import pytest
import torch

from genesis import Engine
from genesis.common.errors import UserError

QUESTION = "Where is my parcel?"


@pytest.fixture
def engine(tiny_folder):
    """An engine that knows its agent by the stage's out, whose model is in a folder of its own."""
    out = tiny_folder.parent / "agent"
    out.mkdir()
    tiny_folder.rename(out / "model")
    return Engine(out)


def test_it_generates_what_greedy_decoding_gives(engine):
    model, tokenizer = engine.sampler.model, engine.sampler.tokenizer
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], add_generation_prompt=True, return_dict=False
    )
    prompt = len(ids)
    with torch.no_grad():
        while len(ids) < prompt + 12 and ids[-1] != tokenizer.eos_token_id:
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    wanted = tokenizer.decode(ids[prompt:], skip_special_tokens=True)
    assert wanted and engine.generate(QUESTION, max_tokens=12) == wanted


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 3}])
def test_it_streams_what_it_generates(engine, options):
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": QUESTION},
    ]
    for prompt in (QUESTION, talk):
        pieces = list(engine.stream(prompt, max_tokens=24, **options))
        assert len([piece for piece in pieces if piece]) > 1
        assert "".join(pieces) == engine.generate(prompt, max_tokens=24, **options)
    assert engine.generate(talk, max_tokens=24) != engine.generate(QUESTION, max_tokens=24)


def test_a_stream_that_fails_says_so_and_does_not_wait_for_ever(engine, monkeypatch):
    with pytest.raises(UserError, match="exceed the model's context of 512"):
        next(engine.stream("word " * 600, max_tokens=5))

    def broken(*args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine.sampler.model, "generate", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(engine.stream(QUESTION))
