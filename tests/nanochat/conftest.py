"""A corpus and a measured attempt for the training stages."""

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from genesis.common.usage import Usage


@pytest.fixture
def small_corpus(tmp_path, seed_texts):
    """The seed documents as the corpus stage would write them."""
    for split, texts in (("train", seed_texts[:-8]), ("val", seed_texts[-8:])):
        folder = tmp_path / "corpus" / split
        folder.mkdir(parents=True)
        parquet.write_table(pa.table({"text": texts, "source": ["seed"] * len(texts)}), folder / "shard-0000.parquet")
    return tmp_path / "corpus"


@pytest.fixture
def usage(tmp_path):
    """A fresh attempt with its own resume folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Usage(folder, "key")
