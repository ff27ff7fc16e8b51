from pathlib import Path

import pytest
import yaml

from genesis.common.errors import UserError
from genesis.common.prices import read_prices
from genesis.costs.declared import agent_baseline_usd, agent_plan_usd, first_plan, read_declared, rlt_plan_usd

SEED = Path(__file__).parents[2] / "data/seed"


def changed(folder: Path, **sections) -> Path:
    values = yaml.safe_load((SEED / "declared.yaml").read_text(encoding="utf-8"))
    for name, change in sections.items():
        values[name] = change(values[name]) if callable(change) else change
    path = folder / "declared.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_the_first_plan_comes_out_to_the_dollar_both_ways():
    declared = read_declared(SEED / "declared.yaml")
    assert (agent_plan_usd(declared.plan), rlt_plan_usd(declared.plan)) == (96, 1248)
    table = first_plan(declared, "openai")
    assert table["rlt_at_budget"] == {
        "baseline_usd": 107_500,
        "cost_usd": 11_440,
        "savings_share": pytest.approx(0.894, abs=0.0005),
        "savings_usd_a_year": 96_060,
        "savings_usd_in_5_years": 480_300,
    }
    assert table["rlt_at_plan"]["cost_usd"] == 2_688
    assert table["rlt_at_plan"]["savings_share"] == pytest.approx(0.975, abs=0.0005)
    assert first_plan(declared, "anthropic")["rlt_at_plan"]["baseline_usd"] == 115_000


def test_the_plan_is_worked_out_from_its_inputs(tmp_path):
    path = changed(tmp_path, plan=lambda plan: plan | {"usd_per_hour": 12, "rlt_rl_hours": 96})
    declared = read_declared(path)
    assert rlt_plan_usd(declared.plan) == 1200
    assert first_plan(declared, "openai")["rlt_at_plan"]["cost_usd"] == 1200 + 15 * 48


def test_the_plan_and_the_price_list_agree_on_the_planned_node():
    plan = read_declared(SEED / "declared.yaml").plan
    assert read_prices(SEED / "prices.csv")["8xh100"].usd_per_hour_on_demand == plan.usd_per_hour


def test_every_gate_is_declared():
    gates = {gate.name: (gate.comparison, gate.target) for gate in read_declared(SEED / "declared.yaml").gates}
    assert gates == {
        "sft_loss": ("<", 0.5),
        "rl_reward_gain": (">=", 0.2),
        "unsafe_reduction": (">=", 0.89),
        "overrefusal_reduction": (">=", 0.78),
        "core": (">", 0.22),
        "gsm8k": (">", 0.04),
        "humaneval": (">", 0.06),
        "agent_accuracy": (">=", 0.7),
        "rlt_cost": ("<", 10_000),
        "agent_cost": ("<", 100),
        "training_cost": ("<", 15_000),
        "savings": (">", 0.85),
        "latency": ("<", 2),
        "inference_cost": ("<", 0.1),
        "uptime": (">", 0.995),
        "api_quality": ("<=", 0.1),
    }


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"plan": lambda plan: plan | {"hours": 1}}, "hours"),
        ({"plan": lambda plan: {k: v for k, v in plan.items() if k != "agents"}}, "missing key 'plan.agents'"),
        ({"plan": lambda plan: plan | {"agent_hours": -4}}, "plan: agent_hours: expected a number of 0 or more"),
        ({"budgets": lambda own: own | {"rlt_usd": float("nan")}}, "budgets: rlt_usd: expected a number of 0 or more"),
        ({"mfu": {"gpu": 40, "cpu": 0.5}}, "mfu.gpu: expected a share"),
        ({"roi": lambda roi: roi | {"years": []}}, "expected at least one value"),
        ({"gates": lambda gates: [gates[0] | {"comparison": "~"}]}, "gates: sft_loss: comparison: expected one of"),
        ({"gates": lambda gates: [gates[0] | {"key": None}]}, "gates: sft_loss: expected both file and key"),
        ({"gates": lambda gates: [gates[0], gates[0]]}, "gates: sft_loss: the name stands twice"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, sections, said):
    with pytest.raises(UserError) as error:
        read_declared(changed(tmp_path, **sections))
    assert "declared.yaml" in str(error.value) and said in str(error.value)


def test_an_unknown_vendor_is_named():
    with pytest.raises(UserError, match="no baseline for 'acme'; declared vendors: openai, anthropic"):
        agent_baseline_usd(read_declared(SEED / "declared.yaml"), "acme")
