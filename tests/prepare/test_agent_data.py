"""An agent's pairs, most of it through the stage's real file in a small repository of its own."""

import csv
import json
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from budgets import configure
from genesis.agents import load_agent
from genesis.common.chat import write_jsonl
from genesis.common.params import load_params
from genesis.ngrams import NgramIndex
from genesis.prepare.agents import AgentData, agent_data

ROOT = Path(__file__).parents[2]
STAGE = ROOT / "stages/agent_data.py"


class Repository:
    """A folder with params.yaml, conf/agent/a.yaml and data/raw/rows.jsonl, in which the stage runs."""

    def __init__(self, text, monkeypatch, capsys):
        self.text, self.monkeypatch, self.capsys = text, monkeypatch, capsys
        self.params = {"min_pairs": 20, "language": "", "heldout_share": 0.25, "leakage": 0.8}
        self.agent = {"about": "Sorts.", "sources": [{"kind": "file", "path": "data/raw/rows.jsonl"}]}
        self.rows = [{"prompt": text(k, 20), "completion": f"answer {k % 5}"} for k in range(100)]

    def write(self):
        configure(Path())
        with Path("params.yaml").open("a") as file:
            yaml.safe_dump({"agents": ["a"], "agent_data": self.params}, file)
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


def append(path: str, text: str):
    def change(repository):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)

    return change


def repeat_one_row_900_times(repository):
    write_jsonl(Path("data/raw/rows.jsonl"), [*repository.rows, *repository.rows[:1] * 900])


def keep_ten_rows(repository):
    write_jsonl(Path("data/raw/rows.jsonl"), repository.rows[:10])


def test_a_training_row(repository):
    test = [repository.rows[0], *({**row, "prompt": row["prompt"][::-1]} for row in repository.rows)]
    write_jsonl(Path("data/raw/test.jsonl"), test)
    repository.agent["sources"][0]["test"] = "data/raw/test.jsonl"
    Path("conf/agent/a.yaml").write_text(yaml.safe_dump(repository.agent))


test_a_training_row.__test__ = False


def misspell_a_key(repository):
    repository.params["min_pear"] = 3
    repository.write()


