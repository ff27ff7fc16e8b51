import re

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from genesis.common.errors import UserError
from genesis.hub import stream

ROWS = [{"text": f"row {k}", "label": k} for k in range(50)]
CARD = """---
configs:
- config_name: small
  data_files:
  - {split: train, path: data/train-*.parquet}
  - {split: held, path: data/held-*.parquet}
---
A card.
"""


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    """A folder in the hub's layout: parquet shards under data/."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    for number in range(2):
        table = pa.Table.from_pylist(ROWS[number * 25 : number * 25 + 25])
        parquet.write_table(table, folder / f"data/train-{number:05d}-of-00002.parquet")
    return folder


def test_a_local_folder_streams_in_order_without_a_revision(data_set):
    rows = stream(str(data_set), None, "train", None)
    assert next(rows) == ROWS[0]
    assert list(rows) == ROWS[1:]


def test_a_card_names_configurations_and_splits(data_set):
    (data_set / "README.md").write_text(CARD)
    parquet.write_table(pa.Table.from_pylist(ROWS[:3]), data_set / "data/held-0.parquet")
    assert list(stream(str(data_set), "small", "held", None)) == ROWS[:3]


def test_what_cannot_be_read_is_one_line(data_set):
    with pytest.raises(UserError, match=rf"{re.escape(str(data_set))}: cannot read split 'test' \("):
        list(stream(str(data_set), None, "test", None))
    path = data_set / "data/train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"cannot read split 'train' \("):
        list(stream(str(data_set), None, "train", None))


@pytest.mark.parametrize("revision", [None, "", "main", "v1.0", "87f0914"])
def test_a_hub_name_needs_a_commit(revision):
    with pytest.raises(UserError, match=r"org/set: no such folder, and a hub data set needs its `revision` pinned"):
        next(stream("org/set", None, "train", revision))
