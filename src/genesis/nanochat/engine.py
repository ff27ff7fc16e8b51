"""Talk to a trained model: text in, text out, whole or as it is written."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

from genesis.chat import Message, user_turn
from genesis.sampling import TransformersSampler


class Engine:
    """One model ready to answer.

    >>> Engine("models/agents/qa").generate("The app crashes at start. How severe is it?", max_tokens=32)

    Args:
        path: a stage's out (its model/ is used), a model folder or a hub name.
    """

    def __init__(self, path: str | Path):
        inner = Path(path) / "model"
        self.sampler = TransformersSampler.load(inner if inner.is_dir() else path)

    def generate(
        self, prompt: str | list[Message], *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0
    ) -> str:
        """Answer a prompt or a whole conversation; temperature 0 is greedy."""
        answer = self.sampler.sample([_messages(prompt)], max_tokens=max_tokens, temperature=temperature, seed=seed)
        return answer[0].text

    def stream(self, prompt: str | list[Message], *, max_tokens: int = 256, temperature: float = 0.0) -> Iterator[str]:
        """Yield the answer piece by piece."""
        import torch
        from transformers import TextIteratorStreamer

        model, tokenizer = self.sampler.model, self.sampler.tokenizer
        ids_1T = torch.tensor([self.sampler.encode(_messages(prompt))], device=model.device)
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        options = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        worker = Thread(
            target=model.generate,
            args=(ids_1T,),
            kwargs={
                "attention_mask": torch.ones_like(ids_1T),
                "max_new_tokens": max_tokens,
                "streamer": streamer,
                "pad_token_id": tokenizer.pad_token_id,
                **options,
            },
            daemon=True,
        )
        worker.start()
        yield from streamer
        worker.join()


def _messages(prompt: str | list[Message]) -> list[Message]:
    return user_turn(prompt) if isinstance(prompt, str) else prompt
