import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genesis.common.errors import UserError
from genesis.common.prices import Cost
from genesis.costs.breakdown import breakdown, saved
from genesis.costs.cost import cost
from genesis.costs.declared import read_declared

SEED = Path(__file__).parents[2] / "data/seed"
DECLARED = read_declared(SEED / "declared.yaml")
PARAMS = Cost(prices=str(SEED / "prices.csv"), declared=str(SEED / "declared.yaml"))
AGENTS = ["qa", "builder"]
BASE, OWN = ("corpus", "tokenizer", "pretrain", "chat"), ("agent_data", "finetune", "eval_agent")
SAFETY = {"rlt": ("safety_data", "student", "rlt_sft", "rlt_rl"), "waltz": ("waltz_sft", "waltz_rl", "eval_safety")}


def row(stage, item, group, seconds=None, unfinished=0.0, flops=0.0, attempts=1, device="cpu"):
    track = "safety" if group in SAFETY else "specialist"
    known = {"active_s": seconds, "unfinished_s": unfinished, "flops": flops, "attempts": attempts, "device": device}
    values = known if seconds is not None else dict.fromkeys(known)
    return {"stage": stage, "item": item, "group": group, "track": track, **values}


def usage(safety_s=None, **changed) -> dict[str, dict]:
    """36 s in every stage of the specialist track; `changed` replaces whole rows (`__` stands for @)."""
    rows = {name: row(name, None, "base", 36.0, flops=1e15) for name in BASE}
    rows |= {f"{name}@{agent}": row(name, agent, "agent", 36.0) for name in OWN for agent in AGENTS}
    rows["eval_core"] = row("eval_core", None, "core", 36.0)
    rows |= {name: row(name, None, group, safety_s) for group, names in SAFETY.items() for name in names}
    return rows | {name.replace("__", "@"): value for name, value in changed.items()}


def run(folder: Path, rows: dict, params: Cost = PARAMS, **metrics: dict):
    for name, values in {"usage": rows, **metrics}.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    cost(params, AGENTS, folder)
    tables = [list(csv.DictReader((folder / name).open())) for name in ("costs.csv", "roi.csv")]
    return json.loads((folder / "cost.json").read_text()), *tables


def test_the_sums_of_a_specialist_run_worked_out_by_hand(tmp_path):
    rows = usage(pretrain=row("pretrain", None, "base", 360.0, 72.0, 9e17, attempts=3))
    values, table, _ = run(tmp_path, rows, agents={"qa_tokens_per_s": 100.0, "builder_tokens_per_s": None})
    hour = 0.067
    unit = hour / 100
    assert values["base_usd"] == pytest.approx(13 * unit)
    assert values["agent_qa_usd"] == values["marginal_next_agent_usd"] == pytest.approx(3 * unit)
    assert values["stage_finetune_usd"] == pytest.approx(2 * unit)
    assert values["track_specialist_usd"] == values["total_usd"] == pytest.approx(20 * unit)
    assert values["track_safety_usd"] is values["rlt_usd"] is values["stage_rlt_rl_usd"] is None
    assert values["training_usd"] is None
    assert values["agent_from_scratch_usd"] == pytest.approx(16 * unit)
    assert values["shared_base_saved_usd"] == pytest.approx(13 * unit)
    assert values["cache_saved_per_agent_change_usd"] == pytest.approx(17 * unit)
    assert (values["attempts"], values["interrupted_usd"]) == (13, pytest.approx(2 * unit))
    assert (values["plan_usd"], values["baseline_usd"]) == (192, 1000)
    assert values["savings_share"] == pytest.approx(1 - 20 * unit / 1000)
    assert values["spot_usd"] == pytest.approx(0.2 * 0.02 * (1 + 0.05 * 0.25))
    flops = 9e17 + 3e15
    assert values["projected_8xh100_usd"] == pytest.approx(flops / (8 * 989e12 * 0.4) / 3600 * 24)
    assert values["usd_per_1000_tokens_generated"] == pytest.approx(hour / 360)
    assert values["inference_share_of_api"] == pytest.approx(hour / 360 / 0.0006)
    assert values["flags"] == []
    assert values["declared"]["first_plan"]["rlt_at_budget"]["cost_usd"] == 11_440
    lines = {(line["level"], line["name"]): line for line in table}
    assert lines["stage", "rlt_rl"]["plan_usd"] == "1152.0" and lines["stage", "rlt_rl"]["actual_usd"] == ""
    assert float(lines["agent", "qa"]["savings_usd"]) == pytest.approx(500 - 3 * unit)


