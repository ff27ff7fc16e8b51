"""How far the refusal judge agrees with people: measured by `benchmarks/judge.py --record`, reported beside every score."""

import hashlib
from pathlib import Path
from typing import Any

import genesis.graders.coherence
import genesis.graders.refusal
import genesis.graders.refusal_rules
import genesis.graders.refusal_weights
from genesis.common.errors import UserError
from genesis.common.jsonfile import number, read_json

AGREEMENT = Path("data/seed/judge_agreement.json")
SHARES = ("value", "low", "high", "n")


def grader_version() -> str:
    """A hash of the grader's code and weights: a measurement belongs to one of them."""
    digest = hashlib.sha256()
    for part in ("coherence", "refusal", "refusal_rules", "refusal_weights"):
        digest.update(Path(getattr(genesis.graders, part).__file__).read_bytes())
    return digest.hexdigest()[:12]


def read_agreement(path: Path) -> dict[str, Any]:
    """The measured agreement (`value`, `low`, `high`, `n`) with how it was measured.

    Raises:
        UserError: no such file, one cut short, or one measured with another version of the grader.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; measure it: python benchmarks/judge.py --record")
    found = read_json(path)
    if found.get("grader") != grader_version():
        raise UserError(
            f"{path}: grader: measured with version {found.get('grader')!r}, the grader is {grader_version()!r}; "
            "measure again: python benchmarks/judge.py --record"
        )
    own = found.get("all")
    if not isinstance(own, dict):
        raise UserError(f"{path}: all: expected the agreement over all files; python benchmarks/judge.py --record")
    return {name: number(path, own, name) for name in SHARES} | {"method": found.get("method")}
