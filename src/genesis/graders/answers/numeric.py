"""Graders that read numbers: the last number of a reply, and GSM8K's answer after '####'."""

import re
from collections import deque
from decimal import Context, Decimal
from typing import Any

from genesis.graders.answers.verdict import Verdict

# No traps: a number out of range reads as infinite, which equals no answer, instead of raising.
_CONTEXT = Context(prec=50, traps=[])
_NUMBER = re.compile(
    r"""
    (?<![A-Za-z_\d]) (?<!\d\.)                        # not inside a word (m2, Q3) or a version (1.2.3)
    (?P<sign> (?<![)%]) [-+\u2212\u2013] )?                # 10-5 is no negative number
    (?: (?:[$€£¥₹]|USD|EUR|GBP|Rs\.?) \s? (?P<inner>[-\u2212\u2013])? )?
    (?:
        (?: (?P<whole>\d+) [ ] )? (?<!/) (?P<over>\d+) / (?P<under>0*[1-9]\d*) (?! [\d/] | \.\d )
      | (?P<units> \d{1,3} (?:[,_\u00a0\u2009\u202f]\d{3})+ (?!\d) | \d+ )? (?P<decimals> \.\d+ )?
        (?<=\d)
        (?: [eE] (?P<power>[-+\u2212]?\d+) (?!\w)
          | \s? (?:[\u00d7xX*·]|\\times) \s? 10 (?:\^|\*\*) \{? (?P<ten>[-+\u2212]?\d+) \}? )?
    )
    """,
    re.VERBOSE,
)


def last_number(text: str) -> Decimal | None:
    """The last number of a text, or None.

    Reads thousands separators, currency signs, signs, decimals, 1.5e3 and 1.5 × 10^3, fractions (3/4) and mixed numbers
    (1 1/2). A percent sign is left out: 40 % is 40.
    """
    found = deque(_NUMBER.finditer(text), maxlen=1)
    return _value(found[0]) if found else None


def final_answer(text: str) -> Decimal | None:
    """The last number after '####' where there is one, else the last number of the text."""
    _, mark, tail = text.rpartition("####")
    number = last_number(tail) if mark else None
    return last_number(text) if number is None else number


def grade_number(spec: dict[str, Any], reply: str) -> Verdict:
    """The reply's last number is within `tolerance` (absolute, 0 where absent) of `value`."""
    return _compared(last_number(reply), exact(spec["value"]), exact(spec.get("tolerance", 0)))


def grade_final_answer(gold: Decimal, reply: str) -> Verdict:
    """GSM8K's rule: the reply's final answer equals the gold one as a number."""
    return _compared(final_answer(reply), gold, Decimal(0))


def exact(number: int | float) -> Decimal:
    """The decimal number that a JSON file shows, so that 22.01 is within 0.01 of 22."""
    return _CONTEXT.create_decimal(repr(number))


def _compared(found: Decimal | None, wanted: Decimal, tolerance: Decimal) -> Verdict:
    if found is None:
        return Verdict(None, "no number in the reply")
    return Verdict(_CONTEXT.subtract(found, wanted).copy_abs() <= tolerance, f"read {found}")


def _value(match: re.Match) -> Decimal:
    part = match.groupdict()
    if part["over"]:
        share = _CONTEXT.divide(_CONTEXT.create_decimal(part["over"]), _CONTEXT.create_decimal(part["under"]))
        size = _CONTEXT.add(_CONTEXT.create_decimal(part["whole"] or "0"), share)
    else:
        digits = re.sub(r"\D", "", part["units"] or "0") + (part["decimals"] or "")
        power = (part["power"] or part["ten"] or "0").replace("\u2212", "-")
        size = _CONTEXT.create_decimal(f"{digits}E{power}")
    negative = (part["sign"] or "+") != "+" or part["inner"]
    return -size if negative else size
