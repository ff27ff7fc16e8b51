"""A key-value cache with room to grow, for generation.

transformers' own cache copies every key and value at every new token: on a CPU two thirds of the time that a small model
takes to generate. Here a layer's tensors are views of longer ones, and a new token is written behind the last.
"""

from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

ROOM = 64  # tokens, at least


class RoomyLayer(DynamicLayer):
    """`DynamicLayer` that copies what it holds only where the room is used up or something else replaced its tensors."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any):
        """Keep the new keys and values, shape B × heads × T × head size, and give all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._key_room, self._value_room = self.keys, self.values
        self._key_room, self.keys = _appended(self._key_room, self.keys, key_states)
        self._value_room, self.values = _appended(self._value_room, self.values, value_states)
        return self.keys, self.values


def keeps_everything(cache: DynamicCache) -> bool:
    """Every layer holds all keys and values and nothing else: no window, no state, no quantisation."""
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def roomy_cache(model: Any) -> dict[str, DynamicCache]:
    """`generate`'s argument with such a cache; none for a model that keeps anything else than all keys and values."""
    if not model._supports_default_dynamic_cache():
        return {}
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    if not keeps_everything(cache):
        return {}
    cache.layers = [RoomyLayer() for _ in cache.layers]
    return {"past_key_values": cache}


def generate_with_room(model: Any) -> None:
    """Let `model.generate`, whoever calls it, use such a cache."""
    generate = model.generate
    model.generate = lambda *args, **kwargs: generate(*args, **{**roomy_cache(model), **kwargs})


def _appended(room: torch.Tensor, held: torch.Tensor, new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tensor with room and its part in use, `new` behind `held`."""
    before = held.shape[-2] if held.numel() else 0
    after = before + new.shape[-2]
    if not before or after > room.shape[-2] or room.data_ptr() != held.data_ptr():
        room = new.new_empty(*new.shape[:-2], after + max(ROOM, after // 4), new.shape[-1])
        if before:
            room[..., :before, :] = held
    room[..., before:after, :] = new
    return room, room[..., :after, :]
