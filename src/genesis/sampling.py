"""Samplers: conversations in, completions out; here with transformers, in samplers/ with vLLM and OpenAI-compatible servers.

`genesis.samplers.spec.open_sampler` opens any of them by one word.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from genesis.common.chat import Message
from genesis.common.errors import UserError


@dataclass(frozen=True)
class Completion:
    """One answer.

    Attributes:
        text: the answer without special tokens.
        tokens: how many tokens were generated, the end token included.
        finished: the model ended the answer itself; False where it was cut at the limit.
        seconds: wall time; in a batch, the batch's time divided by its size.
    """

    text: str
    tokens: int
    finished: bool
    seconds: float


class Sampler(Protocol):
    """Anything that answers conversations; the evaluations and the protocol know nothing else of a model."""

    def sample(
        self,
        conversations: list[list[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        """Answer every conversation, in order. Temperature 0 is greedy; a last assistant turn is continued (prefill)."""
        ...


class TransformersSampler:
    """Batched generation with a local or hub model; batches are sorted by length and padded on the left."""

    def __init__(self, model, tokenizer, batch_size: int = 32):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.batch_size = batch_size

    @classmethod
    def load(cls, path: str | Path, batch_size: int = 32) -> "TransformersSampler":
        """Load a model folder or hub name, PEFT adapters included, onto the best device at hand."""
        from genesis.models import load_model, load_tokenizer

        tokenizer = load_tokenizer(path)
        return cls(load_model(path, tokenizer=tokenizer), tokenizer, batch_size)

    def sample(
        self,
        conversations: list[list[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        """See `Sampler.sample`; the same seed and batch size give the same answers."""
        import torch

        prompts = [self.encode(conversation) for conversation in conversations]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        torch.manual_seed(seed)
        completions: list[Completion | None] = [None] * len(prompts)
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            answers = self._generate([prompts[index] for index in batch], max_tokens, temperature)
            for index, answer in zip(batch, answers, strict=True):
                completions[index] = answer
        return completions

    def encode(self, conversation: list[Message]) -> list[int]:
        """Token ids of the rendered conversation, ready for the assistant's next words."""
        return encode(self.tokenizer, conversation)

    def check_context(self, longest: int, max_tokens: int) -> None:
        """Refuse what the model's positions cannot hold.

        Raises:
            UserError: with both sizes.
        """
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if limit is not None and longest + max_tokens > limit:
            raise UserError(
                f"a prompt of {longest} tokens and {max_tokens} new ones exceed the model's context of {limit}; "
                "shorten the prompt or lower max_tokens"
            )

    def continuations(
        self, prompts: list[list[int]], max_tokens: int, temperature: float, seed: int | None = None, streamer=None
    ):
        """Token ids after each prompt, B × at most `max_tokens`, padded behind the end token; on the CPU."""
        import torch

        from genesis.drawing import Draw
        from genesis.roomy_cache import roomy_cache

        if seed is not None:
            torch.manual_seed(seed)
        longest = max(map(len, prompts))
        pad = self._pad()
        ids_BT = torch.tensor([[pad] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask_BT = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        device = self.model.device
        with torch.inference_mode():
            out_BT = self.model.generate(
                ids_BT.to(device),
                attention_mask=mask_BT.to(device),
                max_new_tokens=max_tokens,
                pad_token_id=pad,
                do_sample=False,
                logits_processor=[Draw(temperature)] if temperature > 0 else [],
                streamer=streamer,
                **roomy_cache(self.model),
            )
        return out_BT[:, longest:].cpu()

    def _generate(self, prompts: list[list[int]], max_tokens: int, temperature: float) -> list[Completion]:
        import torch

        self.check_context(max(map(len, prompts)), max_tokens)
        started = time.perf_counter()
        out_BT = self.continuations(prompts, max_tokens, temperature)
        seconds = (time.perf_counter() - started) / len(prompts)
        ends = torch.tensor(self._ends())
        return [self._completion(row_T, ends, seconds) for row_T in out_BT]

    def _ends(self) -> list[int]:
        eos = self.model.generation_config.eos_token_id
        return eos if isinstance(eos, list) else [eos]

    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return self._ends()[0] if pad is None else pad

    def _completion(self, row_T, ends, seconds: float) -> Completion:
        import torch

        hits = torch.isin(row_T, ends).nonzero()
        finished = len(hits) > 0
        kept_T = row_T[: int(hits[0]) + 1] if finished else row_T
        text = self.tokenizer.decode(kept_T, skip_special_tokens=True)
        return Completion(text=text, tokens=len(kept_T), finished=finished, seconds=seconds)


def encode(tokenizer, conversation: list[Message]) -> list[int]:
    """Token ids of the rendered conversation, ready for the assistant's next words; a last assistant turn stays open."""
    continues = conversation[-1]["role"] == "assistant"
    return tokenizer.apply_chat_template(
        conversation,
        add_generation_prompt=not continues,
        continue_final_message=continues,
        tokenize=True,
        return_dict=False,
    )
