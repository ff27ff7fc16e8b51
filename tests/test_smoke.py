"""The whole pipeline, tiny, in a fresh clone without a network: what it leaves, and what a change runs again."""

import json
import re
from pathlib import Path

import pytest
import yaml

from genesis.evals.core_bundle import OFFICIAL
from genesis.report.collect import collect
from imports import ROOT
from smoke import stages_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
TAIL = {"collect", "cost", "report"}
USAGE = {
    "stage", "item", "started_at", "wall_s", "active_s", "resumed", "device", "tokens", "flops", "peak_memory_bytes",
    "attempts",
}  # fmt: skip


def strict(path: Path) -> dict:
    """A JSON file without NaN or Infinity."""

    def refuse(constant):
        raise AssertionError(f"{path}: {constant}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def agents(smoke) -> list[str]:
    return yaml.safe_load((smoke.root / "params.yaml").read_text())["agents"]


@pytest.fixture(scope="module")
def changed(smoke, tmp_path_factory):
    """A copy of the finished clone, to be changed."""
    return smoke.copy(tmp_path_factory.mktemp("changed") / "clone")


def test_every_stage_leaves_its_outs_and_none_asks_for_the_network(smoke):
    from dvc.repo import Repo

    with Repo(str(smoke.root)) as repo:
        stages = repo.index.stages
        missing = [str(out) for stage in stages for out in stage.outs if not Path(out.fs_path).exists()]
        assert {stage.name.split("@")[0] for stage in stages} == set(PIPELINE) and not missing
        assert repo.status() == {}
    assert not smoke.network_log.exists(), smoke.network_log.read_text()


def test_the_run_ends_with_the_headlines_and_the_place_of_the_report(smoke):
    assert f"report: {smoke.root / 'reports/index.html'}" in smoke.said
    assert "Base, bits per byte" in smoke.said


def test_metrics_are_strict_and_their_keys_do_not_depend_on_what_was_measured(smoke, tmp_path):
    collect(agents(smoke), list(OFFICIAL), tmp_path / "nothing measured", tmp_path)
    for unmeasured in sorted(tmp_path.glob("*.json")):
        assert set(strict(smoke.root / "metrics" / unmeasured.name)) == set(strict(unmeasured)), unmeasured.name
    for path in (smoke.root / "metrics").glob("*.json"):
        assert strict(path)
    loss, scores = (strict(smoke.root / f"metrics/{name}.json") for name in ("loss", "agents"))
    assert loss["pretrain_bpb"] < loss["pretrain_bpb_start"]
    assert scores["agents_measured"] == len(agents(smoke))


def test_every_stage_that_computes_says_what_it_used(smoke):
    paths = [path for top in ("data", "models") for path in (smoke.root / top).rglob("usage.json")]
    assert len(paths) >= 6 + 3 * len(agents(smoke)) - 1
    for path in paths:
        usage = strict(path)
        assert set(usage) == USAGE, path
        assert 0 < usage["wall_s"] <= usage["active_s"] and usage["peak_memory_bytes"] > 10**7, path
        assert [attempt["outcome"] for attempt in usage["attempts"]] == ["finished"], path
        assert usage["device"]["count"] >= 1, path
    trained = strict(smoke.root / "models/base/usage.json")
    assert trained["tokens"] > 0 and trained["flops"] > trained["tokens"]


def test_the_page_opens_offline(smoke):
    page = (smoke.root / "reports/index.html").read_text(encoding="utf-8")
    tags = re.sub(r"(<(script|style)\b[^>]*>).*?</\2>", r"\1", page, flags=re.DOTALL)
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?!data:|#)([^\"' >]+)", tags)
    assert [target for target in loaded if not (smoke.root / "reports" / target).is_file()] == []
    assert not re.findall(r"(?:@import|url\()\s*[\"']?https?:", page)
    assert all(agent in page for agent in agents(smoke))
    assert "nan" not in re.findall(r">\s*(\w+)\s*<", tags.lower())


def test_a_second_run_does_nothing(smoke):
    said = smoke.run("dvc", "repro")
    assert stages_run(said) == set() and "Data and pipelines are up to date" in said


def test_a_price_runs_cost_and_report_again_and_nothing_else(changed):
    prices = changed.root / "data/seed/prices.csv"
    prices.write_text(re.sub(r"\d+\.\d+", lambda found: str(round(2 * float(found[0]), 4)), prices.read_text()))
    assert changed.repro() == {"cost", "report"}


def test_an_agents_file_runs_that_agent_and_the_cheap_tail_again(changed):
    with (changed.root / "data/seed/agents/support.yaml").open("a", encoding="utf-8") as file:
        file.write("# a second look\n")
    with (changed.root / "conf/agent/support.yaml").open("a", encoding="utf-8") as file:
        file.write("finetune: {epochs: 1}\n")
    own = {f"{stage}@support" for stage in ("agent_data", "finetune", "eval_agent")}
    ran = changed.repro()
    assert ran == {"agent_sources", *own, *TAIL}
    assert changed.repro() == set()
