"""Losses of answer options under any causal language model, with nothing computed twice and nothing computed in vain.

An option is a token sequence and where its scored part begins. The tokens that an example's options share are run once
into a key-value cache; the rest of all options follows as one row in which an option sees the shared prefix and itself
(the tree attention of SpecInfer, arXiv 2305.09781, used here to score). Logits are made for the scored stretch only, by
the model's own forward, and cross-entropy is taken in float32. A model that cannot do this (recurrent, biased by
position, no such cache) is found out by a trial against plain forwards and gets whole prompts, padded on the right.
"""

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn.functional import cross_entropy
from transformers import DynamicCache

MAX_LOGITS = 2**28  # kept logits in one batch: 1 GiB in float32
MIN_SAVING = 1.25  # a second forward must save a fifth of the tokens
TRIAL_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}


@dataclass(frozen=True)
class Option:
    """Token ids, and the index of the first scored one; everything from there to the end is scored."""

    tokens: list[int]
    start: int

    @property
    def empty(self) -> bool:
        """Nothing to score: no token, or no token in front to predict the first from."""
        return self.start == 0 or self.start >= len(self.tokens)


@dataclass(frozen=True)
class Score:
    """Mean negative log-likelihood of the scored tokens in nats (NaN: none), and whether each was the argmax."""

    loss: float
    greedy: bool


@dataclass(eq=False)
class _Job:
    """One example: its distinct inputs (the last token of an option predicts nothing), and the spans scored on them."""

    rows: list[tuple[int, ...]]
    spans: list[tuple[int, int, tuple[int, ...]]]  # row, first target's position, targets
    span_of_option: list[int | None]
    prefix: int = 0  # tokens run once for all rows; 0: rows are run whole
    scores: list[Score] = field(default_factory=list)

    @property
    def longest(self) -> int:
        return max(map(len, self.rows))

    @property
    def suffix(self) -> int:
        return sum(len(row) - self.prefix for row in self.rows)


