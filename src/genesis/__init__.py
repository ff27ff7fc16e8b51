"""Small specialist chat agents and a safety pair: trained cheaply, measured honestly, priced to the cent."""

import os
from typing import TYPE_CHECKING

from genesis.common.params import load_params

if TYPE_CHECKING:
    from genesis.nanochat.engine import Engine
    from genesis.protocol import SafetyPair
    from genesis.sampling import Sampler

__all__ = ["Engine", "SafetyPair", "Sampler", "load_params"]

# TRL's trainers report home otherwise; the variable is read when they are imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

_HOMES = {
    "Engine": "genesis.nanochat.engine",
    "SafetyPair": "genesis.protocol",
    "Sampler": "genesis.sampling",
}


def __getattr__(name: str):
    """Import the names that need torch only when they are asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'genesis' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
