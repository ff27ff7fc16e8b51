from decimal import Decimal

import pytest

from genesis.graders.answers.grade import grade
from genesis.graders.answers.numeric import final_answer, grade_final_answer, last_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It costs $1,234.50.", "1234.5"),
        ("-$5", "-5"),
        ("a loss of $-5", "-5"),
        ("\u22127 degrees", "-7"),
        ("10-5", "5"),
        ("on 2024-10-07", "7"),
        ("x=-3", "-3"),
        ("about 40 %", "40"),
        ("1.5e3", "1500"),
        ("-1.5E-3", "-0.0015"),
        ("1.5 \u00d7 10^3", "1500"),
        ("3/4", "0.75"),
        ("1 1/2 cups", "1.5"),
        ("-3/4", "-0.75"),
        ("3/4/2024", "2024"),
        ("3/0", "0"),
        (".5", "0.5"),
        ("20 m2", "20"),
        ("1\u202f000\u202f000", "1000000"),
        ("Rs.500", "500"),
        ("1, 2, 3.", "3"),
        ("**42**", "42"),
    ],
)
def test_last_number_reads_the_forms_people_write(text, number):
    assert last_number(f"First 99. {text}") == Decimal(number)


@pytest.mark.parametrize("text", ["", "none at all", "v1.2.3", "$", "H2O"])
def test_a_text_without_a_number_has_none(text):
    assert last_number(text) is None


def test_numbers_out_of_range_and_long_runs_equal_nothing_and_end_soon():
    for text in ("1e" + "9" * 30, "9" * 20_000, "1/" * 20_000, "1," * 20_000, "1 1/" * 20_000, "-" * 20_000):
        assert grade({"kind": "number", "value": 7, "tolerance": 0.5}, text).correct in (False, None)


def test_tolerance_is_exact_at_its_edge():
    spec = {"kind": "number", "value": 22.0, "tolerance": 0.01}
    assert grade(spec, "22.01").correct is True
    assert grade(spec, "22.011").correct is False
    assert grade(spec, "twenty-two").correct is None
    assert grade({"kind": "number", "value": 0.1}, "0.10").correct is True


def test_the_final_answer_stands_after_the_mark():
    assert final_answer("5 + 2 = 7\n#### 7 apples") == 7
    assert final_answer("#### 3\nno, wait\n#### 1,000") == 1000
    assert final_answer("It is 5.\n#### Done") == 5
    assert final_answer("It is 5 of 6") == 6
    assert grade_final_answer(Decimal(42), "so $42.00").correct is True
    assert grade_final_answer(Decimal(42), "no idea").correct is None
