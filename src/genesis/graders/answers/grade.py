"""One door to all graders: a spec is a JSON object whose `kind` names the grader.

{"kind": "label", "answer": "billing"}
{"kind": "exact", "answer": "Refund in full"}
{"kind": "keywords", "all": ["refund"], "any": ["5 days", "five days"]}
{"kind": "number", "value": 42.5, "tolerance": 0.01}
{"kind": "regex", "pattern": "(?i)\\brollback\\b"}
{"kind": "json", "fields": {"priority": "high"}}
{"kind": "python", "tests": "assert slugify('A b') == 'a-b'"}
"""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import regex

from genesis.common.errors import UserError
from genesis.graders.answers.numeric import grade_number
from genesis.graders.answers.python_tests import grade_python
from genesis.graders.answers.text import (
    compiled,
    grade_exact,
    grade_json,
    grade_keywords,
    grade_label,
    grade_regex,
    plain_label,
)
from genesis.graders.answers.verdict import Verdict

Check = Callable[[Any], str | None]


@dataclass(frozen=True)
class Kind:
    """A grader, and what checks each field of its spec (a check returns what it expected, or None)."""

    grade: Callable[[dict[str, Any], str], Verdict]
    required: dict[str, Check]
    optional: dict[str, Check]


def validate_grader(spec: Any) -> str | None:
    """Say what is wrong with a grader's spec, field first, or None."""
    if not isinstance(spec, dict):
        return f"expected an object with a field 'kind', found {type(spec).__name__}"
    name = spec.get("kind")
    if not isinstance(name, str) or name not in KINDS:
        return f"field 'kind': expected one of {', '.join(KINDS)}, found {name!r}"
    kind = KINDS[name]
    checks = kind.required | kind.optional
    for field in kind.required:
        if field not in spec:
            return f"field '{field}': missing; a {name} grader needs it"
    for field, value in spec.items():
        if field == "kind":
            continue
        if field not in checks:
            return f"field '{field}': unknown; a {name} grader has {', '.join(checks)}"
        expected = checks[field](value)
        if expected:
            return f"field '{field}': {expected}"
    if name == "keywords" and not spec.get("all") and not spec.get("any"):
        return "field 'all': a keywords grader needs phrases in 'all', in 'any' or in both"
    return None


def grade(spec: dict[str, Any], reply: str) -> Verdict:
    """Grade one reply.

    Raises:
        UserError: the spec is not valid.
        SandboxError: the sandbox could not run anything (python graders only).
    """
    problem = validate_grader(spec)
    if problem:
        raise UserError(f"grader: {problem}")
    return KINDS[spec["kind"]].grade(spec, reply)


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else "expected text"


def _label(value: Any) -> str | None:
    return _text(value) or (None if plain_label(value) else "expected more than quotes and punctuation")


def _phrases(value: Any) -> str | None:
    good = isinstance(value, list) and all(_text(phrase) is None for phrase in value)
    return None if good else "expected a list of words or phrases"


def _number(value: Any) -> str | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return None if good else "expected a number"


def _tolerance(value: Any) -> str | None:
    return _number(value) or (None if value >= 0 else "expected zero or more")


def _pattern(value: Any) -> str | None:
    if _text(value):
        return "expected a regular expression"
    try:
        compiled(value)
    except (regex.error, OverflowError, RecursionError) as error:
        return f"not a regular expression ({error})"
    return None


def _fields(value: Any) -> str | None:
    return None if isinstance(value, dict) and value else "expected an object with one field or more"


def _tests(value: Any) -> str | None:
    if _text(value):
        return "expected Python code with asserts"
    try:
        ast.parse(value)
    except (SyntaxError, ValueError) as error:
        return f"not Python ({error})"
    return None


KINDS = {
    "label": Kind(grade_label, {"answer": _label}, {}),
    "exact": Kind(grade_exact, {"answer": _text}, {}),
    "keywords": Kind(grade_keywords, {}, {"all": _phrases, "any": _phrases}),
    "number": Kind(grade_number, {"value": _number}, {"tolerance": _tolerance}),
    "regex": Kind(grade_regex, {"pattern": _pattern}, {}),
    "json": Kind(grade_json, {"fields": _fields}, {}),
    "python": Kind(grade_python, {"tests": _tests}, {}),
}
