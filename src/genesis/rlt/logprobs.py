"""Log-probabilities of chosen tokens of many texts, for any causal language model of transformers.

Texts that begin alike share one pass over the common beginning: its keys and values are computed once. The rests are
sorted by length, padded on the right and run in batches; logits are made for the chosen tokens only, a slice at a time that
stays in cache. Whether output layer and soft cap are all that stands between a model's hidden states and its logits is tried
before anything is scored; where it is not, the model's own forward makes them, so that scales are right whatever the
architecture. Padding stands to the right of every token that counts, where a causal model cannot see it, so no row needs a
mask of its own.
"""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from genesis.roomy_cache import keeps_everything

MIN_SHARED = 16  # tokens of a common beginning
MAX_EXPONENT = 60  # e to this, summed over a vocabulary, is a float32
MIN_GROUP = 4  # texts; two forwards for fewer take longer than reading the beginning again


@dataclass(frozen=True)
class Request:
    """Token ids of a text and the positions (rising, none 0) whose log-probability is wanted."""

    ids: list[int]
    keep: list[int]


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Switch dropout and the like off, and every module back to what it was afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def plain(model: torch.nn.Module) -> torch.nn.Module:
    """The transformers model inside wrappers of DistributedDataParallel and PEFT."""
    model = getattr(model, "module", model)
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def context_length(model: torch.nn.Module) -> int | None:
    """How many tokens the model can read; None where its configuration sets no bound."""
    return getattr(plain(model).config.get_text_config(), "max_position_embeddings", None)


@torch.no_grad()
def token_logprobs(
    model: torch.nn.Module,
    requests: list[Request],
    *,
    temperature: float,
    batch_tokens: int,
    logit_bytes: int,
) -> list[torch.Tensor]:
    """Score every request; the values do not depend on what else is in the list.

    Args:
        model: a causal language model; put into evaluation mode and back, never given gradients.
        requests: what to score, in any order.
        temperature: divides all logits.
        batch_tokens: padded tokens run at once (one text at least).
        logit_bytes: memory for one batch's logits where the model's own forward makes them (one text at least).

    Returns:
        For every request its kept tokens' log-probabilities, float64 on the CPU, shape (len(keep),).
    """
    results: list[torch.Tensor] = [torch.empty(0, dtype=torch.float64)] * len(requests)
    with evaluating(model):
        scorer = _Scorer(model, temperature, batch_tokens, logit_bytes)
        for group in _groups(requests):
            for index, logprobs_K in scorer.run(group, requests):
                results[index] = logprobs_K
    return results


def _groups(requests: list[Request]) -> list[list[int]]:
    """Indices of requests with the same tokens before the first kept one; those with few of a kind form one group."""
    groups = defaultdict(list)
    for index, request in enumerate(requests):
        if request.keep:
            groups[tuple(request.ids[: request.keep[0] - 1])].append(index)
    few = [index for members in groups.values() if len(members) < MIN_GROUP for index in members]
    return [members for members in groups.values() if len(members) >= MIN_GROUP] + ([few] if few else [])


