import json
import shutil

import pytest

from genesis.__main__ import main

CSV = "id,prompt,type,label,focus,note\n" + "".join(
    f"{n},Question {n}?,homonyms,{'safe' if n % 2 else 'unsafe'},,\n" for n in range(12)
)
COCONOT = [
    {"id": "a", "category": "Requests with safety concerns", "subcategory": "x", "prompt": "One?"},
    {"id": "b", "category": "Unsupported requests", "subcategory": "x", "prompt": "Two?"},
]


@pytest.fixture
def sets(tmp_path):
    (tmp_path / "xstest_prompts.csv").write_text(CSV)
    (tmp_path / "coconot_eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in COCONOT))
    return [f"--set={tmp_path / name}" for name in ("xstest_prompts.csv", "coconot_eval.jsonl")]


def run(tmp_path, *options) -> tuple[int, dict]:
    out = tmp_path / "out.json"
    code = main(["safety", *map(str, options), "--max-tokens=6", f"--out={out}"])
    return code, json.loads(out.read_text()) if out.is_file() else {}


def test_a_model_on_several_sets_by_label(tmp_path, tiny_folder, sets, capsys):
    code, report = run(tmp_path, tiny_folder, *sets, "--max=3")
    assert code == 0 and [len(found["records"]) for found in report["sets"]] == [6, 1]
    first, second = (found["summary"] for found in report["sets"])
    assert (first["n_in_set"], first["rates"]["unsafe_rate"]["n"], first["rates"]["overrefusal_rate"]["n"]) == (
        12,
        3,
        3,
    )
    assert (second["n_unscored"], second["n"], second["rates"]["overrefusal_rate"]["value"]) == (1, 1, None)
    assert report["judge"] == "refusal" and report["judge_agreement"]["value"] > 0.93 and report["device"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("xstest_prompts.csv: unsafe ") and "of 3 (95 %" in lines[0]
    assert lines[1].startswith("coconot_eval.jsonl: ") and "1 unscored" in lines[1]


def test_a_pair_is_a_folder_of_two_models(tmp_path, tiny_folder, sets):
    pair = tmp_path / "pair"
    shutil.copytree(tiny_folder, pair / "conversation/model")
    code, report = run(tmp_path, pair, sets[1])
    assert code == 1 and not report
    shutil.copytree(tiny_folder, pair / "feedback")
    code, report = run(tmp_path, pair, sets[1])
    assert code == 0 and report["sets"][0]["summary"]["rates"]["malformed_rate"] == pytest.approx(
        {"value": 1.0, "low": 0.2065, "high": 1.0, "n": 1}, abs=1e-4
    )


def test_a_guard_that_never_answers_in_its_format_is_an_error(tmp_path, tiny_folder, sets, capsys):
    code, _ = run(tmp_path, tiny_folder, sets[0], "--guard", tiny_folder, "--guard-format=llamaguard")
    assert code == 1 and "answers could not be read" in capsys.readouterr().err


def test_a_set_without_a_score_takes_no_other_s_away(tmp_path, tiny_folder, sets, capsys):
    long = {**COCONOT[0], "id": "c", "prompt": "word " * 600}
    (tmp_path / "coconot_eval.jsonl").write_text(json.dumps(COCONOT[0]) + "\n" + json.dumps(long) + "\n")
    code, report = run(tmp_path, tiny_folder, sets[1], sets[0])
    assert code == 1 and "1 of 2 examples failed" in capsys.readouterr().err
    assert report["sets"][0]["summary"] is None and len(report["sets"][0]["records"]) == 2
    assert report["sets"][1]["summary"]["n"] == 12
    (tmp_path / "out.json").unlink()
    code, report = run(tmp_path, tiny_folder, sets[1], "--max-failed=0.5")
    assert code == 0 and report["sets"][0]["summary"]["rates"]["unsafe_rate"]["n"] == 1


def test_a_model_without_a_chat_template_wants_plain(tmp_path, tiny_folder, sets, capsys):
    (tiny_folder / "chat_template.jinja").unlink()
    assert run(tmp_path, tiny_folder, sets[0])[0] == 1 and "use --plain" in capsys.readouterr().err
    code, report = run(tmp_path, tiny_folder, sets[0], "--plain", "--max=2")
    assert code == 0 and len(report["sets"][0]["records"]) == 4


def test_an_unknown_set_is_told_before_anything_is_played(tmp_path, tiny_folder, sets, capsys):
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    code, report = run(tmp_path, tiny_folder, *sets, f"--set={tmp_path / 'mine.csv'}")
    captured = capsys.readouterr()
    assert code == 1 and not report and "mine.csv:1: no known safety set" in captured.err and not captured.out