BAD = {
    "malformed": (
        bad_line(b'{"prompt": "x", "completion": }'),
        "data/raw/rows.jsonl:42: not JSON (Expecting value at column 31)",
    ),
    "missing field": (
        bad_line(b'{"prompt": "x", "answer": "y"}'),
        "data/raw/rows.jsonl:42: field 'completion': missing; the row has prompt, answer",
    ),
    "empty completion": (
        bad_line(b'{"prompt": "x", "completion": " "}\n{"prompt": 3}'),
        "data/raw/rows.jsonl:42: field 'completion': expected text, found ' ' (2 problems in all)",
    ),
    "not UTF-8": (bad_line(b'{"prompt": "caf\xe9"}'), "data/raw/rows.jsonl:42: not UTF-8"),
    "duplicates": (
        repeat_one_row_900_times,
        "a: 900 of 1000 rows repeat another, more than agent_data.max_duplicates (50%)",
    ),
    "too few pairs": (keep_ten_rows, "training pairs, fewer than agent_data.min_pairs (20)"),
    "leakage": (
        test_a_training_row,
        "a: 1 of 101 held-out prompts stand in training, more than agent_data.max_leakage (0.0%); for one, ",
    ),
    "unknown key": (
        misspell_a_key,
        "params.yaml: agent_data: unknown key 'min_pear'; known keys: ",
    ),
    "agent's key": (
        append("conf/agent/a.yaml", "agent_data: {min_pear: 3}\n"),
        "with min_pear of the item's own: unknown key 'min_pear'; known keys: ",
    ),
    "agent's file": (
        append("conf/agent/a.yaml", "source: 3\n"),
        "conf/agent/a.yaml: unknown key 'source'; known keys: ",
    ),
    "no source": (lambda repository: Path("data/raw/rows.jsonl").unlink(), "data/raw/rows.jsonl: no file of .csv, "),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_the_finished_pairs_stay(repository, name):
    finished = repository.run()
    change, said = BAD[name]
    change(repository)
    code, error = repository.stage()
    assert code == 1 and error.count("\n") == 1 and error.startswith("error: agent_data@a: "), error
    assert said in error
    assert repository.read() == finished


def test_an_unknown_agent_is_told_the_known_ones(repository):
    repository.write()
    code, error = repository.stage("b")
    assert code == 1 and error.startswith("error: agent_data@b: conf/agent/b.yaml: no agent 'b'; known agents: a; ")


def test_a_share_of_leaks_may_be_allowed_and_then_leaves_training(repository):
    repository.write()
    test_a_training_row(repository)
    repository.params["max_leakage"] = 0.02
    parts = repository.run()
    assert repository.rows[0]["prompt"] in prompts(parts["test"]) - prompts(parts["train"]) - prompts(parts["val"])
    assert repository.quality()["leaked"] == 1


def test_repeated_contradictory_long_and_secret_rows_are_dropped_and_counted(repository):
    extra = [
        repository.rows[0],
        {"prompt": repository.rows[1]["prompt"], "completion": "another answer"},
        {"prompt": "word " * 500, "completion": "long"},
        {"prompt": "Write to jane.roe@gmail.com about it", "completion": "answer 1"},
    ]
    repository.rows += extra
    kept = prompts([row for rows in repository.run().values() for row in rows])
    assert not kept & {row["prompt"] for row in extra[1:]} and extra[0]["prompt"] in kept
    quality = repository.quality()
    assert (quality["dropped_duplicates"], quality["dropped_contradictory"], quality["dropped_long"]) == (2, 1, 1)
    assert sum(quality["dropped_secrets"].values()) == 1


def test_a_row_rejected_on_the_review_sheet_leaves_and_verdicts_are_kept(repository):
    trained = repository.run()["train"]
    sheet = Path("data/review/a.csv")
    assert len(sheet.read_text().splitlines()) == 21
    victim = next(row["prompt"] for row in trained if row["prompt"] in sheet.read_text())
    repository.judge({victim: "reject"})
    judged = sheet.read_text()
    assert victim not in {prompt for rows in repository.run().values() for prompt in prompts(rows)}
    assert repository.quality()["rejected_in_review"] == 1 and repository.quality()["reviewed"] == 0.05
    assert sheet.read_text() == judged


def test_too_little_review_warns_or_fails_as_the_params_say(repository, capsys):
    repository.params["min_reviewed"] = 0.5
    repository.run()
    repository.params["unreviewed"] = "fail"
    repository.write()
    code, error = repository.stage()
    assert code == 1 and "a: 0% of data/review/a.csv is reviewed, less than 50%; write 'ok' or 'reject'" in error
    repository.judge({row["prompt"]: "ok" for row in repository.rows})
    assert repository.stage()[0] == 0


def test_prompts_of_another_language_are_flagged(repository):
    repository.params["language"] = "en"
    german = "Bitte schicken Sie mir heute noch eine Antwort, mein Paket {} ist nicht angekommen."
    repository.rows = [{"prompt": german.format(k), "completion": "x"} for k in range(100)]
    repository.params["leakage"] = 1.0
    repository.run()
    assert repository.quality()["flags"] == ["the prompts look like 'de', expected 'en'"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf/agent").glob("*.yaml")))
def test_every_shipped_agent_passes_the_stage_with_enough_pairs(name, tmp_path, monkeypatch, usage):
    monkeypatch.chdir(ROOT)
    agent = load_agent(name)
    params = load_params(AgentData, "agent_data", **agent.agent_data)
    agent_data(name, agent, params, tmp_path / "out", usage, review=tmp_path / "review")
    quality = json.loads((tmp_path / "out/quality.json").read_text())
    assert quality["rows"]["train"] >= 120 and quality["rarest_answer"] >= 3
    assert set(quality["test_parts"]) == {"new_values", "unseen_frames"} and min(quality["test_parts"].values()) >= 10
    assert quality["leaked"] == 0 and quality["flags"] == [] and not quality["dropped_secrets"]
