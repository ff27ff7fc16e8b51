"""A manifest of every agent's inputs, so that a changed file re-runs that agent alone.

DVC needs a stage's dependencies by name, but an agent's file may name any data. This cheap stage hashes what each agent
reads; agent_data@A depends on its manifest.
"""

import csv
import hashlib
import io
from pathlib import Path
from typing import Any

from genesis.agents import AgentSource, agent_names, load_agent
from genesis.chat import read_text, write_json
from genesis.errors import UserError

REVIEW = Path("data/review")
VERDICTS = ("", "ok", "reject")


def agent_sources(out: Path) -> None:
    """Write `out`/{pairs,tests}/<agent>.json for every agent in params.yaml.

    Raises:
        UserError: an agent without a file, or a source that does not exist.
    """
    for name in agent_names():
        agent = load_agent(name)
        pairs = [_hashed(name, path) for source in agent.sources for path in _paths(source)]
        tests = [_hashed(name, path) for path in (agent.scenarios, agent.gsm8k, agent.humaneval) if path]
        write_json(out / "pairs" / f"{name}.json", {"files": pairs, "rejected": rejected(name)})
        write_json(out / "tests" / f"{name}.json", {"files": tests})


def rejected(agent: str, folder: Path = REVIEW) -> list[str]:
    """Ids of the rows that a person rejected in the agent's review sheet."""
    return sorted(row["id"] for row in review_rows(agent, folder) if row["verdict"] == "reject")


def review_rows(agent: str, folder: Path = REVIEW) -> list[dict[str, str]]:
    """Rows of the agent's review sheet, verdicts in lower case; none where there is no sheet yet.

    Raises:
        UserError: a sheet without the columns id and verdict, or a verdict that is not one.
    """
    path = folder / f"{agent}.csv"
    if not path.is_file():
        return []
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="")
    if not {"id", "verdict"} <= set(reader.fieldnames or []):
        raise UserError(f"{path}:1: expected the columns id and verdict, found {reader.fieldnames}")
    rows = []
    for row in reader:
        row["verdict"] = row["verdict"].strip().lower()
        if row["verdict"] not in VERDICTS:
            raise UserError(
                f"{path}:{reader.line_num}: verdict: expected ok, reject or nothing, found '{row['verdict']}'"
            )
        rows.append(row)
    return rows


def _paths(source: AgentSource) -> list[str]:
    """The files and folders a source reads; a hub set is pinned by its revision, but a local one may change."""
    if source.kind == "hub":
        return [source.path] if Path(source.path).is_dir() else []
    return [source.path] if source.test is None else [source.path, source.test]


def _hashed(agent: str, name: str) -> dict[str, Any]:
    root = Path(name)
    if not root.exists():
        raise UserError(f"conf/agent/{agent}.yaml: {name}: no such file or folder")
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if path.is_file():
            digest.update(path.relative_to(root).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
    return {"path": name, "blake2b": digest.hexdigest()}
