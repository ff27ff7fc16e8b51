"""An agent's file, conf/agent/<agent>.yaml: what it learns from, is tested on, and trains differently."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genesis.common.errors import UserError
from genesis.common.params import build, read_yaml

FOLDER = Path("conf/agent")


@dataclass
class AgentSource:
    """One origin of pairs.

    Attributes:
        kind: seed (frames and slots), file (csv, tsv, jsonl, parquet; a folder of such) or hub.
        path: the file, folder or hub name.
        test: for file, a file of its own held-out pairs; for hub, the split that holds them; else a share is held out.
        prompt, completion: names of the two columns.
        config, split, revision: for hub; a revision must be pinned unless `path` is a local folder.
        max_rows: read so many; 0 for all.
    """

    kind: str = "seed"
    path: str = ""
    test: str | None = None
    prompt: str = "prompt"
    completion: str = "completion"
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    max_rows: int = 0


@dataclass
class Agent:
    """conf/agent/<agent>.yaml.

    Attributes:
        about: one sentence on its work.
        sources: where its pairs come from.
        scenarios: hand-written test cases (JSON Lines), or null.
        gsm8k, humaneval: files of these benchmarks where this agent is measured on them, or null.
        agent_data, finetune: values that replace those of the sections of params.yaml for this agent alone.
    """

    about: str = ""
    sources: list[AgentSource] = field(default_factory=list)
    scenarios: str | None = None
    gsm8k: str | None = None
    humaneval: str | None = None
    agent_data: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)


def load_agent(name: str, folder: Path = FOLDER) -> Agent:
    """Read one agent's file.

    Raises:
        UserError: no such agent (the known ones are listed), an unknown key, or no source.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise UserError(f"{path}: no agent '{name}'; known agents: {known}; to add one, write this file")
    agent = build(Agent, read_yaml(path), str(path))
    if not agent.sources:
        raise UserError(f"{path}: sources: expected at least one source of pairs")
    return agent


def agent_names(params: Path = Path("params.yaml")) -> list[str]:
    """The list `agents` of params.yaml.

    Raises:
        UserError: no such list, or a name twice.
    """
    names = read_yaml(params).get("agents")
    if not isinstance(names, list) or not names:
        raise UserError(f"{params}: agents: expected a list of agent names")
    if len(set(names)) < len(names):
        raise UserError(f"{params}: agents: a name stands twice")
    return [str(name) for name in names]