class Scorer:
    """Scores options in batches of like length.

    Args:
        model: any causal language model of transformers, PEFT-wrapped ones too.
        batch_tokens: padded tokens in one forward; by default 1,024 on a CPU, which its caches hold, else 32,768.
    """

    def __init__(self, model, batch_tokens: int | None = None):
        self.model = model.eval()
        self.device = model.get_input_embeddings().weight.device
        self.batch_tokens = batch_tokens or (1024 if self.device.type == "cpu" else 32768)
        plain = model.get_base_model() if hasattr(model, "get_base_model") else model
        config = plain.config.get_text_config()
        self.vocabulary = config.vocab_size
        self.short_rope = _short_rope(config)
        windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")]
        self.window = min([window for window in windows if isinstance(window, int)], default=math.inf)
        self.trims = self.shares = False
        self._try_out("logits_to_keep" in inspect.signature(plain.forward).parameters)

    def score(self, examples: list[list[Option]]) -> list[list[Score]]:
        """Score every option of every example; equal options of one example get equal scores, bit for bit."""
        jobs = [self._job(options) for options in examples]
        nothing = Score(math.nan, False)
        with torch.inference_mode():
            for batch in self._batches([job for job in jobs if job.spans]):
                self._run(batch)
        return [[nothing if span is None else job.scores[span] for span in job.span_of_option] for job in jobs]

    def _job(self, options: list[Option]) -> _Job:
        rows: dict[tuple[int, ...], int] = {}
        spans: dict[tuple[int, int, tuple[int, ...]], int] = {}
        span_of_option: list[int | None] = []
        for option in options:
            if option.empty:
                span_of_option.append(None)
                continue
            row = rows.setdefault(tuple(option.tokens[:-1]), len(rows))
            span = (row, option.start, tuple(option.tokens[option.start :]))
            span_of_option.append(spans.setdefault(span, len(spans)))
        job = _Job(list(rows), list(spans), span_of_option)
        if self.shares and len(rows) > 1 and job.longest <= self.short_rope:
            shared = common_length(job.rows)
            whole = sum(map(len, job.rows))
            job.prefix = min(shared, *(start - 1 for _, start, _ in job.spans))
            if job.prefix + job.suffix > self.window or whole < MIN_SAVING * (job.prefix + job.suffix):
                job.prefix = 0
        return job

    def _batches(self, jobs: list[_Job]) -> Iterator[list[_Job]]:
        """Longest first: what does not fit in memory shows at once."""
        shared = sorted((job for job in jobs if job.prefix), key=lambda job: (job.prefix, job.suffix), reverse=True)
        whole = sorted((job for job in jobs if not job.prefix), key=lambda job: job.longest, reverse=True)
        for group in (shared, whole):
            batch: list[_Job] = []
            for job in group:
                if batch and not self._fits([*batch, job]):
                    yield batch
                    batch = []
                batch.append(job)
            if batch:
                yield batch

    def _fits(self, batch: list[_Job]) -> bool:
        if batch[0].prefix:
            suffix = max(job.suffix for job in batch)
            width = max(job.prefix for job in batch) + suffix
            height, kept = len(batch), suffix if self.trims else width
        else:
            width = max(job.longest for job in batch)
            height, (low, high) = sum(len(job.rows) for job in batch), _scored_range(batch)
            kept = high - low if self.trims else width
            # such a model turns its positions otherwise from this length on: a long row would change the short ones
            if width > self.short_rope:
                return False
        alone = height * width <= self.batch_tokens and height * kept * self.vocabulary <= MAX_LOGITS
        return alone and (not batch[0].prefix or width <= self.window)

    def _run(self, batch: list[_Job]) -> None:
        logits_BUV, places = self._shared(batch) if batch[0].prefix else self._whole(batch)
        at_B, at_U, targets = [], [], []
        for job, row_places in zip(batch, places, strict=True):
            for row, start, scored in job.spans:
                b, offset = row_places[row]
                at_B += [b] * len(scored)
                at_U += range(start - 1 - offset, start - 1 - offset + len(scored))
                targets += scored
        at_B, at_U, targets_N = (torch.tensor(values, device=logits_BUV.device) for values in (at_B, at_U, targets))
        losses_N, hits_N = self._compare(logits_BUV, at_B, at_U, targets_N)
        n = 0
        for job in batch:
            for _, _, scored in job.spans:
                m = n + len(scored)
                job.scores.append(Score(losses_N[n:m].mean().item(), bool(hits_N[n:m].all())))
                n = m

    def _whole(self, batch: list[_Job]):
        """Rows padded on the right without a mask: causal, so padding is seen by nobody."""
        rows = [row for job in batch for row in job.rows]
        low, high = _scored_range(batch) if self.trims else (0, 0)
        keep = {"logits_to_keep": torch.arange(low, high, device=self.device)} if self.trims else {}
        logits_BUV = self.model(self._pad(rows), use_cache=False, **keep).logits
        numbers = iter(range(len(rows)))
        return logits_BUV, [[(next(numbers), low) for _ in job.rows] for job in batch]

    def _shared(self, batch: list[_Job]):
        """The prefixes into a cache, then all options of an example in one row, each blind to the others."""
        cache = DynamicCache()
        prefix_BP = self._pad([job.rows[0][: job.prefix] for job in batch])
        self.model(prefix_BP, past_key_values=cache, use_cache=True, **({"logits_to_keep": 1} if self.trims else {}))
        suffixes, positions, owners, places = [], [], [], []
        for b, job in enumerate(batch):
            suffix, position, owner, row_places = [], [], [], []
            for number, row in enumerate(job.rows):
                row_places.append((b, job.prefix - len(suffix)))
                suffix += row[job.prefix :]
                position += range(job.prefix, len(row))
                owner += [number + 1] * (len(row) - job.prefix)
            suffixes.append(suffix)
            positions.append(position)
            owners.append(owner)
            places.append(row_places)
        owner_BQ = self._pad(owners)
        lengths_B = torch.tensor([job.prefix for job in batch], device=self.device)
        out = self.model(
            self._pad(suffixes),
            past_key_values=cache,
            use_cache=True,
            position_ids=self._pad(positions),
            attention_mask=_tree_mask(lengths_B, prefix_BP.shape[1], owner_BQ, self.model.dtype),
        )
        return out.logits, places

    def _compare(self, logits_BUV, at_B, at_U, targets_N):
        """(losses, argmax hits) of the scored places on the CPU; in slices, so that float32 copies stay small."""
        losses, hits = [], []
        step = max(1, MAX_LOGITS // 8 // self.vocabulary)
        for b, u, targets_n in zip(at_B.split(step), at_U.split(step), targets_N.split(step), strict=True):
            logits_NV = logits_BUV[b, u]
            losses.append(cross_entropy(logits_NV.float(), targets_n, reduction="none"))
            hits.append(logits_NV.argmax(dim=-1) == targets_n)
        return torch.cat(losses).cpu(), torch.cat(hits).cpu()

    def _pad(self, rows) -> torch.Tensor:
        width = max(map(len, rows))
        return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=self.device)

    def _try_out(self, may_trim: bool) -> None:
        """Use each short cut only where it gives the losses of plain forwards on random tokens."""
        draw = torch.randint(self.vocabulary, (40,), generator=torch.Generator().manual_seed(0)).tolist()
        options = [Option(draw[:9] + draw[at : at + more], 9) for at, more in ((20, 4), (25, 2), (30, 6))]
        shorter = [Option(draw[2:6] + draw[at : at + more], 4) for at, more in ((11, 3), (15, 3), (31, 2))]
        plain = self.score([options, shorter])
        short_cuts = ["trims"] * may_trim + ["shares"] * (min(self.window, self.short_rope) >= len(draw))
        for short_cut in short_cuts:
            setattr(self, short_cut, True)
            try:
                tried = self.score([options, shorter])
            except Exception:  # whatever a foreign model's forward raises here means only that it cannot do this
                setattr(self, short_cut, False)
                continue
            gaps = [abs(a.loss - b.loss) for x, y in zip(plain, tried, strict=True) for a, b in zip(x, y, strict=True)]
            setattr(self, short_cut, max(gaps) <= TRIAL_TOLERANCE.get(self.model.dtype, 0.25))


