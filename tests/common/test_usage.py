import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genesis.common import usage as module
from genesis.common.errors import BudgetError, UserError
from genesis.common.usage import Attempt, append_ledger, measured, work_hash

WORK = """
import sys, time
from pathlib import Path
from genesis.common.usage import measured
with measured("train", "a", Path("out"), {"steps": 3}) as usage:
    usage.add(tokens=10, flops=2.0)
    usage.resume.mkdir(exist_ok=True)
    (usage.resume / "state").touch()
    Path("out/part").touch()
    while "--hang" in sys.argv:
        time.sleep(0.05)
"""


@pytest.fixture(autouse=True)
def folder(folder):
    (folder / "work.py").write_text(WORK)
    return folder


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "work.py", *arguments], stderr=subprocess.PIPE, text=True)


def hanging(seconds: float = 0.0) -> subprocess.Popen:
    """A process at work that has written a part of its out and a heartbeat (of so many seconds)."""
    process = start("--hang")
    while not Path("out/part").exists() or not any(
        json.loads(p.read_text())["active_s"] >= seconds for p in Path(".cache").glob("train/a/*/attempt-*.json")
    ):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    return process


def ledger() -> list[dict]:
    return [json.loads(line) for line in Path(".cache/ledger.jsonl").read_text().splitlines()]


def read_usage() -> dict:
    return json.loads(Path("out/usage.json").read_text())


def stop(stage: str, error: BaseException, **arguments) -> int:
    """Run a stage that ends in `error`; its exit code."""
    with pytest.raises(SystemExit) as caught, measured(stage, None, Path("out"), **arguments) as usage:
        usage.add(tokens=5)
        raise error
    return caught.value.code


def test_a_killed_attempt_is_counted_by_the_next_run_even_while_it_is_a_zombie():
    process = hanging(seconds=0.5)
    os.kill(process.pid, signal.SIGKILL)  # not waited for: its process id stays taken
    again = start()
    assert (again.wait(), again.stderr.read()) == (0, "")
    process.wait()
    usage = read_usage()
    assert [attempt["outcome"] for attempt in usage["attempts"]] == ["interrupted", "finished"]
    assert [row["outcome"] for row in ledger()] == ["interrupted", "finished"]
    assert usage["tokens"] == 20 and usage["flops"] == 4.0
    assert usage["active_s"] == pytest.approx(sum(a["active_s"] for a in usage["attempts"])) and usage["active_s"] > 0.5
    assert usage["started_at"] == usage["attempts"][0]["started_at"]
    assert not list(Path(".cache/train/a").iterdir())


def test_a_terminated_attempt_is_counted_at_once():
    process = hanging()
    process.terminate()
    assert process.wait() == 143
    assert [row["outcome"] for row in ledger()] == ["interrupted"]


def test_a_second_process_on_the_same_work_refuses_and_harms_nothing():
    process = hanging()
    second = start()
    assert second.wait() == 1
    assert "error: train@a: another process is at work on .cache/train/a/" in second.stderr.read()
    assert Path("out/part").exists()
    process.kill()
    process.wait()


def test_work_with_other_params_or_inputs_does_not_resume():
    (Path("data")).mkdir()
    Path("data/rows").write_text("one")
    with pytest.raises(ZeroDivisionError), measured("train", None, Path("out"), {"lr": 1}, [Path("data")]) as usage:
        usage.resume.mkdir()
        raise ZeroDivisionError
    Path("data/rows").write_text("two")
    for params in ({"lr": 1}, {"lr": 2}):
        with measured("train", None, Path("out"), params, [Path("data")]) as usage:
            assert not usage.resume.exists() and not usage.earlier
    Path("data/rows").write_text("one")
    with measured("train", None, Path("out"), {"lr": 1}, [Path("data")]) as usage:
        assert usage.resume.is_dir()
    assert [attempt["outcome"] for attempt in read_usage()["attempts"]] == ["failed", "finished"]


def test_a_part_of_a_stage_counts_in_the_same_attempt_and_has_the_stages_name():
    with measured("train", "a", Path("out")) as usage:
        part = usage.part("second")
        part.add(tokens=3)
        assert (part.name, part.resume.parent.name) == ("train@a", "second")
    assert read_usage()["tokens"] == 3


def test_the_work_hash_sees_contents_names_and_params(folder):
    (folder / "d").mkdir()
    (folder / "d/a").write_text("x")
    hashes = {work_hash({"a": 1}, [Path("d")]), work_hash({"a": 2}, [Path("d")]), work_hash({"a": 1}, [])}
    (folder / "d/a").rename(folder / "d/b")
    hashes.add(work_hash({"a": 1}, [Path("d")]))
    (folder / "d/b").write_text("y")
    hashes.add(work_hash({"a": 1}, [Path("d")]))
    assert len(hashes) == 5
    assert work_hash({"a": 1, "b": 2}, [Path("d")]) == work_hash({"b": 2, "a": 1}, [Path("d")])


