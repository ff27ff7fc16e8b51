import pytest

from genesis.graders.answers.grade import grade
from genesis.graders.answers.python_tests import python_code

SPEC = {"kind": "python", "tests": "assert double(2) == 4\nassert double(0) == 0"}
RIGHT = "def double(x):\n    return 2 * x\n"


@pytest.mark.parametrize(
    "reply",
    [
        RIGHT,
        f"```python\n{RIGHT}```",
        f"Here:\n```\n{RIGHT}```\nIt doubles.",
        f"1. Here:\n   ```py\n{''.join('   ' + line for line in RIGHT.splitlines(True))}   ```",
        f"~~~python\n{RIGHT}",  # cut off
        f"From this follows the answer:\n\n{RIGHT}\nIt's short and sweet.",
        f"```bash\npip install nothing\n```\n```python\n{RIGHT}```\n```python\n>>> double(2)\n4\n```",
        f"```python\ndef half(x):\n    return x / 2\n```\nthen\n```python\n{RIGHT.replace('2 * x', 'half(4 * x)')}```",
        "double = lambda x: 2 * x",
    ],
)
def test_code_is_found_in_fences_and_prose(reply):
    assert grade(SPEC, reply).correct is True


def test_wrong_and_broken_code_is_wrong():
    verdict = grade(SPEC, "def double(x):\n    return x")
    assert verdict.correct is False
    assert "assert double(2) == 4" in verdict.detail
    assert grade(SPEC, "```python\ndef double(x)\n    return 2 * x\n```").correct is False
    assert grade(SPEC, "def double(x)\n    return 2 * x").correct is False


@pytest.mark.parametrize("reply", ["", "Sorry", "I cannot write code.", "```json\n{}\n```", "from here on, nothing"])
def test_a_reply_without_code_cannot_be_read(reply):
    assert python_code(reply) is None
    assert grade(SPEC, reply).correct is None
