from pathlib import Path

import pytest

from genesis.agents import Agent, AgentSource, agent_names, load_agent
from genesis.common.errors import UserError
from genesis.common.params import read_yaml

ROOT = Path(__file__).parents[1]
AGENTS = sorted(path.stem for path in (ROOT / "conf/agent").glob("*.yaml"))


def test_every_listed_agent_has_a_file_and_the_other_way_round():
    assert sorted(agent_names(ROOT / "conf/config.yaml")) == AGENTS
    assert len(AGENTS) == 15


@pytest.mark.parametrize("name", AGENTS)
def test_a_shipped_agent_reads_files_that_exist(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    agent = load_agent(name)
    paths = [source.path for source in agent.sources] + [agent.scenarios]
    paths += [path for path in (agent.gsm8k, agent.humaneval) if path]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    seed = read_yaml(ROOT / f"data/seed/agents/{name}.yaml")
    assert seed["agent"] == name


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.yaml").write_text("about: Sorts.\nsources: [{kind: file, path: a.csv}]\nfinetune: {epochs: 2}\n")
    return tmp_path


def test_an_agents_file_is_typed(folder):
    assert load_agent("a", folder) == Agent("Sorts.", [AgentSource("file", "a.csv")], finetune={"epochs": 2})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources: [{path: x}]\nscenario: y", r"b.yaml: unknown key 'scenario'; known keys: about, sources, scenarios"),
        ("sources: [{pth: x}]", r"b.yaml: unknown key 'pth'; known keys: kind, path"),
        ("sources: [{path: x, max_rows: all}]", r"b.yaml: max_rows: Value 'all'"),
        ("about: x", r"b.yaml: sources: expected at least one source"),
        ("sources: [", r"b.yaml:1: not YAML"),
    ],
)
def test_a_bad_agents_file_is_named_with_the_key(folder, text, said):
    (folder / "b.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        load_agent("b", folder)


def test_an_unknown_agent_is_told_the_known_ones(folder):
    with pytest.raises(UserError, match=r"c.yaml: no agent 'c'; known agents: a; to add one, write this file"):
        load_agent("c", folder)


@pytest.mark.parametrize("agents", ["", "agents: []", "agents: qa", "agents: {qa: 1}"])
def test_the_list_of_agents_must_be_a_list(tmp_path, agents):
    (tmp_path / "params.yaml").write_text(f"other: 1\n{agents}\n")
    with pytest.raises(UserError, match=r"params.yaml: agents: expected a list of agent names"):
        agent_names(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("agents: [qa, legal, qa]")
    with pytest.raises(UserError, match=r"params.yaml: agents: a name stands twice"):
        agent_names(tmp_path / "params.yaml")
