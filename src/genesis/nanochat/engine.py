"""Talk to a trained model: text in, text out, whole or as it is written."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

from genesis.common.chat import Message, user_turn
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

    def stream(
        self, prompt: str | list[Message], *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[str]:
        """Yield, piece by piece, the answer that `generate` gives.

        Raises:
            UserError: prompt and answer would not fit into the model's context.
        """
        from transformers import TextIteratorStreamer

        ids = self.sampler.encode(_messages(prompt))
        self.sampler.check_context(len(ids), max_tokens)
        streamer = TextIteratorStreamer(self.sampler.tokenizer, skip_prompt=True, skip_special_tokens=True)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                self.sampler.continuations([ids], max_tokens, temperature, seed=seed, streamer=streamer)
            except BaseException as error:  # told to the reader, who would wait for ever otherwise
                failures.append(error)
                streamer.end()

        worker = Thread(target=work, daemon=True)
        worker.start()
        yield from streamer
        worker.join()
        if failures:
            raise failures[0]


def _messages(prompt: str | list[Message]) -> list[Message]:
    return user_turn(prompt) if isinstance(prompt, str) else prompt
