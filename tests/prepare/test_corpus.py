import json
import platform
from collections import Counter

import pyarrow.parquet as parquet
import pytest

from genesis.common.chat import write_jsonl
from genesis.common.errors import UserError
from genesis.ngrams import NgramIndex
from genesis.prepare.corpus import Corpus, corpus
from genesis.prepare.sources import Source


@pytest.fixture
def make(tmp_path, usage):
    """A function: name, texts → the corpus of one folder source: rows of each split and statistics."""

    def run(name: str, texts: list[str], weight: float = 1.0, **params):
        write_jsonl(tmp_path / name / "raw.jsonl", [{"text": text} for text in texts])
        source = Source("folder", weight, path=str(tmp_path / name))
        return read(Corpus(**{"sources": [source], "val_share": 0.2, **params}))

    def read(params: Corpus):
        out = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
        corpus(params, out, usage)
        splits = {}
        for split in ("train", "val"):
            tables = [parquet.read_table(path) for path in sorted((out / split).glob("*.parquet"))]
            splits[split] = [text for table in tables for text in table["text"].to_pylist()]
        return splits, json.loads((out / "statistics.json").read_text()), out

    run.read = read
    return run


def test_exact_and_near_duplicates_are_dropped_and_counted(make, text):
    originals = [text(k) for k in range(40)]
    exact = ["  " + originals[0].upper().replace(" ", "\n ") + "\n", originals[1]]
    near = [originals[k].replace(originals[k].split()[30], "instead", 1) for k in range(2, 7)]
    splits, statistics, _ = make("a", originals + exact + near)
    assert sorted(splits["train"] + splits["val"]) == sorted(originals)
    assert (statistics["documents_read"], statistics["dropped_exact"], statistics["dropped_near"]) == (47, 2, 5)


def test_the_split_goes_by_content_so_a_new_document_moves_no_other(make, text):
    few = [text(k) for k in range(60)]
    (before, *_), (after, *_) = make("a", few), make("b", [text(100), *reversed(few), text(101)])
    for split in ("train", "val"):
        assert set(before[split]) == set(after[split]) & set(few)
    assert 4 <= len(before["val"]) <= 24
    assert not set(after["train"]) & set(after["val"])


def test_weights_below_one_choose_and_above_one_repeat_in_training_only(make, text):
    texts = [text(k) for k in range(120)]
    whole, _, _ = make("a", texts)
    half, _, _ = make("b", texts, weight=0.5)
    repeated, statistics, _ = make("c", texts, weight=2.5)
    assert set(half["train"]) < set(whole["train"]) and set(half["val"]) < set(whole["val"])
    assert 40 <= len(half["train"] + half["val"]) <= 80
    assert sorted(repeated["val"]) == sorted(whole["val"])
    counts = Counter(repeated["train"])
    assert set(counts) == set(whole["train"]) and set(counts.values()) == {2, 3}
    assert 2.3 < len(repeated["train"]) / len(whole["train"]) < 2.7
    (row,) = statistics["sources"].values()
    assert row["train_documents"] == len(repeated["train"])


def test_each_source_keeps_its_own_weight_even_from_one_file(make, text, tmp_path):
    write_jsonl(tmp_path / "two/raw.jsonl", [{"text": text(k), "summary": text(1000 + k)} for k in range(40)])
    sources = [Source("folder", weight, path=str(tmp_path / "two"), text=field)
               for weight, field in ((3, "text"), (1, "summary"))]  # fmt: skip
    splits, *_ = make.read(Corpus(sources=sources, val_share=0.2))
    counts = Counter(splits["train"])
    assert {counts[text(k)] for k in range(40)} == {0, 3}
    assert {counts[text(1000 + k)] for k in range(40)} == {0, 1}


def test_two_runs_write_the_same_bytes(make, text):
    texts = [text(k) for k in range(60)]
    first, second = (make(name, texts)[2] for name in ("a", "a"))
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert [str(name) for name in names] == [
        "ngrams.npy", "statistics.json", "train/shard-0000.parquet", "val/shard-0000.parquet",
    ]  # fmt: skip
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_long_documents_are_cut_at_line_ends_and_short_ones_left_out(make, text):
    long = "\n".join(text(k, 20) for k in range(200))
    splits, *_ = make("a", [long, "short", *(text(k) for k in range(300, 330))], max_chars=2000)
    pieces = [piece for piece in splits["train"] + splits["val"] if piece in long]
    assert all(1000 <= len(piece) <= 2000 for piece in sorted(pieces, key=len)[1:])
    assert sorted(line for piece in pieces for line in piece.split("\n")) == sorted(long.split("\n"))
    assert "short" not in splits["train"] + splits["val"]


def test_the_index_holds_what_trains_and_not_what_validates(make, text):
    splits, statistics, out = make("a", [text(k) for k in range(40)])
    index = NgramIndex.load(out / "ngrams.npy")
    assert all(map(index.contains, splits["train"])) and not any(map(index.contains, splits["val"]))
    assert statistics["splits"]["val"] == {
        "documents": len(splits["val"]), "bytes": sum(len(text.encode()) for text in splits["val"]),
    }  # fmt: skip


def test_another_python_than_the_committed_one_is_told(make, capsys):
    source = Source("python", max_documents=30)
    _, statistics, _ = make.read(Corpus(sources=[source], python_version="3.8.0", val_share=0.3))
    told = f"text of Python {platform.python_version()}; the committed run used 3.8.0: numbers will differ"
    assert statistics["flags"] == [told] and told in capsys.readouterr().out
    same = Corpus(sources=[source], python_version=platform.python_version(), val_share=0.3)
    assert make.read(same)[1]["flags"] == []


def test_bad_input_is_an_error(make, text):
    with pytest.raises(UserError, match=r"corpus: 19 of 20 documents are duplicates, more than max_duplicates \(90%\)"):
        make("a", [text(1)] * 20)
    with pytest.raises(UserError, match=r"corpus: no document left for train \(2 read\)|for val \(2 read\)"):
        make("b", [text(1), text(2)], val_share=0.0)
    with pytest.raises(UserError, match=r"corpus.sources: expected at least one source"):
        make.read(Corpus())
    with pytest.raises(UserError, match=r"corpus.max_chars: expected at least 1, found 0"):
        make("c", [text(1)], max_chars=0)