def common_length(sequences: Sequence[Sequence[int]]) -> int:
    """The length of the longest prefix that all sequences share."""
    first, last = min(sequences), max(sequences)  # all others lie between the two in dictionary order
    return next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))


def _scored_range(batch: list[_Job]) -> tuple[int, int]:
    """The stretch of positions, end excluded, whose logits some span of the batch needs."""
    starts = [(start - 1, start - 1 + len(targets)) for job in batch for _, start, targets in job.spans]
    return min(low for low, _ in starts), max(high for _, high in starts)


def _tree_mask(lengths_B, width: int, owner_BQ, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask (B, 1, Q, width + Q): the cached prefix without its padding, and one's own option up to oneself."""
    batch, queries = owner_BQ.shape
    prefix_BP = torch.arange(width, device=owner_BQ.device) < lengths_B[:, None]
    own_BQQ = (owner_BQ[:, :, None] == owner_BQ[:, None, :]).tril()
    seen_BQK = torch.cat([prefix_BP[:, None].expand(batch, queries, width), own_BQQ], dim=-1)
    hidden_BQK = torch.zeros(seen_BQK.shape, dtype=dtype, device=owner_BQ.device)
    return hidden_BQK.masked_fill(~seen_BQK, torch.finfo(dtype).min)[:, None]


def _short_rope(config) -> float:
    """The longest sequence for which a longrope model keeps its short factors; no limit for all others."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [value for value in rope.values() if isinstance(value, dict)] or [rope]
    if not any(kind.get("rope_type") == "longrope" for kind in kinds):
        return math.inf
    stated = [kind.get("original_max_position_embeddings") for kind in kinds]
    stated.append(getattr(config, "original_max_position_embeddings", None))
    return min([length for length in stated if length], default=math.inf)
