import json
import os
from pathlib import Path

import pytest

from genesis.__main__ import main
from genesis.common.errors import UserError
from genesis.evals.humaneval import estimate_pass_at_k, evaluate_humaneval, pass_at, program, read_humaneval
from genesis.graders.answers.sandbox import Limits, SandboxError
from genesis.sampling import Completion

SHARED = Path(os.environ.get("GENESIS_SHARED_DATA", Path(__file__).parents[2] / "../shared/data")) / "reasoning"
ROW = {
    "task_id": "Test/0",
    "prompt": "import math\n\ndef helper(x):\n    return x + 1\n\n"
    "def area(r: float) -> float:\n    '''Area plus one.'''\n",
    "entry_point": "area",
    "canonical_solution": "    inner = math.pi * r * r\n    return helper(inner)\n",
    "test": "def check(candidate):\n    assert abs(candidate(1) - 4.14159) < 1e-4\n    assert candidate(0) == 1\n",
}
FORMS = {
    "body": lambda row: row["canonical_solution"],
    "stripped body": lambda row: row["canonical_solution"].strip(),
    "function": lambda row: row["prompt"] + row["canonical_solution"],
    "fence": lambda row: f"Here:\n```python\n{row['prompt']}{row['canonical_solution']}```\nDone.",
    "body in a fence": lambda row: f"```\n{row['canonical_solution']}```",
    "function alone": lambda row: row["prompt"][row["prompt"].rindex("def ") :] + row["canonical_solution"],
    "rambling": lambda row: row["canonical_solution"] + "\n\ndef more(:\n    it goes on",
}


class Scripted:
    """Answers each task by a function of its row and the seed."""

    def __init__(self, rows, answer):
        self.rows, self.answer, self.temperatures = rows, answer, []

    def sample(self, conversations, *, max_tokens, temperature=0.0, seed=0):
        self.temperatures.append(temperature)
        self.asked = conversations
        return [Completion(self.answer(row, seed), 5, True, 0.1) for row in self.rows]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_right_answer_passes(form):
    records, summary = evaluate_humaneval(Scripted([ROW], lambda row, _: FORMS[form](row)), [ROW])
    assert records[0].verdict is True, records[0].meta
    assert summary["pass_at"]["1"]["value"] == summary["accuracy"] == 1.0


def test_a_body_written_from_the_margin_and_a_future_import():
    reply = "from __future__ import annotations\n\ndef area(r: Unknown):\n    return helper(math.pi * r * r)"
    assert program(ROW["prompt"], "area", reply).startswith("from __future__ import annotations\nimport math")
    for answer in (reply, "if r:\n    return helper(math.pi * r * r)\nreturn helper(0)"):
        assert evaluate_humaneval(Scripted([ROW], lambda *_, answer=answer: answer), [ROW])[1]["n_right"] == 1


@pytest.mark.parametrize(
    ("reply", "verdict"), [("    pass", False), ("while True: pass", False), ("Sorry, I can't.", None), ("", None)]
)
def test_wrong_and_unreadable_answers(reply, verdict):
    records, summary = evaluate_humaneval(
        Scripted([ROW], lambda *_: reply), [ROW], limits=Limits(wall_s=5, cpu_s=1), contaminated=lambda text: True
    )
    assert records[0].verdict is verdict
    assert summary["accuracy"] == 0.0
    assert (summary["n_contaminated"], summary["clean_accuracy"]) == (1, None)


def test_the_chat_asks_and_plain_continues():
    sampler = Scripted([ROW], lambda *_: "")
    evaluate_humaneval(sampler, [ROW], plain=True)
    assert sampler.asked == [[{"role": "user", "content": ROW["prompt"]}]]
    evaluate_humaneval(sampler, [ROW])
    assert "```python\nimport math" in sampler.asked[0][0]["content"]
    assert sampler.temperatures == [0.0, 0.0]


def test_pass_at_k_counts_draws_without_replacement():
    assert estimate_pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert estimate_pass_at_k(5, 2, 3) == pytest.approx(1 - 1 / 10)  # of 10 triples one has only wrong answers
    assert estimate_pass_at_k(5, 0, 5) == 0.0
    assert estimate_pass_at_k(5, 3, 3) == 1.0
    rows = [ROW, {**ROW, "task_id": "Test/1"}]
    right = FORMS["body"](ROW)
    sampler = Scripted(rows, lambda row, seed: right if row["task_id"] == "Test/0" and seed == 8 else "    pass")
    records, summary = evaluate_humaneval(sampler, rows, samples=4, ks=(1, 2, 4), seed=7)
    assert sampler.temperatures == [0.8] * 4
    assert len({record.id for record in records}) == summary["n"] == 8
    assert [summary["pass_at"][k]["value"] for k in ("1", "2", "4")] == [0.125, 0.25, 0.5]
    assert summary["accuracy"] == 0.125
    assert pass_at(records, 5) == {"value": None, "interval": None}
    with pytest.raises(UserError, match="samples"):
        evaluate_humaneval(sampler, rows, samples=2, ks=(3,))


def test_a_sandbox_that_does_not_run_is_a_failed_example(monkeypatch):
    def broken(*_):
        raise SandboxError("no room")

    monkeypatch.setattr("genesis.evals.humaneval.run_tests", broken)
    records, summary = evaluate_humaneval(Scripted([ROW], lambda *_: "    pass"), [ROW])
    assert records[0].failed == "no room"
    assert (summary["n_failed"], summary["accuracy"]) == (1, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "task_id': Test/0 stands twice"),
        ({"task_id": "b", "test": 3}, "field 'test': expected text"),
        ({"task_id": "b", "test": "assert 1"}, "field 'test': expected a function check"),
        ({"task_id": "b", "entry_point": "volume"}, "field 'entry_point'"),
    ],
)
def test_bad_rows_are_named(tmp_path, change, said):
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, **change}) + "\n")
    with pytest.raises(UserError) as error:
        read_humaneval(path)
    assert said in str(error.value) and "f.jsonl:2" in str(error.value)


def test_the_command_writes_every_record(tmp_path, monkeypatch, capsys):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.json"
    rows.write_text(json.dumps(ROW) + "\n")
    sampler = Scripted([ROW], lambda *_: FORMS["fence"](ROW))
    monkeypatch.setattr("genesis.evals.harness.load_sampler", lambda args, template: sampler)
    command = ["humaneval", "model", "--file", str(rows), "--out", str(out), "--samples", "2", "--k", "2,1"]
    assert main(command) == 0
    assert "humaneval: 100.0% right" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert list(report["summary"]["pass_at"]) == ["1", "2"]
    assert [record["id"] for record in report["records"]] == ["Test/0#0", "Test/0#1"]
    assert main([*command[:-1], "3"]) == 1


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no shared data at {SHARED}")
def test_canonical_solutions_pass_and_empty_bodies_do_not():
    rows = read_humaneval(SHARED / "humaneval.jsonl.gz")
    assert len(rows) == 164
    parts = {"body": rows, "function": rows[::3], "fence": rows[1::3], "body in a fence": rows[2::3]}
    for form, part in parts.items():
        records, summary = evaluate_humaneval(Scripted(part, lambda row, _, form=form: FORMS[form](row)), part)
        assert summary["accuracy"] == 1.0, [record for record in records if not record.verdict]
    assert evaluate_humaneval(Scripted(rows[::3], lambda *_: "    pass"), rows[::3])[1]["n_right"] == 0
