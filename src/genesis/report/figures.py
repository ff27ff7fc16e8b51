"""Numbers as people read them, always with their unit; what is null reads `not measured`, never 0."""

import math

UNKNOWN = "not measured"
SPACE, DASH, MINUS = "\N{NO-BREAK SPACE}", "\N{EN DASH}", "\N{MINUS SIGN}"
NONE = DASH  # does not apply: nothing was to be measured, or declared, here


def share(value: float | None, digits: int = 1) -> str:
    """A share of 1 as per cent; what is short of all, or more than nothing, is never rounded to it."""
    if value is None:
        return UNKNOWN
    step = 10.0**-digits
    if 0 < value < 1 and not step / 2 <= 100 * value < 100 - step / 2:
        return f"< {step:.{digits}f}{SPACE}%" if value < 0.5 else f"> {100 - step:.{digits}f}{SPACE}%"
    return f"{100 * value:.{digits}f}{SPACE}%".replace("-", MINUS)


def interval(low: float | None, high: float | None) -> str:
    """The ends of an interval of shares, as per cent."""
    return "" if low is None or high is None else f"{100 * low:.1f}{DASH}{100 * high:.1f}{SPACE}%"


def usd(value: float | None) -> str:
    """Dollars: whole from 1,000 on, cents from 1, two significant digits below."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if size >= 1000:
        text = f"{size:,.0f}"
    elif size >= 1 or size == 0:
        text = f"{size:.2f}"
    else:
        text = f"{size:.{1 - math.floor(math.log10(size))}f}"
    return (f"{MINUS}$" if value < 0 else "$") + text


def seconds(value: float | None) -> str:
    """A duration in its two largest units."""
    if value is None:
        return UNKNOWN
    if value < 0.95:
        return f"{1000 * value:.0f}{SPACE}ms"
    if value < 10:
        return f"{value:.1f}{SPACE}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60:02d}{SPACE}s"
    minutes = round(value / 60)
    return f"{minutes // 60}{SPACE}h {minutes % 60:02d}{SPACE}min"


def amount(value: float | None, unit: str = "") -> str:
    """A count or size to three significant digits with k, M, G, T or P; below 1,000 as it is."""
    if value is None:
        return UNKNOWN
    power = min(6, int(math.log10(abs(value)) // 3)) if abs(value) >= 1000 else 0
    scaled = value / 1000**power
    if abs(scaled) >= 999.5 and power < 6:
        power, scaled = power + 1, scaled / 1000
    text = f"{scaled:.3g}" if power else f"{value:,.0f}"
    return SPACE.join(part for part in (text, ("", "k", "M", "G", "T", "P", "E")[power] + unit) if part)


def count(value: float | None) -> str:
    """A whole number with thousands' commas."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def decimal(value: float | None, digits: int = 3) -> str:
    """A plain number with a fixed number of decimals."""
    return UNKNOWN if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def in_unit(value: float | None, unit: str) -> str:
    """A gate's target or value: `share` is shown as per cent, `USD` as dollars, other units are written behind."""
    if value is None:
        return UNKNOWN
    if unit == "share":
        return share(value)
    if unit == "USD":
        return usd(value)
    return f"{value:.3g} {unit}".strip().replace("-", MINUS)