def test_a_sum_waits_for_all_its_parts_and_the_comparison_covers_what_was_measured(tmp_path):
    values, _, _ = run(tmp_path, usage(safety_s=36.0, finetune__qa=row("finetune", "qa", "agent")))
    assert values["agent_qa_usd"] is values["track_specialist_usd"] is values["savings_specialist_share"] is None
    assert values["agent_builder_usd"] == values["marginal_next_agent_usd"]
    assert (values["plan_usd"], values["baseline_usd"]) == (1248, 100_000)
    assert values["savings_share"] == values["savings_safety_share"] == 1 - values["track_safety_usd"] / 100_000
    nothing = {name: row(own["stage"], own["item"], own["group"]) for name, own in usage().items()}
    empty, _, roi = run(tmp_path, nothing)
    assert set(empty) == set(values)
    measured = {key for key, value in empty.items() if value is not None}
    assert measured == {"declared", "flags", "stages", "stages_measured"}
    assert empty["stages_measured"] == 0 and {line["basis"] for line in roi} == {
        "declared, RLT at budget",
        "declared, RLT at plan",
    }


def test_roi_repeats_the_first_plan_and_shares_the_same_part_on_both_sides(tmp_path):
    values, _, roi = run(tmp_path, usage(safety_s=36.0))
    points = {
        (r["basis"], int(r["businesses"]), int(r["retrainings_per_year"]), int(r["years"])): {
            key: float(r[key]) for key in ("cost_usd", "baseline_usd", "savings_usd", "roi")
        }
        for r in roi
    }
    assert len(points) == 3 * 3 * 3 * 5
    assert points["declared, RLT at budget", 1, 1, 5]["savings_usd"] == 480_300
    assert points["declared, RLT at plan", 100, 4, 2]["cost_usd"] == 8 * (1248 + 100 * 1440)
    assert points["declared, RLT at plan", 100, 4, 2]["baseline_usd"] == 2 * (100_000 + 100 * 7500)
    measured = points["measured", 10, 1, 1]
    assert [values[key] for key in ("training_usd", "total_usd")] == pytest.approx([18 * 0.067 / 100] * 2)
    assert measured["cost_usd"] == pytest.approx((4 + 1 + 7 + 10 * 6) * 0.067 / 100)
    assert measured["roi"] == pytest.approx(measured["savings_usd"] / measured["cost_usd"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.floats(0, 1e7), min_size=18, max_size=18), st.floats(0.001, 100), st.floats(0, 100))
def test_a_cost_table_adds_up_and_rises_with_the_price(seconds, price, more):
    rows = usage(safety_s=1.0)
    for own, active in zip(rows.values(), seconds, strict=True):
        own["active_s"] = active
    cheap, dear = (breakdown(rows, usd, DECLARED, "openai") for usd in (price, price + more))
    by = {level: [line.usd for line in cheap if line.level == level] for level in ("stage", "track", "total")}
    assert sum(by["stage"]) == pytest.approx(by["total"][0], rel=1e-9)
    assert sum(by["track"]) == pytest.approx(by["total"][0], rel=1e-9)
    assert all(0 <= one.usd <= two.usd for one, two in zip(cheap, dear, strict=True))
    assert saved(dear, "total")[1] <= saved(cheap, "total")[1] <= 1


def test_a_node_that_did_not_run_the_stages_is_flagged(tmp_path):
    values, _, _ = run(tmp_path, usage(), replace(PARAMS, node="8xh100"))
    assert values["flags"] == ["priced as 8xh100 (8 H100 80GB SXM), but every stage ran on a CPU"]
    gpu = usage(pretrain=row("pretrain", None, "base", 36.0, device="NVIDIA L4"))
    values, _, _ = run(tmp_path, gpu)
    assert values["flags"] == ["priced as cpu2, which has no GPU, but stages ran on NVIDIA L4"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"node": "gone"}, "no price for node 'gone'"),
        ({"node": "8xa100", "market": "spot"}, "node '8xa100' has no price spot"),
        ({"vendor": "acme"}, "no baseline for 'acme'"),
        ({"mfu": 40.0}, "cost.mfu: expected a share"),
        ({"prices": "gone.csv"}, "gone.csv: no such file"),
    ],
)
def test_bad_parameters_are_named_and_write_nothing(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        run(tmp_path, usage(), replace(PARAMS, **change))
    assert not (tmp_path / "cost.json").exists()


def test_damaged_usage_is_named(tmp_path):
    (tmp_path / "usage.json").write_text('{"corpus": {')
    with pytest.raises(UserError, match=r"usage.json:1: not JSON"):
        cost(PARAMS, AGENTS, tmp_path)
