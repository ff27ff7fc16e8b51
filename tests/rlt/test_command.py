"""python -m genesis rlt-reward, end to end."""

import json

import pytest
from rlt_models import make_model
from rlt_reference import score

from genesis.__main__ import main
from genesis.models import load_model
from genesis.rlt.cases import Case
from genesis.rlt.prompts import STUDENT_SYSTEM, TEACHER_SYSTEM

GOOD = {"id": "a", "question": "Why?", "solution": "So.", "completion": "As.<|end_of_explanation|>"}
OWN = {
    "id": 7,
    "question": "Why?",
    "solution": ".",
    "completion": "no end",
    "teacher_system": "T",
    "student_system": "S",
}


@pytest.fixture
def ask(tmp_path, tokenizers):
    """The command on lines of cases; gives its exit code and the rows it wrote."""
    for kind, seed in (("own", 1), ("gpt4", 2)):
        make_model(tokenizers[kind], seed, context=2048).save_pretrained(tmp_path / kind)
        tokenizers[kind].save_pretrained(tmp_path / kind)

    def run(*lines, teacher="own", student="own"):
        cases, out = tmp_path / "cases.jsonl", tmp_path / "made/out.jsonl"
        cases.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        paths = {"teacher": tmp_path / teacher, "student": tmp_path / student, "cases": cases, "out": out}
        code = main(["rlt-reward", *(word for name, path in paths.items() for word in (f"--{name}", str(path)))])
        return code, [json.loads(line) for line in out.open()] if out.is_file() else []

    return run


def test_every_case_has_its_row_and_a_bad_one_says_why(ask, tmp_path, tokenizers, capsys):
    code, rows = ask(GOOD, GOOD | {"id": "bad", "solution": ""}, OWN)
    assert code == 0 and [row["id"] for row in rows] == ["a", "bad", 7]
    model, tokenizer = load_model(tmp_path / "own"), tokenizers["own"]
    for row, case in (
        (rows[0], GOOD | {"teacher_system": TEACHER_SYSTEM, "student_system": STUDENT_SYSTEM}),
        (rows[2], OWN),
    ):
        wanted = score(model, tokenizer, model, tokenizer, Case(**case))
        assert {name: row[name] for name in wanted} == pytest.approx(wanted, abs=1e-5)
        assert row["error"] is None
    assert rows[2]["format"] == -1.0 and rows[2]["malformed"]
    first, last = rows[2]["student_solution"]
    assert last - first == 1 and rows[2]["student_explanation"][1] < first
    assert rows[1]["reward"] is None and rows[1]["error"] == "the solution is empty"
    assert "2 of 3 cases have a reward, mean reward" in capsys.readouterr().out


def test_teacher_and_student_may_split_text_differently(ask):
    code, (row,) = ask(OWN | {"completion": "The explanation is long enough to be split apart."}, teacher="gpt4")
    assert code == 0 and row["by_token"] is False and row["reward"] is not None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [GOOD, {"id": "b", "question": "Why?", "solution": "So."}],
            "cases.jsonl:2: field 'completion': expected text",
        ),
        (
            [GOOD | {"question": 3}, {}],
            "cases.jsonl:1: field 'question': expected text; write it into the case (2 problems",
        ),
        ([{name: GOOD[name] for name in GOOD if name != "id"}], "cases.jsonl:1: field 'id'"),
        ([GOOD | {"student_system": ["x"]}], "cases.jsonl:1: field 'student_system'"),
        ([GOOD, "{"], "cases.jsonl:2: not JSON"),
    ],
)
def test_a_malformed_file_is_named_by_line_and_field(ask, capsys, lines, said):
    code, rows = ask(*lines)
    assert code == 1 and rows == [] and said in capsys.readouterr().err