def test_bad_input_ends_with_one_line_keeps_the_attempt_and_the_earlier_result(capsys):
    with measured("prepare", None, Path("out")):
        Path("out/rows").write_text("finished")
    assert stop("prepare", UserError("rows.jsonl:3: not JSON")) == 1
    assert capsys.readouterr().err == "error: prepare: rows.jsonl:3: not JSON\n"
    assert Path("out/rows").read_text() == "finished"
    assert read_usage()["tokens"] == 0
    with measured("prepare", None, Path("out")):
        assert not list(Path("out").iterdir())
    assert [(a["outcome"], a["tokens"]) for a in read_usage()["attempts"]] == [("failed", 5), ("finished", 0)]
    assert [path.name for path in Path(".").iterdir() if "before" in path.name] == []


def test_a_finished_result_survives_a_kill_and_a_failure_after_it():
    with measured("train", "a", Path("out"), {"steps": 3}):
        Path("out/model").write_text("finished")
    process = hanging()
    process.kill()
    process.wait()
    assert Path("out/part").exists() and not Path("out/model").exists()
    with pytest.raises(SystemExit), measured("train", "a", Path("out"), {"steps": 3}):
        raise UserError("bad")
    assert Path("out/model").read_text() == "finished" and not Path("out/part").exists()


def test_a_budget_cap_ends_with_code_3(capsys):
    assert stop("train", BudgetError("cap of $24 reached")) == 3
    assert capsys.readouterr().err == "error: train: cap of $24 reached\n"
    assert [row["outcome"] for row in ledger()] == ["interrupted"]


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), measured("train", None, Path("out")):
        raise ZeroDivisionError
    assert [row["outcome"] for row in ledger()] == ["failed"]


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device", "x")


def chained() -> RuntimeError:
    """What torch.save raises to a Python file on a full disk."""
    try:
        try:
            full_disk()
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")
    except RuntimeError as error:
        return error


class SafetensorError(Exception):
    pass


SAFETENSORS = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), chained(), SAFETENSORS])
def test_a_full_disk_is_one_line_and_the_attempt_can_resume(error, capsys):
    assert stop("train", error) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("error: disk full while train was at work (")
    assert said.endswith("); free space and run again: the stage resumes\n")
    with measured("train", None, Path("out")) as usage:
        assert [attempt.outcome for attempt in usage.earlier] == ["failed"]


def test_libraries_that_hide_a_full_disk_are_found_out_by_the_space_left(monkeypatch, capsys):
    error = OSError("400000 requested and 38384 written")  # what numpy.save raises
    with pytest.raises(OSError, match="requested"), measured("train", None, Path("out")):
        raise error
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 4096}))
    assert stop("train", error) == 1
    assert "disk full while train was at work" in capsys.readouterr().err


@pytest.mark.parametrize("fails", ["usage.json", "attempt"])
def test_a_disk_too_full_for_the_last_lines_is_told_too(monkeypatch, capsys, fails):
    real = module.write_json
    monkeypatch.setattr(
        module, "write_json", lambda path, value: (full_disk if fails in str(path) else real)(path, value)
    )
    with pytest.raises(SystemExit) as caught, measured("train", None, Path("out")):
        Path("out/model").touch()
    assert caught.value.code == 1
    assert "disk full while train was at work" in capsys.readouterr().err
    assert not Path("out/usage.json").exists()


def test_an_attempt_cut_off_by_a_power_failure_does_not_block_the_work():
    with pytest.raises(ZeroDivisionError), measured("train", None, Path("out")) as usage:
        raise ZeroDivisionError
    (usage.folder / "attempt-0.json").write_text("")
    with measured("train", None, Path("out")) as usage:
        assert len(usage.earlier) == 1


def test_only_the_first_of_several_processes_of_a_launch_writes(monkeypatch):
    with measured("train", None, Path("out"), {"lr": 1}) as first:
        Path("out/model").touch()
        monkeypatch.setenv("RANK", "1")
        with measured("train", None, Path("out"), {"lr": 1}) as second:
            assert second.resume == first.resume
            second.add(tokens=99)
        assert Path("out/model").exists() and not Path("out/usage.json").exists()
    assert len(read_usage()["attempts"]) == 1 and len(ledger()) == 1


def append_many(number: int) -> None:
    for _ in range(50):
        append_ledger("train", str(number), "key", Attempt("2026-01-01T00:00:00+00:00", tokens=number))


def test_lines_of_eight_processes_are_all_whole():
    with multiprocessing.get_context("fork").Pool(8) as pool:
        pool.map(append_many, range(8))
    rows = ledger()
    assert len(rows) == 400
    assert all(row["item"] == str(row["tokens"]) for row in rows)


def test_a_user_error_before_the_measured_part_is_one_line_too(folder):
    (folder / "early.py").write_text(
        "import genesis.common.usage\nraise genesis.common.usage.UserError('params.yaml: no such file')"
    )
    done = subprocess.run([sys.executable, "early.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: params.yaml: no such file\n")
