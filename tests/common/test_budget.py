"""Budget caps: what counts, what is refused, and a training that stops at a cap and goes on when it is raised."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from budgets import configure, ledger
from genesis.common.budget import AGENT, RLT, Budget, Cap, Guard, Spent, caps, guard, spending
from genesis.common.chat import write_json
from genesis.common.errors import BudgetError, UserError
from genesis.common.estimate import Estimate
from genesis.common.usage import measured
from genesis.report.collect import STAGES

HOUR = 3600.0


def test_the_groups_are_the_ones_that_the_cost_report_sums():
    groups = {group: {name.split("@")[0] for name, _, own in STAGES if own == group} for group in ("rlt", "agent")}
    assert (set(RLT), set(AGENT)) == (groups["rlt"], groups["agent"])


def test_each_cap_covers_its_own_stages():
    budget = Budget(total_usd=9, rlt_hours=8, agent_usd=7, stages_usd={"finetune": 6}, stages_hours={"pretrain": 5})
    keys = {name: [cap.key for cap in caps(budget, *name)] for name in (("pretrain", None), ("finetune", "qa"))}
    assert keys["pretrain", None] == ["budget.total_usd", "budget.stages_hours.pretrain"]
    assert keys["finetune", "qa"] == ["budget.total_usd", "budget.agent_usd", "budget.stages_usd.finetune"]
    agent = caps(budget, "finetune", "qa")[1]
    assert agent.covers("eval_agent", "qa") and not agent.covers("finetune", "seo")
    assert not agent.covers("traces", "qa")
    assert [cap.key for cap in caps(budget, "traces", "rl")] == ["budget.total_usd", "budget.rlt_hours"]
    with pytest.raises(UserError, match=r"budget.total_usd: expected 0 or more, or null for no cap, found -1"):
        caps(Budget(total_usd=-1), "pretrain", None)


def test_finished_outs_and_attempts_at_work_count_and_nothing_twice(folder):
    out = {"stage": "pretrain", "item": None, "active_s": 10.0}
    write_json(folder / "models/base/usage.json", out)
    write_json(folder / "models/agents/qa/usage.json", {"stage": "finetune", "item": "qa", "active_s": 20.0})
    write_json(folder / "models/.base.before/usage.json", out)
    for key, seconds in (("mine", 1.0), ("other", 2.0)):
        write_json(folder / f".cache/finetune/seo/{key}/attempt-1.json", {"active_s": seconds})
    (folder / ".cache/finetune/seo/other/attempt-2.json").write_text("")  # being written
    write_json(folder / ".cache/chat/_/k/attempt-1.json", {"active_s": 3.0})
    found = set(spending(folder, folder / ".cache", folder / ".cache/finetune/seo/mine"))
    assert found == {
        Spent("pretrain", None, 10.0),
        Spent("finetune", "qa", 20.0),
        Spent("finetune", "seo", 2.0),
        Spent("chat", None, 3.0),
    }


@given(st.lists(st.floats(0, 1e6), max_size=8), st.floats(0, 1e6), st.floats(0, 100), st.floats(0, 1000))
def test_a_stage_starts_exactly_while_spent_and_expected_stay_under_the_cap(others, expected, price, limit):
    own = Guard([Cap("budget.total_usd", limit)], price, lambda: [Spent("a", None, s) for s in others])
    spent = sum(others) / HOUR * price
    ahead = expected / HOUR * price
    if abs(spent + ahead - limit) < 1e-6 or abs(spent - limit) < 1e-6:
        return
    if spent < limit and spent + ahead < limit:
        own.check_start(0.0, Estimate(expected, "measured"))
    else:
        with pytest.raises(BudgetError, match="not started: budget.total_usd: "):
            own.check_start(0.0, Estimate(expected, "measured"))


def test_what_was_done_already_is_not_expected_again():
    own = Guard([Cap("budget.total_hours", 2.0)], 24.0, list)
    own.check_start(1.5 * HOUR, Estimate(1.9 * HOUR, "measured"))
    with pytest.raises(BudgetError) as caught:
        own.check_start(1.5 * HOUR, Estimate(2.5 * HOUR, "declared: plan.rlt_rl_hours"))
    assert str(caught.value) == (
        "not started: budget.total_hours: 1.5 h spent and 1 h expected (declared: plan.rlt_rl_hours), the cap is 2 h; raise it "
        "with dvc exp run -S budget.total_hours=… (or in conf/config.yaml, then make params): the stage resumes"
    )


def test_a_stage_that_would_pass_a_cap_does_not_start_and_its_earlier_result_stays(folder, capsys):
    configure(folder, total_usd=1.0)
    with measured("train", None, Path("models/out")):
        Path("models/out/model").touch()
    row = {"active_s": HOUR, "device": "cpu"}
    write_json(folder / "metrics/usage.json", {"train": row})
    with pytest.raises(SystemExit) as caught, measured("train", None, Path("models/out")):
        raise AssertionError("the work began")
    assert caught.value.code == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "$0.00 spent and $24.00 expected (measured: metrics/usage.json), the cap is $1.00" in said
    assert len(ledger(folder)) == 1 and Path("models/out/model").exists()
    configure(folder, total_usd=100.0)
    with measured("train", None, Path("models/out")) as usage:
        assert usage.attempt.estimate_s == HOUR
    assert ledger(folder)[-1]["estimate_s"] == HOUR


def test_a_node_without_a_price_is_named_before_any_work(folder, capsys):
    configure(folder)
    values = yaml.safe_load((folder / "params.yaml").read_text())
    values["cost"]["node"] = "gone"
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SystemExit), measured("train", None, Path("models/out")):
        raise AssertionError("the work began")
    assert "prices.csv: no price for node 'gone'; known nodes: box; add a row for it" in capsys.readouterr().err


def test_stages_side_by_side_see_each_others_heartbeats(folder):
    configure(folder, price=HOUR, total_usd=1000.0)
    write_json(folder / ".cache/chat/_/k/attempt-1.json", {"active_s": 400.0})
    watch = guard("pretrain", None, folder / ".cache/pretrain/_/mine", folder / ".cache")
    assert watch.reached(500.0) is None
    write_json(folder / ".cache/chat/_/k/attempt-1.json", {"active_s": 600.0})
    watch.refresh()
    assert watch.reached(500.0).startswith("budget.total_usd: $1,100.00 spent, the cap is $1,000.00; raise it with")
