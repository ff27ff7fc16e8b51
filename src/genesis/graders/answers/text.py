"""Graders that read words: label, exact, keywords, regex and json. Pure functions of a spec and a reply."""

import functools
import json
import math
import re
from typing import Any

import regex

from genesis.graders.answers.verdict import Verdict

REGEX_SECONDS = 1.0
# Typographic single quotes and the backtick, then the double ones.
_STRAIGHT = str.maketrans("\u2018\u2019\u201a`\u201c\u201d\u201e\u00ab\u00bb", "''''" + '"""""')
_QUOTES = " '\""
_END = _QUOTES + ".,;:!?…"


def plain_label(text: str) -> str:
    """A label without what does not count: case, white space and quotes around it, punctuation at its end."""
    return " ".join(text.split()).translate(_STRAIGHT).lstrip(_QUOTES).rstrip(_END).casefold()


def grade_label(spec: dict[str, Any], reply: str) -> Verdict:
    """The reply is the label and nothing else."""
    found = plain_label(reply)
    if not found:
        return Verdict(None, "empty reply")
    return Verdict(found == plain_label(spec["answer"]), f"read {found[:200]!r}")


def grade_exact(spec: dict[str, Any], reply: str) -> Verdict:
    """The reply is the answer; only white space is forgiven."""
    found = " ".join(reply.split())
    if not found:
        return Verdict(None, "empty reply")
    return Verdict(found == " ".join(spec["answer"].split()), f"read {found[:200]!r}")


def grade_keywords(spec: dict[str, Any], reply: str) -> Verdict:
    """The reply holds all of `all` and one or more of `any`, as whole words or phrases in any case."""
    if not reply.strip():
        return Verdict(None, "empty reply")
    missing = [phrase for phrase in spec.get("all", []) if not holds_phrase(reply, phrase)]
    if missing:
        return Verdict(False, f"lacks {', '.join(map(repr, missing))}")
    choices = spec.get("any", [])
    if choices and not any(holds_phrase(reply, phrase) for phrase in choices):
        return Verdict(False, f"lacks every one of {', '.join(map(repr, choices))}")
    return Verdict(True, "holds the keywords")


def holds_phrase(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text as whole words; case, kinds of quote and line breaks do not count."""
    words = r"\s+".join(map(re.escape, _folded(phrase).split()))
    return re.search(rf"(?<!\w){words}(?!\w)", _folded(text)) is not None


def _folded(text: str) -> str:
    return text.translate(_STRAIGHT).casefold()


def grade_regex(spec: dict[str, Any], reply: str) -> Verdict:
    """The pattern is found somewhere in the reply; a search that runs away is cut off and cannot be read."""
    if not reply.strip():
        return Verdict(None, "empty reply")
    try:
        found = compiled(spec["pattern"]).search(reply, timeout=REGEX_SECONDS)
    except TimeoutError:
        return Verdict(None, f"the pattern took over {REGEX_SECONDS:g} s on this reply")
    return Verdict(found is not None, f"found {found[0][:200]!r}" if found else "pattern not found")


@functools.lru_cache(maxsize=4096)
def compiled(pattern: str) -> regex.Pattern:
    """The compiled pattern (`regex` rather than `re`: it has a time limit).

    Raises:
        regex.error: the pattern is not one.
    """
    return regex.compile(pattern)


def grade_json(spec: dict[str, Any], reply: str) -> Verdict:
    """The reply's first JSON object has these fields with these values; further fields do not matter."""
    found = first_object(reply)
    if found is None:
        return Verdict(None, "no JSON object in the reply")
    for name, value in spec["fields"].items():
        if name not in found:
            return Verdict(False, f"field {name!r} is absent")
        if not same_value(value, found[name]):
            return Verdict(False, f"field {name!r} is {str(found[name])[:200]!r}, not {value!r}")
    return Verdict(True, "the fields are right")


def first_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text, in a code fence or among prose."""
    decoder = json.JSONDecoder()
    for brace in re.finditer(r'\{(?=\s*["}])', text):
        try:
            return decoder.raw_decode(text, brace.start())[0]
        except (ValueError, RecursionError):
            continue
    return None


def same_value(wanted: Any, found: Any) -> bool:
    """Equality of JSON values: strings without case and outer white space, numbers by value, true is not 1."""
    if isinstance(wanted, str) and isinstance(found, str):
        return wanted.strip().casefold() == found.strip().casefold()
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        return wanted == found or (_in_range(found) and math.isclose(wanted, found, rel_tol=1e-9))
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(same_value, wanted, found))
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(same_value(wanted[key], found[key]) for key in wanted)
    return wanted is None and found is None


def _in_range(number: int | float) -> bool:
    """Within a float's range, where closeness can be computed; whole numbers of any length are JSON too."""
    return abs(number) < 1e300