class _Scorer:
    def __init__(self, model: torch.nn.Module, temperature: float, batch_tokens: int, logit_bytes: int):
        inner = plain(model)
        config = inner.config.get_text_config()
        self.model = model
        self.device = next(model.parameters()).device
        self.temperature = temperature
        self.softcap = getattr(config, "final_logit_softcapping", None)
        self.bounded = self.softcap is not None and self.softcap / temperature < MAX_EXPONENT
        self.slice_elements = 2**18 if self.device.type == "cpu" else 2**26
        self.can_keep = "logits_to_keep" in inspect.signature(inner.forward).parameters
        # One mask for all rows, made here, spares these two a copy of it for every row and layer.
        self.makes_mask = inner.config._attn_implementation in ("sdpa", "eager")
        self.can_share, self.can_split = self._same(self._behind_a_beginning, self._in_two_steps)
        fit = logit_bytes // (inner.dtype.itemsize * config.vocab_size)
        self.batch_tokens = batch_tokens if self.can_split else min(batch_tokens, fit)

    def run(self, group: list[int], requests: list[Request]) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield (index, log-probabilities) of one group that may share its beginning."""
        shared = self._shared_length([requests[index] for index in group]) if self.can_share else 0
        cache = self._prefill(requests[group[0]].ids[:shared]) if shared else None
        for batch in self._batches(group, requests, shared):
            chosen = [requests[index] for index in batch]
            values_N = self._score(chosen, shared, cache)
            yield from zip(batch, values_N.split([len(request.keep) for request in chosen]), strict=True)

    def _shared_length(self, group: list[Request]) -> int:
        if len(group) < 2:
            return 0
        low, high = min(request.ids for request in group), max(request.ids for request in group)
        # The first kept token's logits come from the token before it, which must stay in the rest.
        most = min(request.keep[0] - 1 for request in group)
        length = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b or i == most), most)
        return length if length >= MIN_SHARED else 0

    def _batches(self, group: list[int], requests: list[Request], shared: int) -> Iterator[list[int]]:
        """Cut the group, longest first, into batches within the limits."""
        batch: list[int] = []
        longest = 0
        for index in sorted(group, key=lambda index: -len(requests[index].ids)):
            if batch and (len(batch) + 1) * longest > self.batch_tokens:
                yield batch
                batch = []
            if not batch:
                longest = len(requests[index].ids) - shared
            batch.append(index)
        yield batch

    def _prefill(self, ids: list[int]) -> DynamicCache | None:
        """Keys and values of a beginning; None where the model keeps anything else (a window, a state)."""
        options = {"logits_to_keep": 1} if self.can_keep else {}
        output = self.model(input_ids=torch.tensor([ids], device=self.device), use_cache=True, **options)
        cache = getattr(output, "past_key_values", None)
        return cache if isinstance(cache, DynamicCache) and keeps_everything(cache) else None

    def _options(self, ids_BT: torch.Tensor, cache: DynamicCache | None) -> dict:
        """What a forward needs beside the ids, behind the cached beginning where there is one."""
        if cache is None:
            return {"use_cache": False}
        mask = {"attention_mask": self._mask(cache.get_seq_length(), ids_BT.shape[1])} if self.makes_mask else {}
        return {"past_key_values": _repeat(cache, len(ids_BT)), **mask}

    def _logits(self, ids_BT: torch.Tensor, cache: DynamicCache | None, keep_U: torch.Tensor) -> torch.Tensor:
        """Logits (B, U, V) at the kept places of every row, by the model's own forward."""
        options = self._options(ids_BT, cache) | ({"logits_to_keep": keep_U} if self.can_keep else {})
        logits_BUV = self.model(input_ids=ids_BT, **options).logits
        return logits_BUV if self.can_keep else logits_BUV[:, keep_U]

    def _hidden(self, ids_BT: torch.Tensor, cache: DynamicCache | None) -> torch.Tensor:
        """Last hidden states (B, T, C)."""
        return plain(self.model).base_model(input_ids=ids_BT, **self._options(ids_BT, cache)).last_hidden_state

    def _head(self, hidden_NC: torch.Tensor) -> torch.Tensor:
        """Logits (N, V) in float32, from hidden states."""
        logits_NV = plain(self.model).get_output_embeddings()(hidden_NC).float()
        return logits_NV if self.softcap is None else logits_NV.div_(self.softcap).tanh_().mul_(self.softcap)

    def _mask(self, shared: int, rest: int) -> torch.Tensor:
        """Additive causal mask of the rest over everything, (1, 1, rest, shared + rest)."""
        dtype = plain(self.model).dtype
        lowest = torch.full((rest, rest), torch.finfo(dtype).min, dtype=dtype, device=self.device).triu(1)
        return torch.cat([lowest.new_zeros(rest, shared), lowest], dim=1)[None, None]

    def _same(self, *ways: Callable[[torch.Tensor, torch.Tensor], torch.Tensor | None]) -> list[bool]:
        """Try ways to logits beside the plain one on a few tokens: positions, masks or scales of some models differ."""
        ids_BT = torch.tensor([[0, 1, 2, 3, 2, 1, 0], [0, 1, 2, 3, 1, 0, 2]], device=self.device)
        keep_U = torch.arange(4, 7, device=self.device)
        whole = self._logits(ids_BT, None, keep_U).float()
        near = max(1e-4, 16 * torch.finfo(plain(self.model).dtype).eps) * whole.abs().max()
        same = []
        for way in ways:
            try:
                found = way(ids_BT, keep_U)
            except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
                found = None
            same.append(found is not None and bool((found.float() - whole).abs().max() <= near))
        return same

    def _behind_a_beginning(self, ids_BT: torch.Tensor, keep_U: torch.Tensor) -> torch.Tensor | None:
        cache = self._prefill(ids_BT[0, :4].tolist())
        return None if cache is None else self._logits(ids_BT[:, 4:], cache, keep_U - 4)

    def _in_two_steps(self, ids_BT: torch.Tensor, keep_U: torch.Tensor) -> torch.Tensor:
        return self._head(self._hidden(ids_BT, None)[:, keep_U])

    def _score(self, batch: list[Request], shared: int, cache: DynamicCache | None) -> torch.Tensor:
        """Log-probabilities of the kept tokens of a batch, one row after the other."""
        # The last kept token is only predicted, never read.
        rests = [request.ids[shared : request.keep[-1]] for request in batch]
        longest = max(map(len, rests))
        ids_BT = torch.tensor([rest + [0] * (longest - len(rest)) for rest in rests]).to(self.device)
        rows_N = torch.tensor([row for row, request in enumerate(batch) for _ in request.keep])
        at_N = torch.tensor([position - 1 - shared for request in batch for position in request.keep])
        labels_N = torch.tensor([request.ids[position] for request in batch for position in request.keep])
        if self.can_split:
            states_NS, last = self._hidden(ids_BT, cache)[rows_N, at_N], self._head
        else:
            keep_U, at_N = torch.unique(at_N, return_inverse=True)
            states_NS, last = self._logits(ids_BT, cache, keep_U.to(self.device))[rows_N, at_N], torch.Tensor.float
        return self._logprobs(states_NS, labels_N.to(self.device), last).double()

    def _logprobs(
        self, states_NS: torch.Tensor, labels_N: torch.Tensor, last: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Softmax in float32, a slice at a time: what is copied stays small, and in a processor's cache."""
        rows = max(1, self.slice_elements // plain(self.model).config.get_text_config().vocab_size)
        values = []
        for states, labels in zip(states_NS.split(rows), labels_N.split(rows), strict=True):
            logits_NV = last(states) / self.temperature
            gold_N = logits_NV.gather(1, labels[:, None])[:, 0]
            # Capped logits are bounded, so exp needs no maximum taken off and the slice is read twice less.
            total_N = logits_NV.exp_().sum(-1).log() if self.bounded else logits_NV.logsumexp(-1)
            values.append(gold_N - total_N)
        return torch.cat(values).cpu()


def _repeat(cache: DynamicCache, rows: int) -> DynamicCache:
    """The cache for several rows, as a view: the model's first write copies it."""
    repeated = DynamicCache()
    for source in cache.layers:
        layer = DynamicLayer()
        layer.lazy_initialization(source.keys, source.values)
        layer.keys = source.keys.expand(rows, -1, -1, -1)
        layer.values = source.values.expand(rows, -1, -1, -1)
        repeated.layers.append(layer)
    return repeated
