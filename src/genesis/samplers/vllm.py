"""The sampler for GPU profiles: vLLM batches all conversations by itself (requirements-gpu.txt)."""

import time
from pathlib import Path
from typing import Any

from genesis.common.chat import Message
from genesis.common.errors import UserError
from genesis.samplers.spec import draw_seed
from genesis.sampling import Completion, encode


class VllmSampler:
    """Wraps a `vllm.LLM`; prompts are rendered here, so that prefill and templates are the same for every sampler."""

    def __init__(self, llm):
        self.llm = llm
        self.tokenizer = llm.get_tokenizer()

    @classmethod
    def load(cls, path: str | Path, **engine: Any) -> "VllmSampler":
        """Load a model folder or hub name; `engine` holds further arguments of `vllm.LLM`.

        Raises:
            UserError: vLLM is not installed, or refuses the model.
        """
        try:
            from vllm import LLM
        except ImportError as error:
            raise UserError(
                "vllm is not installed; pip install -r requirements-gpu.txt, or name the model alone"
            ) from error
        try:
            return cls(LLM(model=str(path), **engine))
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"{path}: vLLM cannot load the model ({str(error).strip().splitlines()[0]})") from error

    def sample(
        self,
        conversations: list[list[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        """See `Sampler.sample`.

        Raises:
            UserError: a prompt that leaves no room for `max_tokens`.
        """
        from vllm import SamplingParams

        prompts = [encode(self.tokenizer, conversation) for conversation in conversations]
        self._check(max(map(len, prompts), default=0), max_tokens)
        params = [
            SamplingParams(
                max_tokens=max_tokens,
                temperature=temperature,
                seed=draw_seed(seed, index) if temperature > 0 else None,
            )
            for index in range(len(prompts))
        ]
        started = time.perf_counter()
        answers = self.llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        seconds = (time.perf_counter() - started) / max(1, len(prompts))
        return [self._completion(answer.outputs[0], seconds) for answer in answers]

    def _check(self, longest: int, max_tokens: int) -> None:
        limit = self.llm.llm_engine.model_config.max_model_len
        if longest + max_tokens > limit:
            raise UserError(
                f"a prompt of {longest} tokens and {max_tokens} new ones exceed the model's context of {limit}; "
                "shorten the prompt or lower max_tokens"
            )

    def _completion(self, output, seconds: float) -> Completion:
        text = self.tokenizer.decode(output.token_ids, skip_special_tokens=True)
        finished = output.finish_reason == "stop"
        return Completion(text=text, tokens=len(output.token_ids), finished=finished, seconds=seconds)
