"""The properties that money must have: never negative, additive over stages, monotone in price."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis.costs import formulas as f

AMOUNT = st.floats(0, 1e9)
ABOVE = st.floats(1e-6, 1e9)


@given(AMOUNT, AMOUNT, AMOUNT)
def test_a_dearer_node_never_costs_less_and_nothing_is_negative(seconds, price, more):
    hours = f.seconds_to_hours(seconds)
    assert 0 <= f.cost_usd(hours, price) <= f.cost_usd(hours, price + more)


@given(st.lists(AMOUNT, max_size=20), AMOUNT, st.randoms())
def test_the_total_is_the_sum_of_its_stages_in_any_order(seconds, price, random):
    stages = [f.cost_usd(f.seconds_to_hours(s), price) for s in seconds]
    whole = f.cost_usd(f.seconds_to_hours(f.total(seconds)), price)
    assert f.total(stages) == pytest.approx(whole, rel=1e-12)
    shuffled = list(stages)
    random.shuffle(shuffled)
    assert f.total(shuffled) == f.total(stages)


@given(ABOVE, ABOVE, st.floats(0.01, 1), ABOVE)
def test_a_faster_node_or_a_better_mfu_never_projects_more_hours(flops, peak_tflops, mfu, more):
    hours = f.projected_hours_from_flops(flops, peak_tflops, mfu)
    assert 0 <= f.projected_hours_from_flops(flops, peak_tflops + more, mfu) <= hours
    assert f.projected_hours_from_flops(flops, peak_tflops, min(1.0, mfu * 2)) <= hours


@given(AMOUNT, ABOVE, AMOUNT)
def test_savings_and_cost_make_up_the_baseline(spent, baseline, more):
    share = f.savings_share(baseline, spent)
    assert share <= 1
    assert f.savings_usd(baseline, spent) == pytest.approx(share * baseline, rel=1e-9, abs=1e-6)
    assert f.savings_share(baseline, spent + more) <= share


@given(AMOUNT, st.floats(0, 10), st.floats(0, 10))
def test_interruptions_only_add_hours(hours, rate, lost):
    assert f.hours_with_interruptions(hours, rate, lost) >= hours == f.hours_with_interruptions(hours, 0, lost)


@given(AMOUNT, AMOUNT, st.integers(0, 1000), st.integers(1, 10))
def test_years_and_businesses_add_up(shared, each, businesses, years):
    once = f.shared_and_each_usd(shared, each, businesses)
    assert once >= shared
    assert f.shared_and_each_usd(shared, each, businesses + 1) - once == pytest.approx(each, abs=1e-3)
    assert f.over_years_usd(once, years, 2) == pytest.approx(2 * years * once)


def test_figures_worked_out_by_hand():
    assert f.cost_usd(f.seconds_to_hours(5400), 24) == 36
    assert f.usd_per_1000_tokens(3.6, 100) == pytest.approx(0.01)
    assert f.projected_hours_from_flops(3600 * 400e12, 1000, 0.4) == pytest.approx(1)
    assert f.roi(900, 100) == 9
    assert (f.savings_share(0, 5), f.roi(5, 0), f.ratio(1, 0)) == (None, None, None)
