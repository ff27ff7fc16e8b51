"""Return on investment: 1, 10, 100 businesses over years, with retraining, against buying the same.

A business runs its own agents; base and safety pair are trained once for all businesses, and are bought once for all of
them in the baseline too, so that both sides share the same part. Training alone is counted on our side.
"""

from dataclasses import dataclass
from typing import Any

from genesis.costs import formulas as f
from genesis.costs.declared import Roi


@dataclass(frozen=True)
class Case:
    """One training's cost and one year's baseline, each as the shared part and the part of every business."""

    basis: str
    shared_usd: float
    each_usd: float
    baseline_shared_usd: float
    baseline_each_usd: float


def roi_rows(cases: list[Case], points: Roi) -> list[dict[str, Any]]:
    """One row for each case, number of businesses, retrainings a year and years."""
    return [
        _row(case, businesses, retrainings, years)
        for case in cases
        for businesses in points.businesses
        for retrainings in points.retrainings_per_year
        for years in points.years
    ]


def _row(case: Case, businesses: int, retrainings: int, years: int) -> dict[str, Any]:
    once = f.shared_and_each_usd(case.shared_usd, case.each_usd, businesses)
    spent = f.over_years_usd(once, years, retrainings)
    baseline = f.over_years_usd(
        f.shared_and_each_usd(case.baseline_shared_usd, case.baseline_each_usd, businesses), years
    )
    saved = f.savings_usd(baseline, spent)
    return {
        "basis": case.basis,
        "businesses": businesses,
        "retrainings_per_year": retrainings,
        "years": years,
        "cost_usd": spent,
        "baseline_usd": baseline,
        "savings_usd": saved,
        "savings_share": f.savings_share(baseline, spent),
        "roi": f.roi(saved, spent),
    }
