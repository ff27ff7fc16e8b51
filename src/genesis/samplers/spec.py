"""One word for any sampler: a model's folder or hub name, `vllm:MODEL`, or `openai:MODEL@URL`."""

import hashlib
import os

from genesis.common.errors import UserError
from genesis.sampling import Sampler


def open_sampler(spec: str, batch_size: int = 32) -> Sampler:
    """Open the sampler that `spec` names.

    Args:
        spec: `vllm:MODEL` for vLLM, `openai:MODEL@URL` for a server that speaks OpenAI's chat completions (URL ends where its
            `/chat/completions` begins; the key comes from OPENAI_API_KEY), anything else is a model for transformers.
        batch_size: answers at once: a batch of transformers', a server's open requests; vLLM sizes its batches itself.

    Raises:
        UserError: a spec that is cut short, or a model that cannot be loaded.
    """
    kind, _, rest = spec.partition(":")
    if kind == "vllm":
        from genesis.samplers.vllm import VllmSampler

        return VllmSampler.load(rest)
    if kind == "openai":
        from genesis.samplers.openai import OpenAISampler

        model, _, url = rest.rpartition("@")
        if not model or not url.startswith(("http://", "https://")):
            raise UserError(
                f"sampler '{spec}': expected openai:MODEL@URL, as in openai:my-model@http://localhost:8000/v1"
            )
        return OpenAISampler(model, url, os.environ.get("OPENAI_API_KEY"), jobs=batch_size)
    from genesis.sampling import TransformersSampler

    return TransformersSampler.load(spec, batch_size)


def draw_seed(seed: int, index: int) -> int:
    """A request's own seed of 31 bits: equal prompts of one call must not get equal answers."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{index}".encode(), digest_size=4).digest()) >> 1
