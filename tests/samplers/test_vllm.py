"""The sampler's side of vLLM: a stand-in module records what it is asked."""

import sys
import types
from dataclasses import dataclass

import pytest

from genesis.common.chat import user_turn
from genesis.common.errors import UserError
from genesis.samplers.spec import open_sampler
from genesis.samplers.vllm import VllmSampler


@dataclass
class SamplingParams:
    max_tokens: int
    temperature: float
    seed: int | None


@pytest.fixture
def vllm(monkeypatch, tokenizer):
    """A stand-in for the module: answers "Good day" and the end token, or is cut off where max_tokens is 1."""

    class LLM:
        def __init__(self, model):
            if "broken" in model:
                raise ValueError("no config.json\nand much more")
            self.model, self.asked = model, []
            self.llm_engine = types.SimpleNamespace(model_config=types.SimpleNamespace(max_model_len=64))

        def get_tokenizer(self):
            return tokenizer

        def generate(self, prompts, params, use_tqdm):
            self.asked.append((prompts, params))
            ids = [*tokenizer("Good day")["input_ids"], tokenizer.eos_token_id]
            made = [types.SimpleNamespace(token_ids=ids[: p.max_tokens], finish_reason=None) for p in params]
            for output in made:
                output.finish_reason = "stop" if output.token_ids[-1] == tokenizer.eos_token_id else "length"
            return [types.SimpleNamespace(outputs=[output]) for output in made]

    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams
    monkeypatch.setitem(sys.modules, "vllm", module)


def test_prompts_are_rendered_and_answers_read(vllm, tokenizer):
    sampler = open_sampler("vllm:org/model")
    assert isinstance(sampler, VllmSampler) and sampler.llm.model == "org/model"
    prefilled = [*user_turn("Hi"), {"role": "assistant", "content": "Well"}]
    first, second = sampler.sample([user_turn("Hi"), prefilled], max_tokens=30)
    assert (first.text, first.finished) == ("Good day", True) and first.tokens > 2 and second.seconds > 0
    ((prompts, params),) = sampler.llm.asked
    shown = [tokenizer.decode(prompt["prompt_token_ids"]) for prompt in prompts]
    assert shown[0].endswith("<|assistant_start|>") and shown[1].endswith("<|assistant_start|>Well")
    assert [(p.temperature, p.seed, p.max_tokens) for p in params] == [(0.0, None, 30)] * 2
    cut = sampler.sample([user_turn("Hi")], max_tokens=1)[0]
    assert (cut.finished, cut.tokens) == (False, 1)


def test_equal_prompts_get_seeds_of_their_own_that_repeat(vllm):
    sampler = open_sampler("vllm:org/model")
    for seed in (1, 1, 2):
        sampler.sample([user_turn("Hi")] * 3, max_tokens=5, temperature=0.7, seed=seed)
    seeds = [[p.seed for p in params] for _, params in sampler.llm.asked]
    assert len(set(seeds[0])) == 3 and seeds[0] == seeds[1] != seeds[2]


def test_what_cannot_be_done_is_said(vllm, monkeypatch):
    with pytest.raises(UserError, match="exceed the model's context of 64"):
        open_sampler("vllm:org/model").sample([user_turn("word " * 60)], max_tokens=5)
    with pytest.raises(UserError, match=r"broken: vLLM cannot load the model \(no config.json\)"):
        open_sampler("vllm:broken")
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="pip install -r requirements-gpu.txt"):
        open_sampler("vllm:org/model")
