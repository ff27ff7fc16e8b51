"""Manifests of what every agent and the safety track read, so that a changed file re-runs its readers alone.

DVC needs a stage's dependencies by name, but an agent's file and the safety track's section may name any data. This
cheap stage hashes what they read and notes which rows a reviewer rejected; agent_data@A and safety_data depend on their
manifests, and so not on the review sheets, which they write themselves.
"""

import hashlib
from pathlib import Path
from typing import Any

from genesis.agents import AgentSource, agent_names, load_agent
from genesis.common.chat import write_json
from genesis.common.errors import UserError
from genesis.common.params import load_params
from genesis.prepare.review import rejected
from genesis.prepare.safety import NAME, SafetyData
from genesis.prepare.safety_rows import SafetySource


def agent_sources(out: Path) -> None:
    """Write `out`/{pairs,tests}/<agent>.json for every agent in params.yaml, and `out`/safety.json.

    Raises:
        UserError: an agent without a file, one with the safety track's name, or a source that does not exist.
    """
    for name in agent_names():
        if name == NAME:
            raise UserError(f"params.yaml: agents: '{NAME}' names the safety track's review sheet; call the agent else")
        agent, where = load_agent(name), f"conf/agent/{name}.yaml"
        pairs = [_hashed(where, path) for source in agent.sources for path in _paths(source)]
        tests = [_hashed(where, path) for path in (agent.scenarios, agent.gsm8k, agent.humaneval) if path]
        write_json(out / "pairs" / f"{name}.json", {"files": pairs, "rejected": rejected(name)})
        write_json(out / "tests" / f"{name}.json", {"files": tests})
    safety = load_params(SafetyData, "safety_data")
    paths = [path for source in safety.sources for path in _paths(source)] + safety.benchmarks
    files = [_hashed("params.yaml: safety_data", path) for path in paths]
    write_json(out / "safety.json", {"files": files, "rejected": rejected(NAME)})


def _paths(source: AgentSource | SafetySource) -> list[str]:
    """The files and folders a source reads; a hub set is pinned by its revision, but a local one may change."""
    if source.kind == "hub":
        return [source.path] if Path(source.path).is_dir() else []
    return [path for path in (source.path, getattr(source, "test", None)) if path]


def _hashed(where: str, name: str) -> dict[str, Any]:
    root = Path(name)
    if not root.exists():
        raise UserError(f"{where}: {name}: no such file or folder")
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if path.is_file():
            digest.update(path.relative_to(root).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
    return {"path": name, "blake2b": digest.hexdigest()}
