"""Every formula of the cost report, pure, with the unit in each name.

Dollars are US dollars, hours are hours of one whole node, shares run from 0 to 1 (a loss is a negative share).
"""

import math
from collections.abc import Iterable

SECONDS_PER_HOUR = 3600.0
FLOPS_PER_TFLOP = 1e12


def seconds_to_hours(seconds: float) -> float:
    """Node hours of so many active seconds."""
    return seconds / SECONDS_PER_HOUR


def cost_usd(hours: float, usd_per_hour: float) -> float:
    """What node hours cost."""
    return hours * usd_per_hour


def total(parts: Iterable[float]) -> float:
    """A sum of dollars, seconds or FLOPs, the same whatever the order of its parts."""
    return math.fsum(parts)


def savings_usd(baseline_usd: float, spent_usd: float) -> float:
    """What is left of the baseline; negative where the baseline was cheaper."""
    return baseline_usd - spent_usd


def savings_share(baseline_usd: float, spent_usd: float) -> float | None:
    """1 − cost / baseline; None where there is no baseline."""
    return 1 - spent_usd / baseline_usd if baseline_usd > 0 else None


def roi(saved_usd: float, spent_usd: float) -> float | None:
    """Dollars saved for each dollar spent; None where nothing was spent."""
    return saved_usd / spent_usd if spent_usd > 0 else None


def ratio(part: float, whole: float) -> float | None:
    """part / whole; None where the whole is nothing."""
    return part / whole if whole > 0 else None


def projected_hours_from_flops(flops: float, peak_tflops: float, mfu: float) -> float:
    """Hours that so many training FLOPs take at the share `mfu` of a node's peak (all its GPUs together)."""
    return seconds_to_hours(flops / (peak_tflops * FLOPS_PER_TFLOP * mfu))


def hours_with_interruptions(hours: float, interruptions_per_hour: float, lost_hours: float) -> float:
    """Expected hours on spot nodes: each interruption repeats the work since the last checkpoint and the start-up."""
    return hours * (1 + interruptions_per_hour * lost_hours)


def usd_per_1000_tokens(usd_per_hour: float, tokens_per_s: float) -> float:
    """What a node that generates so many tokens a second charges for a thousand."""
    return seconds_to_hours(1000 / tokens_per_s) * usd_per_hour


def shared_and_each_usd(shared_usd: float, each_usd: float, count: int) -> float:
    """What is paid once, and what is paid for each of `count` (businesses, agents)."""
    return shared_usd + count * each_usd


def over_years_usd(usd: float, years: int, times_per_year: float = 1) -> float:
    """A cost that returns so many times a year."""
    return usd * years * times_per_year
