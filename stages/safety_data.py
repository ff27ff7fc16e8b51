"""Gather, check and split the safety track's rows: python stages/safety_data.py."""

from pathlib import Path

from genesis.common.params import load_params
from genesis.common.usage import measured
from genesis.prepare.safety import SafetyData, safety_data

out = Path("data/safety")

with measured("safety_data", None, out):
    safety_data(load_params(SafetyData, "safety_data"), out)
