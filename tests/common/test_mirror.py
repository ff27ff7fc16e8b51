"""The checkpoint mirror: a lost machine loses one interval, a bad mirror never costs a training."""

import json
import shutil
from pathlib import Path

import fsspec
import pytest

import s3
from budgets import configure, ledger
from genesis.common.errors import UserError
from genesis.common.mirror import Mirror, mirrored
from genesis.common.usage import measured


@pytest.fixture(params=["folder", "memory://"])
def url(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "mirror")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    return "memory://bucket"


@pytest.fixture
def machine(tmp_path, monkeypatch, url):
    """A folder with params.yaml that names the mirror."""
    folder = tmp_path / "machine"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("DVC_ROOT", "RANK"):
        monkeypatch.delenv(name, raising=False)
    configure(folder, mirror=url)
    return folder


def train(steps: int, stop_at: int | None = None) -> int:
    """Count to `steps` with a checkpoint at each; the step that it started after."""
    with measured("train", "qa", Path("models/out"), {"steps": steps}) as usage:
        state = usage.resume / "checkpoint/step"
        start = int(state.read_text()) if state.is_file() else 0
        for step in range(start + 1, steps + 1):
            usage.add(tokens=1)
            state.parent.mkdir(parents=True, exist_ok=True)
            state.unlink(missing_ok=True)
            state.write_text(str(step))
            usage.saved()
            if step == stop_at:
                raise ZeroDivisionError
        Path("models/out/model").write_text("whole")
    return start


def test_an_empty_machine_goes_on_from_the_mirror_and_a_finished_work_leaves_nothing_there(machine, url):
    with pytest.raises(ZeroDivisionError):
        train(6, stop_at=4)
    for path in (".cache", "models"):
        shutil.rmtree(machine / path)
    assert train(6) == 4
    usage = json.loads(Path("models/out/usage.json").read_text())
    assert [attempt["outcome"] for attempt in usage["attempts"]] == ["interrupted", "finished"]
    assert usage["tokens"] == 6
    assert [row["outcome"] for row in ledger(machine)] == ["interrupted", "finished"]
    files, base = fsspec.core.url_to_fs(url)
    assert not files.find(base)
    assert not list((machine / ".cache/train").rglob("*.json"))


def test_a_copy_that_is_not_whole_is_not_taken(tmp_path, url):
    work = tmp_path / "work"
    (work / "resume").mkdir(parents=True)
    (work / "resume/state").write_text("12345")
    with pytest.raises(ZeroDivisionError), mirrored(url, "train/qa/key", work) as mirror:
        mirror.push()
        raise ZeroDivisionError
    files, base = fsspec.core.url_to_fs(f"{url}/train/qa/key")
    files.makedirs(f"{base}/9999999999999999999/resume")
    files.pipe_file(f"{base}/9999999999999999999/resume/state", b"half")  # its list was never written
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert Mirror(url, "train/qa/key", fresh).restore()
    assert (fresh / "resume/state").read_text() == "12345"
    listed = next(path for path in files.find(base) if path.endswith(".json"))
    files.pipe_file(listed, json.dumps({"resume/state": 99}).encode())
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(
        UserError, match=r"cannot be read \(\d+/resume/state has 5 of 99 bytes\); mend it, or set it to null"
    ):
        Mirror(url, "train/qa/key", empty).restore()
    assert not (empty / "resume").exists()


def test_a_mirror_that_fails_later_is_told_once_counted_and_never_ends_the_work(machine, monkeypatch, capsys):
    def refuse(self, snapshot):
        raise OSError("connection reset\nby peer")

    monkeypatch.setattr(Mirror, "_copy", refuse)
    assert train(5) == 0
    said = capsys.readouterr().err.splitlines()
    assert sum("connection reset; training goes on" in line for line in said) == 1
    assert said[-1].startswith("checkpoint mirror: ") and said[-1].endswith("copies failed")
    assert Path("models/out/model").exists()


def test_a_mirror_that_cannot_be_used_is_named_before_the_work(machine, capsys):
    configure(machine, mirror="s4://bucket")
    with pytest.raises(SystemExit) as caught:
        train(1)
    assert caught.value.code == 1
    assert "train@qa: training.checkpoint_mirror: s4://bucket: Protocol not known: s4" in capsys.readouterr().err


def test_it_works_on_s3(tmp_path, monkeypatch):
    with s3.serve() as store:
        store.client().create_bucket(Bucket="bucket")
        for name, value in store.environment(tmp_path, AWS_ENDPOINT_URL=store.endpoint).items():
            monkeypatch.setenv(name, value)
        fsspec.filesystem("s3").clear_instance_cache()
        lost, fresh = tmp_path / "lost", tmp_path / "fresh"
        (lost / "resume").mkdir(parents=True)
        (lost / "resume/state").write_text("12345")
        with pytest.raises(ZeroDivisionError), mirrored("s3://bucket/team", "train/qa/key", lost) as mirror:
            mirror.push()
            raise ZeroDivisionError
        assert (mirror.copies, mirror.failed) == (1, 0)
        fresh.mkdir()
        with mirrored("s3://bucket/team", "train/qa/key", fresh):
            assert (fresh / "resume/state").read_text() == "12345"
        assert "Contents" not in store.client().list_objects_v2(Bucket="bucket")
