"""Sharing results through S3: a store on loopback, clones that use it, and everything that can go wrong between."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import s3
from imports import ROOT

pytestmark = pytest.mark.slow
TINY = [
    "profile=smoke", "agents=[support]", "tokenizer.vocab_size=300", "pretrain.steps=4", "pretrain.eval_every=4",
    "pretrain.batch_tokens=1024", "pretrain.rows=8",
]  # fmt: skip
STAGES = ("corpus", "tokenizer", "pretrain", "collect")


@pytest.fixture(scope="module")
def store():
    with s3.serve() as store:
        store.client().create_bucket(Bucket="genesis-store")
        yield store


@pytest.fixture
def run(store, tmp_path):
    """Run a command in a clone and expect an exit code (None: any but 0); gives all that it said."""

    def run(folder: Path, *command: str, code: int | None = 0, **variables: str) -> str:
        python = {"dvc": [sys.executable, "-m", "dvc"], "genesis": [sys.executable, "-m", "genesis"]}
        whole = [*python.get(command[0], [command[0]]), *command[1:]]
        environment = store.environment(tmp_path, PYTHONPATH=str(folder / "src"), **variables)
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        if not (folder / "src").is_dir():
            environment["PYTHONPATH"] = str(ROOT / "src")
        done = subprocess.run(whole, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        right = done.returncode != 0 if code is None else done.returncode == code
        assert right, f"{' '.join(command)}: exit code {done.returncode}\n{said}"
        return said

    return run


def commit(run, folder: Path, message: str) -> None:
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-qm", message)


def pipeline(run, folder: Path) -> None:
    """A repository with the real first stages and collect, at a size that trains in seconds; committed, not yet run."""
    wanted = [
        "src",
        "stages",
        "conf",
        "data/seed/corpus",
        "data/seed/chat",
        "data/seed/prices.csv",
        "data/raw",
        ".dvc",
        ".dvcignore",
        ".gitignore",
    ]
    listed = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", *wanted]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    kept = {name: stages[name] for name in STAGES}
    made = {out for stage in kept.values() for out in stage["outs"] if isinstance(out, str)}
    there = [dep for dep in kept["collect"]["deps"] if (folder / dep).exists() or dep.startswith(tuple(made))]
    kept["collect"]["deps"] = there
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": kept}, sort_keys=False), encoding="utf-8")
    run(folder, "git", "init", "-q")
    run(folder, "genesis", "params", *TINY)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_clone_restores_everything_and_trains_nothing(run, store, tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    pipeline(run, first)
    run(first, "genesis", "remote", "s3://genesis-store/team", "--endpoint", store.endpoint, "--region", s3.REGION)
    commit(run, first, "pipeline")
    assert run(first, "dvc", "repro").count("Running stage") == len(STAGES)
    run(first, "dvc", "push", "--run-cache")
    assert "all whole" in run(first, "genesis", "remote", "--hash")
    commit(run, first, "results")

    run(tmp_path, "git", "clone", "-q", str(first), str(second))
    assert "Running stage" not in run(second, "dvc", "repro", "--pull")

    run(tmp_path, "git", "clone", "-q", str(first), str(third))
    run(third, "git", "reset", "-q", "--hard", "HEAD~1")  # neither lock nor metrics: the run cache alone must do
    assert not (third / "metrics").exists()
    said = run(third, "dvc", "repro", "--pull")
    assert [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")] == ["collect"]
    assert not (third / ".cache/ledger.jsonl").exists()  # no stage that measures itself has begun
    collected = contents(first / "metrics")
    assert "usage.json" in collected
    for clone in (second, third):
        assert contents(clone / "metrics") == collected
        assert (clone / "dvc.lock").read_bytes() == (first / "dvc.lock").read_bytes()


@pytest.fixture
def shared(run, store, tmp_path):
    """A repository with 24 files of 100 kB, and the name of the prefix that it shares them at."""
    folder = tmp_path / "shared"
    (folder / "data").mkdir(parents=True)
    for number in range(24):
        (folder / f"data/{number:02}.bin").write_bytes(hashlib.shake_128(bytes([number])).digest(100_000))
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "init", "-q")
    run(folder, "dvc", "add", "-q", "data")
    run(folder, "genesis", "remote", f"s3://genesis-store/{tmp_path.name}", "--endpoint", store.endpoint)
    commit(run, folder, "data")
    return folder


def clone(run, folder: Path, name: str = "clone") -> Path:
    run(folder.parent, "git", "clone", "-q", str(folder), name)
    return folder.parent / name


def pointed(run, folder: Path, **options: str) -> None:
    for name, value in options.items():
        run(folder, "dvc", "remote", "modify", "--local", "storage", name, value)


def whole(folder: Path) -> bool:
    return all(
        path.read_bytes() == hashlib.shake_128(bytes([int(path.stem)])).digest(100_000)
        for path in (folder / "data").glob("*.bin")
    )


def test_credentials_that_the_store_refuses(run, shared):
    wrong = {"AWS_SECRET_ACCESS_KEY": "wrong"}
    assert "Forbidden" in run(shared, "dvc", "push", code=255, **wrong)
    said = run(shared, "genesis", "remote", "--check", code=1, **wrong)
    assert "signature" in said and "check the credentials" in said
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    assert "Unable to locate credentials" in run(shared, "dvc", "push", code=255, **nobody)
    assert "check the credentials" in run(shared, "genesis", "remote", "--check", code=1, **nobody)


def test_a_bucket_and_an_endpoint_that_are_not_there(run, shared):
    pointed(run, shared, url="s3://no-such-bucket/here")
    assert "bucket does not exist" in run(shared, "dvc", "push", code=255)
    assert "create the bucket, or mend the URL" in run(shared, "genesis", "remote", "--check", code=1)
    pointed(run, shared, url="s3://genesis-store/here", endpointurl="http://127.0.0.1:9")
    said = run(shared, "genesis", "remote", "--check", code=1, AWS_MAX_ATTEMPTS="1")
    assert "127.0.0.1:9" in said and "check the network and the endpoint" in said


def test_a_connection_cut_in_the_middle_ends_with_an_error_and_goes_on_next_time(run, store, shared):
    def through(folder, limit, **cuts):
        proxy = s3.Proxy(store.endpoint, limit, **cuts)
        pointed(run, folder, endpointurl=proxy.endpoint)
        return proxy

    through(shared, 1_300_000)
    assert "Connection was closed" in run(shared, "dvc", "push", code=None, AWS_MAX_ATTEMPTS="1")
    pointed(run, shared, endpointurl=store.endpoint)
    assert 0 < int(run(shared, "dvc", "push").split(" files pushed")[0].split()[-1]) < 25
    second = clone(run, shared)
    through(second, 1_300_000)
    assert "failed to" in run(second, "dvc", "pull", code=None, AWS_MAX_ATTEMPTS="1")
    proxy = through(second, 200_000, cuts=1)
    run(second, "dvc", "pull")
    assert proxy.cut == 1 and len(list((second / "data").iterdir())) == 24 and whole(second)


def test_a_damaged_object_is_refused_named_and_replaced(run, store, shared):
    run(shared, "dvc", "push")
    good = (shared / "data/07.bin").read_bytes()
    name = hashlib.md5(good).hexdigest()
    place = {"Bucket": "genesis-store", "Key": f"{shared.parent.name}/files/md5/{name[:2]}/{name[2:]}"}
    store.client().put_object(**place, Body=good[:-1] + b"?")

    second = clone(run, shared)
    assert "Checkout failed for following targets:\ndata" in run(second, "dvc", "pull", code=1)
    said = run(shared, "genesis", "remote", "--hash", code=1)
    assert "1 file: data/07.bin (" in said and place["Key"] in said and "damaged" in said
    assert "up to date" in run(shared, "dvc", "push")  # an object that is there is not sent again
    assert "deleted there" in run(shared, "genesis", "remote", "--drop-damaged", code=1)
    assert "1 file: data (" in run(shared, "genesis", "remote", "--check", code=1)
    run(shared, "dvc", "push")
    run(second, "dvc", "pull")
    assert whole(second)

    store.client().put_object(**place, Body=good[:-1] + b"?")
    third = clone(run, shared, "third")
    pointed(run, third, verify="false")
    run(third, "dvc", "pull")
    assert not whole(third)  # without `verify` nobody notices: why the command sets it, and --check asks for it
    assert "would go unseen" in run(third, "genesis", "remote", "--check", code=1)


def test_without_a_store_the_command_says_how_to_name_one(run, tmp_path):
    (tmp_path / "empty").mkdir()
    run(tmp_path / "empty", "git", "init", "-q")
    run(tmp_path / "empty", "dvc", "init", "-q")
    assert "no remote" in run(tmp_path / "empty", "genesis", "remote", code=1)
