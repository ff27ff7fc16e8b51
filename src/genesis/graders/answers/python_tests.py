"""The grader that runs code: find the Python in a reply, run it against tests in the sandbox."""

import ast
import re
import textwrap
from typing import Any

from genesis.graders.answers.sandbox import run_tests
from genesis.graders.answers.verdict import Verdict

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_OPENING = re.compile(r"^(?:(?:async )?def |class |import |from \w|@\w)")
_PYTHON = ("", "py", "python", "python3")


def grade_python(spec: dict[str, Any], reply: str) -> Verdict:
    """The reply's Python code passes the tests.

    Raises:
        SandboxError: the sandbox could not run anything; says nothing about the reply.
    """
    code = python_code(reply)
    if code is None:
        return Verdict(None, "no Python code in the reply")
    outcome = run_tests(code, spec["tests"])
    return Verdict(outcome.status == "passed", f"{outcome.status}: {outcome.detail}".rstrip(": "))


def python_code(reply: str) -> str | None:
    """The Python code of a reply, out of its fenced blocks or, without any, out of the plain text; None without code.

    Several blocks are joined where they define something, so that helpers, and corrections in a later block, count.
    """
    blocks = fenced_blocks(reply)
    if blocks:
        parsed = [block for block in blocks if parses(block)]
        defining = [block for block in parsed if re.search(r"^(?:async )?def |^class ", block, re.MULTILINE)]
        return "\n\n".join(defining or parsed or blocks[:1])
    return None if re.search(_FENCE, reply) else _plain_code(reply)


def fenced_blocks(reply: str) -> list[str]:
    """The contents of the fenced blocks that are marked as Python, or of the unmarked ones where none is.

    A last block that is cut off counts.
    """
    found = [(match[2].lower(), textwrap.dedent(match[3])) for match in _FENCE.finditer(reply)]
    marked = [text for language, text in found if language in _PYTHON[1:]]
    return marked or [text for language, text in found if language in _PYTHON]


def parses(code: str) -> bool:
    """Whether the text is Python."""
    return _tree(code) is not None


def _tree(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _plain_code(reply: str) -> str | None:
    """The whole text where it is a program, else from the first line that opens a definition to the last that fits."""
    text = textwrap.dedent(reply)
    tree = _tree(text)
    if tree is not None:
        # A single word such as "Sorry" is Python too, but defines nothing.
        return text if any(not isinstance(node, ast.Expr) for node in tree.body) else None
    lines = text.split("\n")
    start = next((index for index, line in enumerate(lines) if _OPENING.match(line)), None)
    if start is None:
        return None
    for end in range(len(lines), start, -1):
        tree = _tree("\n".join(lines[start:end]))
        if tree is not None:
            return "\n".join(lines[start:end]) if tree.body else None
    # Prose may open like an import ("from here on …"); a definition that never parses is code with an error in it.
    is_code = any(re.match(r"(?:async )?def |class \w+[:(]|@\w", line) for line in lines[start:])
    return "\n".join(lines[start:]) if is_code else None
