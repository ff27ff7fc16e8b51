import pytest
import torch

from genesis.common.chat import user_turn
from genesis.common.errors import UserError
from genesis.sampling import TransformersSampler

PROMPTS = ["Hi", "Where is my parcel, please? It was sent last Monday.", "Refund?", "a b c d e f g"]


def test_batches_answer_as_single_requests_do(tiny_folder):
    sampler = TransformersSampler.load(tiny_folder, batch_size=3)
    together = sampler.sample([user_turn(text) for text in PROMPTS], max_tokens=8)
    alone = [sampler.sample([user_turn(text)], max_tokens=8)[0] for text in PROMPTS]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert all(answer.tokens <= 8 and answer.seconds > 0 for answer in together)


def test_sampling_repeats_with_its_seed(tiny_folder):
    sampler = TransformersSampler.load(tiny_folder)
    draws = [
        [answer.text for answer in sampler.sample([user_turn("Hi")] * 4, max_tokens=8, temperature=1.0, seed=seed)]
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_a_last_assistant_turn_is_continued(tiny_folder):
    sampler = TransformersSampler.load(tiny_folder)
    turns = [*user_turn("Hi"), {"role": "assistant", "content": "Good"}]
    assert sampler.tokenizer.decode(sampler.encode(turns)).endswith("<|assistant_start|>Good")


def test_end_token_finishes_and_the_limit_does_not(tiny_folder):
    sampler = TransformersSampler.load(tiny_folder)
    with torch.no_grad():
        cut = sampler.sample([user_turn("Hi")], max_tokens=5)[0]
        sampler.model.generation_config.eos_token_id = list(range(len(sampler.tokenizer)))
        ended = sampler.sample([user_turn("Hi")], max_tokens=5)[0]
    assert (ended.finished, ended.tokens) == (True, 1)
    assert cut.tokens == 5 or cut.finished


def test_a_prompt_longer_than_the_context_is_refused(tiny_folder):
    with pytest.raises(UserError, match="exceed the model's context of 512"):
        TransformersSampler.load(tiny_folder).sample([user_turn("word " * 600)], max_tokens=5)
