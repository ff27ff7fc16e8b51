"""The safety track's rows: the built-in source as it ships, and small sources of a user's own."""

import csv
import json
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import yaml

from genesis.__main__ import main
from genesis.common.chat import write_jsonl
from genesis.common.errors import UserError
from genesis.common.params import load_params
from genesis.prepare.agent_sources import agent_sources
from genesis.prepare.safety import SafetyData, safety_data, split_families
from genesis.prepare.safety_rows import SafetyRow, SafetySource, read_source

ROOT = Path(__file__).parents[2]
SEED = SafetySource("seed", str(ROOT / "data/seed/safety"))
RAW = Path("data/raw/safety/rows.jsonl")
OUT = Path("data/safety")
OWN = SafetyData(sources=[SafetySource("file", str(RAW))], min_per_label=20, language="")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.fixture
def rows(text) -> list[dict]:
    """Eighty rows of two categories, as many unsafe as benign, whose questions share nothing."""
    return [
        {
            "question": text(k, 20),
            "solution": f"answer {k}",
            "reasoning_trace": f"reason {k}",
            "label": ("unsafe", "benign")[k % 2],
            "category": ("fire", "water")[k // 2 % 2],
        }
        for k in range(80)
    ]


def run(params: SafetyData, rows: list[dict] | None = None) -> dict[str, list[dict]]:
    """Write the rows, run the stage's function; the rows of each split."""
    if rows is not None:
        write_jsonl(RAW, rows)
    safety_data(params, OUT)
    return {
        name: list(map(json.loads, (OUT / f"{name}.jsonl").read_text().splitlines()))
        for name in ("train", "val", "test")
    }


def quality() -> dict:
    return json.loads((OUT / "quality.json").read_text())


def test_the_built_in_source_is_large_balanced_and_whole_in_every_split():
    shipped = load_params(SafetyData, "safety_data", ROOT / "params.yaml")
    splits = run(replace(shipped, sources=[SEED]))
    rows = [row for found in splits.values() for row in found]
    assert len({row["question"].lower() for row in rows}) == len(rows) >= 2000
    assert len({row["id"] for row in rows}) == len(rows)
    for label in ("unsafe", "benign"):
        assert sum(row["label"] == label for row in rows) >= 1000
        for found in splits.values():
            assert len({row["category"] for row in found if row["label"] == label}) == 17
    assert {row["part"] for row in splits["train"]} == {"student", "teacher"}
    parts = defaultdict(set)
    for row in rows:
        parts[row["family"]].add(row["part"])
    assert {len(found) for found in parts.values()} == {1}
    assert set(rows[0]) == {
        *("id", "question", "solution", "reasoning_trace", "label", "category", "source", "family", "part")
    }
    assert all(row["solution"] and row["reasoning_trace"] for row in rows)
    share = {part: sum(found == {part} for found in parts.values()) / len(parts) for part in ("val", "test", "student")}
    assert share["val"] == pytest.approx(0.1, abs=0.03) and share["test"] == pytest.approx(0.2, abs=0.03)
    assert share["student"] == pytest.approx(0.7 / 3, abs=0.05)


def test_two_runs_are_equal_and_a_new_row_renames_none(rows, text):
    before = run(OWN, rows)
    bytes_before = {path.name: path.read_bytes() for path in OUT.iterdir()}
    assert run(OWN) == before
    assert {path.name: path.read_bytes() for path in OUT.iterdir()} == bytes_before
    after = run(OWN, [{**rows[0], "question": text(999, 20)}, *reversed(rows)])
    names = [{row["id"] for found in splits.values() for row in found} for splits in (before, after)]
    assert names[0] < names[1] and len(names[1] - names[0]) == 1


def test_a_family_column_keeps_rows_together_and_the_cap_thins_it(rows):
    for k, row in enumerate(rows):
        row["frame"] = f"frame {k // 2 % 20}"  # each stands under both labels
    source = replace(OWN.sources[0], family="frame")
    splits = run(replace(OWN, sources=[source], max_per_family=3, min_label_share=0.1), rows)
    places = defaultdict(list)
    for name, found in splits.items():
        for row in found:
            places[row["family"]].append(name)
    assert len(places) == 20 and all(len(set(names)) == 1 and len(names) == 3 for names in places.values())
    assert quality()["over_family_cap"] == 20


def test_a_leak_between_splits_fails_and_with_leave_the_training_rows_go(rows):
    splits = run(OWN, rows)
    held = splits["test"][0]["question"]
    near = f"{held} once"
    known = next(row for row in rows if row["question"] == splits["train"][0]["question"])
    planted = [*rows, {**known, "question": near, "category": "planted"}]
    message = rf"1 questions of train stand in test .* '{re.escape(near[:80])}' \(near-duplicate: '{held[:30]}"
    with pytest.raises(UserError, match=message):
        run(OWN, planted)
    found = run(replace(OWN, max_leakage=0.1))
    assert near not in {row["question"] for row in found["train"]} and quality()["leaked"] == 1
    assert held in {row["question"] for row in found["test"]}


def test_thirteen_words_in_a_row_are_a_leak(rows, text):
    held = run(OWN, rows)["test"][0]["question"]
    known = next(row for row in rows if row["question"] != held)
    longer = f"{' '.join(held.split()[:13])} {text(500, 60)}"
    with pytest.raises(UserError, match="1 questions of train stand in test .*13 words in a row"):
        run(OWN, [*rows, {**known, "question": longer, "category": "planted"}])


@pytest.mark.parametrize("change", [str.upper, lambda text: f"{text} once", lambda text: text[: len(text) // 4 * 3]])
def test_a_benchmark_that_holds_a_question_fails_the_stage_and_the_command(rows, change, capsys):
    clean, dirty = Path("sets/oktest.csv"), Path("sets/advbench_harmful_behaviors.csv")
    clean.parent.mkdir()
    clean.write_text("prompt,split\nHow do I peel an orange?,a\n")
    run(replace(OWN, benchmarks=["sets"]), rows)
    assert main(["safety-leaks", "--data", str(OUT), "--folder", "sets"]) == 0
    assert "sets/oktest.csv: 0 of 80 questions stand among its 1 prompts" in capsys.readouterr().out
    dirty.write_text(f"goal,target\nPeel it,Sure\n{change(rows[7]['question'])},Sure\n")
    with pytest.raises(UserError, match=rf"1 questions stand in the benchmark {dirty}; for one, \S+ '"):
        run(replace(OWN, benchmarks=["sets"]))
    assert main(["safety-leaks", "--data", str(OUT), "--set", str(clean), str(dirty)]) == 1
    assert f"{dirty}: 1 of 80 questions stand among its 2 prompts" in capsys.readouterr().out


def edit(index: int, **values):
    """A change of one row; a value None removes the field."""

    def change(rows):
        rows[index] = {key: value for key, value in {**rows[index], **values}.items() if value is not None}
        return rows

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            edit(3, reasoning_trace=""),
            r"rows\.jsonl:4: field 'reasoning_trace': expected text, found nothing; write why",
        ),
        (edit(3, reasoning_trace=None), r"rows\.jsonl:4: field 'reasoning_trace': missing; the row has question"),
        (edit(3, question="  "), r"rows\.jsonl:4: field 'question': expected text, found nothing"),
        (edit(3, solution=7), r"rows\.jsonl:4: field 'solution': expected text, found 7"),
        (edit(3, label="evil"), r"rows\.jsonl:4: field 'label': expected one of unsafe, benign, found 'evil'"),
        (edit(3, label=None), r"rows\.jsonl:4: field 'label': expected one of unsafe, benign, found 'nothing'"),
        (lambda rows: edit(5, solution="")(edit(3, solution="")(rows)), r"rows\.jsonl:4: .*\(2 problems in all\)"),
        (lambda rows: rows[:30], r"15 unsafe rows, fewer than safety_data\.min_per_label \(20\)"),
        (lambda rows: rows[::2] + rows[1:40:2], None),
        (lambda rows: rows + rows[:1] * 90, r"90 of 170 questions repeat another, more than safety_data\.max_dup"),
    ],
)
def test_bad_rows_are_named_by_file_line_and_field(rows, change, message):
    if message is None:
        assert run(OWN, change(rows))
        return
    with pytest.raises(UserError, match=message):
        run(OWN, change(rows))


def test_unbalanced_labels_fail(rows, text):
    more = [{**rows[0], "question": text(1000 + k, 20)} for k in range(150)]
    message = r"train: \d+ of \d+ rows are benign \(1\d%\), less than safety_data.min_label_share \(30%\)"
    with pytest.raises(UserError, match=message):
        run(OWN, rows + more)


def test_traces_may_be_absent_where_params_say_so(rows):
    splits = run(replace(OWN, require_traces=False), edit(4, reasoning_trace=None)(edit(3, reasoning_trace="")(rows)))
    assert sum(row["reasoning_trace"] is None for found in splits.values() for row in found) == 2
    assert quality()["without_trace"] == 2


def test_secrets_contradictions_and_long_rows_leave_and_are_counted(rows):
    rows[1]["solution"] = "Write to jane.doe@example.com"
    rows[2]["reasoning_trace"] = "x" * 5000
    rows += [{**rows[5], "label": "unsafe"}]
    splits = run(OWN, rows)
    assert sum(map(len, splits.values())) == 77
    report = quality()
    assert report["dropped_secrets"] == {"e-mail address": 1}
    assert (report["dropped_long"], report["dropped_duplicates"], report["dropped_contradictory"]) == (1, 1, 1)


def test_a_rejected_row_drops_and_its_verdict_re_runs_this_stage_alone(rows):
    splits = run(OWN, rows)
    sheet = Path("data/review/safety.csv")
    found = list(csv.DictReader(sheet.read_text().splitlines()))
    assert list(found[0]) == ["id", "label", "prompt", "completion", "reasoning_trace", "verdict"]
    assert {row["id"] for row in found} <= {row["id"] for row in splits["train"]} and len(found) == 40
    source = {"kind": "file", "path": str(RAW)}
    Path("conf/agent").mkdir(parents=True)
    Path("conf/agent/a.yaml").write_text(yaml.safe_dump({"sources": [source]}))
    Path("params.yaml").write_text(yaml.safe_dump({"agents": ["a"], "safety_data": {"sources": [source]}}))
    manifests = {"before": Path("before"), "after": Path("after")}
    agent_sources(manifests["before"])
    found[0]["verdict"] = "Reject"
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    agent_sources(manifests["after"])
    read = {
        name: [(path / file).read_text() for file in ("pairs/a.json", "safety.json")]
        for name, path in manifests.items()
    }
    assert read["before"][0] == read["after"][0] and read["before"][1] != read["after"][1]
    assert found[0]["id"] in read["after"][1]
    after = run(OWN)
    assert found[0]["id"] not in {row["id"] for rows in after.values() for row in rows}
    assert quality()["rejected_in_review"] == 1 and quality()["reviewed"] == 1 / 40
    with pytest.raises(UserError, match=r"safety: 2% of data/review/safety.csv is reviewed, less than 50%"):
        run(replace(OWN, min_reviewed=0.5, unreviewed="fail"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": []}, r"safety_data\.sources: expected at least one source"),
        ({"val_share": 0.5, "test_share": 0.3}, r"val_share and test_share hold out 80%; at most 60%"),
        ({"student_share": 1.5}, r"safety_data\.student_share: expected a share from 0 to 1, found 1\.5"),
        ({"sources": [SafetySource("web", "x")]}, r"unknown kind 'web'; expected seed, file or hub"),
        ({"sources": [replace(OWN.sources[0], label="bad")]}, r"expected unsafe, benign or skip, found 'bad'"),
        ({"sources": [SafetySource("file", "none.csv")]}, r"none\.csv: no file of \.csv, \.tsv"),
        ({"sources": [SafetySource("seed", "none")]}, r"none: no \.yaml file there"),
        ({"benchmarks": ["none"]}, r"none: no safety set there; expected a file"),
        ({"unreviewed": "shout"}, r"safety_data\.unreviewed: expected warn or fail, found 'shout'"),
    ],
)
def test_params_that_cannot_work_are_named(rows, change, message):
    with pytest.raises(UserError, match=message):
        run(replace(OWN, **change), rows)


@pytest.mark.parametrize("shares", [(0.3, 0.3), (0.6, 0.0), (0.0, 0.6), (0.1, 0.2), (0.0, 0.0)])
def test_every_family_has_a_part_however_few_there_are(shares):
    params = replace(OWN, val_share=shares[0], test_share=shares[1])
    made = [SafetyRow(str(k), f"q{k}", "s", "r", "unsafe", "c", "x", str(k)) for k in range(30)]
    for count in range(1, 30):
        splits = split_families(made[:count], params)
        assert sum(map(len, splits.values())) == count
        if count >= 4:
            assert all(splits.values()) and "student" in {row.part for row in splits["train"]}


def test_no_agent_may_take_the_review_sheets_name():
    Path("params.yaml").write_text(yaml.safe_dump({"agents": ["safety"]}))
    with pytest.raises(UserError, match="agents: 'safety' names the safety track's review sheet"):
        agent_sources(Path("manifests"))


def hub_set(name: str, rows: list[dict]) -> str:
    """A local folder in the hub's layout."""
    path = Path(name) / "data/train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return name


def test_wildjailbreaks_shape_from_the_hub(text):
    kinds = ("vanilla_harmful", "vanilla_benign", "adversarial_harmful", "adversarial_benign")
    table = [
        {
            "vanilla": text(k // 4 * 2 + k % 2, 12),
            "adversarial": text(5000 + k, 40) if "adversarial" in kinds[k % 4] else "",
            "completion": f"answer {k}",
            "data_type": kinds[k % 4],
        }
        for k in range(160)
    ]
    labels = {kind: "unsafe" if "harmful" in kind else "benign" for kind in kinds}
    source = SafetySource(
        "hub",
        hub_set("wild", table),
        question=["adversarial", "vanilla"],
        solution="completion",
        reasoning_trace="",
        category="",
        family="vanilla",
        label_column="data_type",
        labels=labels,
    )
    splits = run(replace(OWN, sources=[source], require_traces=False))
    rows = [row for found in splits.values() for row in found]
    assert len(rows) == 160 and len({row["family"] for row in rows}) == 80
    assert {row["question"] for row in rows} == {row["adversarial"] or row["vanilla"] for row in table}
    assert {row["label"] for row in rows if row["question"] == table[2]["adversarial"]} == {"unsafe"}
    plain = replace(source, question=["vanilla"], labels=labels | dict.fromkeys(kinds[2:], "skip"))
    assert len(read_source(plain, require_traces=False)) == 80


def test_or_benchs_shape_has_no_answers_and_is_held_out(rows, text):
    table = [{"prompt": text(7000 + k, 15), "category": "deception"} for k in range(3)]
    source = SafetySource(
        "hub", hub_set("orbench", table), question=["prompt"], solution="", reasoning_trace="", label="benign"
    )
    splits = run(replace(OWN, sources=[*OWN.sources, source]), rows)
    held = [row for row in splits["test"] if row["source"] == "orbench"]
    assert {row["question"] for row in held} == {row["prompt"] for row in table}
    assert {(row["label"], row["category"], row["solution"], row["part"]) for row in held} == {
        ("benign", "deception", None, "test")
    }
    assert quality()["without_solution"] == 3


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_any_format_with_rlts_shape_and_one_label(rows, suffix):
    shape = [{key: row[key] for key in ("question", "solution", "reasoning_trace")} for row in rows]
    path = Path(f"mine{suffix}")
    if suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(shape), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(shape[0]))
            writer.writeheader()
            writer.writerows(shape)
    found = read_source(SafetySource("file", str(path), label="unsafe"), require_traces=True)
    assert [{key: getattr(row, key) for key in shape[0]} for row in found] == shape
    assert {row.label for row in found} == {"unsafe"} and len({row.family for row in found}) == 80


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda seed: seed.pop("category"), r"drugs\.yaml: field 'category': expected str, found None"),
        (lambda seed: seed["unsafe"].pop("aims"), r"drugs\.yaml: unsafe: field 'aims': expected list, found None"),
        (
            lambda seed: seed["unsafe"]["frames"].append("No aim."),
            r"drugs\.yaml: unsafe\.frames: expected \{aim\} once",
        ),
        (
            lambda seed: seed["unsafe"]["reasons"].append({"a": 1}),
            r"drugs\.yaml: unsafe\.reasons: expected text, found",
        ),
        (
            lambda seed: seed["benign"]["topics"][2].update(solution=""),
            r"drugs\.yaml: benign\.topics\[2\]: field 'solution': expected str, found ''",
        ),
    ],
)
def test_a_mistake_in_the_built_in_format_is_named_by_file_and_field(change, message):
    seed = yaml.safe_load((ROOT / "data/seed/safety/drugs.yaml").read_text())
    change(seed)
    Path("seed").mkdir()
    Path("seed/drugs.yaml").write_text(yaml.safe_dump(seed))
    with pytest.raises(UserError, match=message):
        read_source(SafetySource("seed", "seed"), require_traces=True)


def test_no_built_in_question_stands_in_a_published_benchmark(shared_data, capsys):
    shipped = load_params(SafetyData, "safety_data", ROOT / "params.yaml")
    run(replace(shipped, sources=[SEED], max_per_family=0))
    assert main(["safety-leaks", "--data", str(OUT), "--folder", str(shared_data / "safety")]) == 0
    assert capsys.readouterr().out.count(": 0 of 3") == 15
