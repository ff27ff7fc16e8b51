"""Documents packed into rows of equal length: best fit first, a document split only where none fits.

nanochat crops the document that fills a row's end and loses about a third of its tokens; here the rest of a split
document goes back into the pool, so all tokens are kept but those of the last, unfinished row.
"""

import bisect
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import torch

from genesis.common.errors import UserError

POOL = 512
ENCODE_AT_ONCE = 128


def documents(folder: Path, start: int = 0, rank: int = 0, world: int = 1) -> Iterator[str]:
    """Texts of a folder of parquet shards from the `start`-th on, every `world`-th of them, in order."""
    number = 0
    for path in sorted(folder.glob("*.parquet")):
        file = parquet.ParquetFile(path)
        if number + file.metadata.num_rows <= start:
            number += file.metadata.num_rows
            continue
        for batch in file.iter_batches(columns=["text"], batch_size=1024):
            for text in batch.column(0).to_pylist():
                if number >= start and number % world == rank:
                    yield text
                number += 1


class PackedRows:
    """Endless rows of `length` + 1 tokens; its state can be saved and restored between any two batches.

    Attributes:
        epoch: passes over the documents begun, less one.
        read_tokens, packed_tokens: tokens taken from disk (each document's BOS included) and put into rows.
        split_tokens: BOS tokens added in front of the rest of a split document.
    """

    def __init__(self, folder: Path, tokenizer, length: int, rank: int = 0, world: int = 1):
        self.folder, self.tokenizer, self.length = folder, tokenizer, length
        self.rank, self.world = rank, world
        self.bos = tokenizer.bos_token_id
        self.epoch = self.next_document = self.read_tokens = self.packed_tokens = self.split_tokens = 0
        self.pool: list[list[int]] = []  # sorted by length
        self._documents: Iterator[str] | None = None

    def batch(self, rows: int) -> torch.Tensor:
        """The next `rows` rows as ids_BT with T = length + 1, without padding."""
        return torch.tensor([self._row() for _ in range(rows)])

    def kept(self) -> float:
        """Share of the tokens read that went into rows, those still waiting in the pool left aside."""
        waiting = sum(map(len, self.pool))
        return self.packed_tokens / max(1, self.read_tokens + self.split_tokens - waiting)

    def state_dict(self) -> dict[str, Any]:
        """All that the next rows depend on."""
        names = ("epoch", "next_document", "read_tokens", "packed_tokens", "split_tokens", "pool")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the saved state stood."""
        for name, value in state.items():
            setattr(self, name, value)
        self._documents = None

    def _row(self) -> list[int]:
        row: list[int] = []
        while len(row) <= self.length:
            while len(self.pool) < POOL and self._refill():
                pass
            room = self.length + 1 - len(row)
            index = bisect.bisect_right(self.pool, room, key=len) - 1
            if index >= 0:
                row += self.pool.pop(index)
            else:
                document = self.pool.pop()
                row += document[:room]
                if room < len(document):
                    self.split_tokens += 1
                    bisect.insort(self.pool, [self.bos, *document[room:]], key=len)
        self.packed_tokens += self.length + 1
        return row

    def _refill(self) -> bool:
        """Encode more documents into the pool; False when this pass over the corpus has ended and the pool is not dry."""
        if self._documents is None:
            self._documents = documents(self.folder, self.next_document, self.rank, self.world)
        texts = list(islice(self._documents, ENCODE_AT_ONCE))
        if not texts:
            if self.pool:
                self._next_pass()
                return False
            self._next_pass()
            texts = list(islice(self._documents, ENCODE_AT_ONCE))
            if not texts:
                raise UserError(f"{self.folder}: no documents for process {self.rank} of {self.world}; add text")
        self.next_document += len(texts) * self.world
        for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]:
            self.read_tokens += len(ids) + 1
            bisect.insort(self.pool, [self.bos, *ids], key=len)
        return True

    def _next_pass(self) -> None:
        self.epoch += 1
        self.next_document = 0
        self._documents = documents(self.folder, 0, self.rank, self.world)
