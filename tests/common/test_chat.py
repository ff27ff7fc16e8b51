import bz2
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import zstandard

from genesis.common.chat import (
    message_problem,
    read_conversations,
    read_jsonl,
    read_parquet,
    read_text,
    write_json,
    write_jsonl,
)
from genesis.common.errors import UserError

COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstandard.compress}
TALK = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Good morning."}]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_rows_and_text_are_read_whatever_the_compression(tmp_path, suffix):
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix]('\ufeff{"a": "é"}\r\n\n  \n{"a": 2}'.encode()))
    assert list(read_jsonl(path)) == [(1, {"a": "é"}), (4, {"a": 2})]
    assert read_text(path) == '{"a": "é"}\r\n\n  \n{"a": 2}'


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESS if suffix])
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_compressed_file_is_never_taken_for_a_whole_one(tmp_path, suffix, damage):
    data = COMPRESS[suffix]("".join(json.dumps({"row": k * k * 7919}) + "\n" for k in range(5000)).encode())
    middle = len(data) // 2
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(data[:middle] if damage == "cut" else data[:middle] + bytes(200) + data[middle + 200 :])
    with pytest.raises(UserError, match=r"rows.jsonl\.\w+:.*(damaged|not JSON|not UTF-8)"):
        list(read_jsonl(path))
    with pytest.raises(UserError, match=r"damaged|not UTF-8"):
        read_text(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"prompt": "a", "completion": }', r"rows.jsonl:3: not JSON \(Expecting value at column 31\)"),
        (b"[1, 2]", r"rows.jsonl:3: expected a JSON object, found list"),
        (b'{"prompt": "caf\xe9"}', r"rows.jsonl:3: not UTF-8 \(.*\); convert"),
        (b'{"prompt": "half a smile \\ud83d"}', r"rows.jsonl:3: JSON that cannot be used \(.*surrogates not allowed\)"),
        (b'{"number": ' + b"9" * 5000 + b"}", r"rows.jsonl:3: JSON that cannot be used"),
        (b'{"deep": ' + b"[" * 100_000, r"rows.jsonl:3: JSON that cannot be used"),
    ],
    ids=["syntax", "no object", "no utf-8", "surrogate", "digits", "nesting"],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path, line, said):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "a whole smile \\ud83d\\ude00"}\n\n' + line + b'\n{"prompt": "b"}\n')
    with pytest.raises(UserError, match=said):
        list(read_jsonl(path))


def test_an_absent_file_is_an_error(tmp_path):
    for read in (read_text, lambda path: list(read_jsonl(path)), lambda path: list(read_parquet(path))):
        with pytest.raises(UserError, match=r"absent: no such file"):
            read(tmp_path / "absent")


def test_parquet_rows_are_numbered_across_batches_and_checked(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"text": [str(k) for k in range(100)], "other": range(100)}), path, row_group_size=7)
    assert list(read_parquet(path, ["text"])) == [(k + 1, {"text": str(k)}) for k in range(100)]
    (tmp_path / "rows.parquet.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_parquet(tmp_path / "rows.parquet.gz")) == list(read_parquet(path))
    with pytest.raises(UserError, match=r"rows.parquet: no column 'body'; it has text, other"):
        list(read_parquet(path, ["body"]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"rows.parquet: cannot be read, perhaps damaged"):
        list(read_parquet(path))


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        (TALK, None),
        ([{"role": "system", "content": "Be brief."}, *TALK, *TALK], None),
        (None, "field 'messages': expected a list of turns"),
        ([], "field 'messages': expected a list of turns"),
        ([{"role": "bot", "content": "x"}], "field 'messages[0].role': expected one of system, user, assistant"),
        ([TALK[0], {"role": "assistant", "content": " "}], "field 'messages[1].content': expected text, found nothing"),
        ([TALK[0], {"role": "assistant"}], "field 'messages[1].content': expected text, found nothing"),
        ([TALK[1]], "field 'messages[0].role': expected user, found assistant"),
        ([TALK[0], TALK[0]], "field 'messages[1].role': expected assistant, found user"),
        ([TALK[0]], "field 'messages': the last turn must be the assistant's"),
        (
            [*TALK, {"role": "system", "content": "x"}],
            "field 'messages[2].role': a system message stands first or not at all",
        ),
    ],
)
def test_a_conversation_is_checked_turn_by_turn(messages, problem):
    assert message_problem(messages) == problem


def test_bad_conversations_are_counted_and_the_first_is_named(tmp_path):
    path = tmp_path / "chats.jsonl"
    write_jsonl(path, [{"messages": TALK}, {"messages": TALK[:1]}, {"prompt": "x"}])
    with pytest.raises(UserError, match=r"chats.jsonl:2: field 'messages': the last turn .* \(2 problems in all\)"):
        read_conversations(path)
    write_jsonl(path, [{"messages": TALK}])
    assert read_conversations(path) == [{"messages": TALK}]


def test_what_cannot_be_strict_json_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"loss": 1.5, "name": "é"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"loss": 1.5, "name": "é"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_jsonl(tmp_path / "rows.jsonl", [{"loss": float("inf")}])
