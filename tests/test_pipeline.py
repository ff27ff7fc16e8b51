"""The pipeline's own promises: dependencies that are whole, parameters that are strict and composed from conf/."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from genesis.agents import load_agent
from genesis.common.budget import Budget
from genesis.common.mirror import Training
from genesis.common.params import load_params
from genesis.common.prices import Cost
from genesis.evals.eval_agent import EvalAgent
from genesis.evals.eval_core import EvalCore
from genesis.evals.eval_safety import EvalSafety
from genesis.nanochat.chat import Chat
from genesis.nanochat.finetune import Finetune
from genesis.nanochat.pretrain import Pretrain
from genesis.nanochat.tokenizer import TokenizerParams
from genesis.prepare.agents import AgentData
from genesis.prepare.corpus import Corpus
from genesis.prepare.safety import SafetyData
from genesis.rlt.rl import Rl
from genesis.rlt.settings import Rlt
from genesis.rlt.sft import RltSft
from genesis.rlt.student import Student
from genesis.rlt.traces import Traces
from genesis.training import Compute
from genesis.waltz.baselines import WaltzBaselines
from genesis.waltz.lessons import WaltzLessons
from genesis.waltz.sft import WaltzSft
from genesis.waltz.train import WaltzRl
from imports import ROOT, closure, dependencies

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
SECTIONS = {
    "corpus": Corpus,
    "tokenizer": TokenizerParams,
    "pretrain": Pretrain,
    "chat": Chat,
    "agent_data": AgentData,
    "safety_data": SafetyData,
    "finetune": Finetune,
    "rlt": Rlt,
    "student": Student,
    "rlt_sft": RltSft,
    "rl": Rl,
    "traces": Traces,
    "waltz_baselines": WaltzBaselines,
    "waltz_lessons": WaltzLessons,
    "waltz_sft": WaltzSft,
    "waltz_rl": WaltzRl,
    "eval_core": EvalCore,
    "eval_agent": EvalAgent,
    "eval_safety": EvalSafety,
    "compute": Compute,
    "training": Training,
    "budget": Budget,
    "cost": Cost,
}
PROFILES = sorted(path.stem for path in (ROOT / "conf/profile").glob("*.yaml"))


def compose(out: Path, *overrides: str) -> Path:
    from dvc.utils.hydra import compose_and_dump

    compose_and_dump(out, str(ROOT / "conf"), None, "config", "", list(overrides))
    return out


@pytest.mark.parametrize("stage", sorted(PIPELINE["stages"]))
def test_a_stages_dependencies_are_exactly_the_code_it_imports(stage):
    block = PIPELINE["stages"][stage]
    deps = block.get("do", block)["deps"]
    code = {dep for dep in deps if dep.startswith("src/genesis/")}
    assert code == dependencies(ROOT / f"stages/{stage}.py")
    assert f"stages/{stage}.py" in deps


def test_every_stage_file_is_a_stage_and_short():
    names = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert names == set(PIPELINE["stages"])
    assert max(len(path.read_text().splitlines()) for path in (ROOT / "stages").glob("*.py")) <= 30


def test_params_are_the_composition_of_conf(tmp_path):
    assert compose(tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_fills_every_section_and_names_known_agents(profile, tmp_path):
    path = compose(tmp_path / "params.yaml", f"profile={profile}")
    for section, kind in SECTIONS.items():
        assert isinstance(load_params(kind, section, path), kind)
    values = yaml.safe_load(path.read_text())
    assert set(values) == {*SECTIONS, "agents", "tracking"}
    for name in values["agents"]:
        agent = load_agent(name, ROOT / "conf/agent")
        assert agent.about and set(agent.finetune) <= {field.name for field in fields(Finetune)}


def test_stages_without_a_model_never_import_torch():
    for stage in ("corpus", "agent_sources", "agent_data", "safety_data", "collect", "cost", "report"):
        for path in [ROOT / f"stages/{stage}.py", *(ROOT / name for name in closure(ROOT / f"stages/{stage}.py"))]:
            found = re.findall(
                r"^(?:import|from) (torch|transformers|trl|accelerate)\b", path.read_text(), re.MULTILINE
            )
            assert not found, path
