import bz2
import gzip
import lzma

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import zstandard

from genesis.common.chat import write_jsonl
from genesis.common.errors import UserError
from genesis.prepare.sources import Source, documents

COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


@pytest.fixture
def plain(tmp_path):
    """One file of each format, and the documents they hold."""
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a.txt").write_text("a text, é")
    (folder / "b.md").write_text("# a page\n\nof prose")
    write_jsonl(folder / "c.jsonl", [{"text": "first row"}, {"text": "second row", "more": 1}])
    parquet.write_table(pa.table({"text": ["third row", "fourth row"], "more": [1, 2]}), folder / "d.parquet")
    return folder, ["a text, é", "# a page\n\nof prose", "first row", "second row", "third row", "fourth row"]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_folder_of_every_format_is_read_plain_and_compressed(tmp_path, plain, suffix):
    folder, texts = plain
    (tmp_path / "nested/deep").mkdir(parents=True)
    for path in folder.iterdir():
        (tmp_path / "nested/deep" / (path.name + suffix)).write_bytes(COMPRESS[suffix](path.read_bytes()))
    (tmp_path / "nested/picture.png").write_bytes(b"\xff\xd8")
    assert list(documents(Source("folder", path=str(tmp_path / "nested")))) == texts
    assert list(documents(Source("folder", path=str(tmp_path / f"nested/deep/d.parquet{suffix}")))) == texts[-2:]
    assert list(documents(Source("folder", path=str(tmp_path / "nested"), max_documents=2))) == texts[:2]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"one\ntwo\ncaf" + b"\xe9\n", r"a.txt:3: not UTF-8 \(.*\); convert the file to UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', r"a.jsonl:2: not JSON"),
        ("a.jsonl", b'{"text": "x"}\n{"body": "x"}\n', r"a.jsonl:2: field 'text': expected text, found NoneType"),
        ("a.jsonl", b'{"text": 3}\n', r"a.jsonl:1: field 'text': expected text, found int"),
        ("a.md.gz", gzip.compress(b"x" * 999, mtime=0)[:-9], r"a.md.gz: cannot be read, perhaps damaged"),
        ("a.parquet", b"PAR1", r"a.parquet: cannot be read, perhaps damaged"),
        ("a.docx", b"", r"raw: no file of .txt, .md, .jsonl, .parquet \(each plain or with .gz"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, data, said):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_bytes(data)
    with pytest.raises(UserError, match=said):
        list(documents(Source("folder", path=str(tmp_path / "raw"))))


@pytest.mark.parametrize("column", [["x", None], [1, 2]])
def test_a_parquet_column_that_is_not_text_is_named(tmp_path, column):
    parquet.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet:\d: field 'text': expected text, found (NoneType|int)"):
        list(documents(Source("folder", path=str(tmp_path))))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Source("web"), r"corpus.sources: unknown kind 'web'; expected one of python, folder, hub"),
        (Source("python", part="poetry"), r"python part 'poetry'; expected prose or code"),
        (Source("folder", path="nowhere"), r"nowhere: no file of"),
        (Source("hub", path="org/set"), r"org/set: no such folder, and a hub data set needs its `revision` pinned"),
    ],
)
def test_a_bad_source_is_named(source, said):
    with pytest.raises(UserError, match=said):
        list(documents(source))


def test_this_python_yields_prose_and_code():
    prose = list(documents(Source("python", part="prose", max_documents=90)))  # all topics and a few docstrings
    assert len(prose) == 90 and sum(map(len, prose)) > 300_000
    assert any("The ``try`` statement" in text or 'The "try" statement' in text for text in prose)
    code = list(documents(Source("python", part="code", max_documents=30)))
    assert sum("import " in text for text in code) > 20


def test_a_hub_set_is_streamed(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "set/data").mkdir(parents=True)
    table = pa.table({"content": [f"document {k}" for k in range(9)]})
    parquet.write_table(table, tmp_path / "set/data/train-0.parquet")
    source = Source("hub", path=str(tmp_path / "set"), text="content", max_documents=4)
    assert list(documents(source)) == [f"document {k}" for k in range(4)]
    with pytest.raises(UserError, match=r"no text column 'text'; the rows have content"):
        list(documents(Source("hub", path=str(tmp_path / "set"))))
