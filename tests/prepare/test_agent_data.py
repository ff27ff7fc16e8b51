"""An agent's pairs, most of it through the stage's real file in a small repository of its own."""

import csv
import json
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from genesis.chat import write_jsonl
from genesis.ngrams import NgramIndex

STAGE = Path(__file__).parents[2] / "stages/agent_data.py"


class Repository:
    """A folder with params.yaml, conf/agent/a.yaml and data/raw/rows.jsonl, in which the stage runs."""

    def __init__(self, text, monkeypatch, capsys):
        self.text, self.monkeypatch, self.capsys = text, monkeypatch, capsys
        self.params = {"min_pairs": 20, "language": "", "heldout_share": 0.25, "leakage": 0.8}
        self.agent = {"about": "Sorts.", "sources": [{"kind": "file", "path": "data/raw/rows.jsonl"}]}
        self.rows = [{"prompt": text(k, 20), "completion": f"answer {k % 5}"} for k in range(100)]

    def write(self):
        Path("params.yaml").write_text(yaml.safe_dump({"agents": ["a"], "agent_data": self.params}))
        Path("conf/agent").mkdir(parents=True, exist_ok=True)
        Path("conf/agent/a.yaml").write_text(yaml.safe_dump(self.agent))
        write_jsonl(Path("data/raw/rows.jsonl"), self.rows)

    def stage(self, name: str = "a") -> tuple[int, str]:
        """Run the stage as it stands; its exit code and what it wrote to stderr."""
        self.monkeypatch.setattr(sys, "argv", [str(STAGE), name])
        try:
            runpy.run_path(str(STAGE), run_name="__main__")
            code = 0
        except SystemExit as exit:
            code = exit.code
        return code, self.capsys.readouterr().err

    def run(self) -> dict[str, list[dict]]:
        """Write all, run the stage, which must succeed; the rows of each part."""
        self.write()
        code, said = self.stage()
        assert code == 0, said
        return self.read()

    def read(self) -> dict[str, list[dict]]:
        folder = Path("data/agents/a")
        parts = {part: (folder / f"{part}.jsonl").read_text().splitlines() for part in ("train", "val", "test")}
        return {part: [json.loads(line) for line in lines] for part, lines in parts.items()}

    def quality(self) -> dict:
        return json.loads(Path("data/agents/a/quality.json").read_text())

    def judge(self, verdicts: dict[str, str]):
        """Write verdicts (by prompt) into the review sheet."""
        sheet = Path("data/review/a.csv")
        rows = list(csv.DictReader(sheet.read_text().splitlines()))
        with sheet.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows([{**row, "verdict": verdicts.get(row["prompt"], row["verdict"])} for row in rows])


@pytest.fixture
def repository(tmp_path, monkeypatch, capsys, text):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return Repository(text, monkeypatch, capsys)


def prompts(rows: list[dict]) -> set[str]:
    return {row["prompt"] for row in rows}


def test_good_rows_become_three_parts_a_report_and_an_index(repository):
    parts = repository.run()
    assert sum(map(len, parts.values())) == 100 and all(parts.values())
    assert not prompts(parts["train"]) & prompts(parts["test"])
    assert set(parts["train"][0]) == {"id", "prompt", "completion", "meta"}
    assert parts["test"][0]["meta"] == {"part": "test", "source": "data/raw/rows.jsonl", "task": ""}
    quality = repository.quality()
    assert quality["rows_read"] == 100 and quality["rows"] == {part: len(rows) for part, rows in parts.items()}
    assert quality["answers"] == 5
    index = NgramIndex.load(Path("data/agents/a/ngrams.npy"))
    assert index.contains(parts["train"][0]["prompt"]) and not index.contains(parts["test"][0]["prompt"])


def test_a_new_row_moves_no_other_and_renames_none(repository):
    before = repository.run()
    repository.rows = [{"prompt": repository.text(999), "completion": "answer 0"}, *reversed(repository.rows)]
    after = repository.run()
    assert {row["id"]: row["prompt"] for row in before["test"]}.items() <= {
        row["id"]: row["prompt"] for row in after["test"]
    }.items()


def bad_line(line: bytes):
    def change(repository):
        path = Path("data/raw/rows.jsonl")
        path.write_bytes(b"\n".join([*path.read_bytes().splitlines()[:41], line, b""]))

    return change


def repeat(share: float):
    def change(repository):
        write_jsonl(
            Path("data/raw/rows.jsonl"), [*repository.rows, *repository.rows[:1] * round(100 * share / (1 - share))]
        )

    return change


def test_file(rows_of):
    def change(repository):
        write_jsonl(Path("data/raw/test.jsonl"), rows_of(repository))
        repository.agent["sources"][0]["test"] = "data/raw/test.jsonl"
        Path("conf/agent/a.yaml").write_text(yaml.safe_dump(repository.agent))

    return change


test_file.__test__ = False


def append(path: str, text: str):
    def change(repository):
        with Path(path).open("a") as file:
            file.write(text)

    return change


BAD = {
    "malformed": (bad_line(b'{"prompt": "x", "completion": }'), "data/raw/rows.jsonl:42: not JSON (Expecting value at"),
    "missing": (
        bad_line(b'{"prompt": "x", "answer": "y"}'),
        "data/raw/rows.jsonl:42: field 'completion': missing; the row has prompt, answer",
    ),
    "empty": (
        bad_line(b'{"prompt": "x", "completion": " "}\n{"prompt": 3}'),
        "data/raw/rows.jsonl:42: field 'completion': expected text, found ' ' (2 problems in all)",
    ),
    "not UTF-8": (bad_line(b'{"prompt": "caf\xe9"}'), "data/raw/rows.jsonl:42: not UTF-8"),
    "duplicates": (repeat(0.9), "a: 900 of 1000 rows repeat another, more than agent_data.max_duplicates (50%)"),
    "too few": (lambda repository: repeat(0)(Repository.__new__(Repository)) or None, ""),
    "leakage": (
        test_file(
            lambda repository: [
                *repository.rows[:1],
                *({**row, "prompt": row["prompt"][::-1]} for row in repository.rows),
            ]
        ),
        "a: 1 of 101 held-out prompts stand in training, more than agent_data.max_leakage (0.0%); for one, ",
    ),
    "unknown key": (
        append("params.yaml", "  min_pear: 3\n"),
        "params.yaml: agent_data: unknown key 'min_pear'; known keys: ",
    ),
    "agent's key": (
        append("conf/agent/a.yaml", "agent_data: {min_pear: 3}\n"),
        "with min_pear from the agent's own file: unk",
    ),
    "agent's file": (
        append("conf/agent/a.yaml", "source: 3\n"),
        "conf/agent/a.yaml: unknown key 'source'; known keys: ",
    ),
}
