"""Log-probabilities of chosen tokens of many texts, for any causal language model of transformers.

Texts that begin alike share one pass over the common beginning: its keys and values are computed once. The rests are
sorted by length, padded on the right and run in batches; logits are made for the chosen tokens only, and by the model's
own forward, so that soft caps and scales are right whatever the architecture. Padding stands to the right of every
token that counts, where a causal model cannot see it, so no row needs a mask of its own.
"""

import inspect
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

MIN_SHARED = 16  # tokens of a common beginning
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
        logit_bytes: memory for one batch's logits (one text at least).

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
        self.model = model
        self.device = next(model.parameters()).device
        self.temperature = temperature
        logits = logit_bytes // (inner.dtype.itemsize * inner.config.get_text_config().vocab_size)
        self.batch_tokens = min(batch_tokens, logits)
        self.slice_elements = 2**18 if self.device.type == "cpu" else 2**26
        self.can_keep = "logits_to_keep" in inspect.signature(inner.forward).parameters
        # One mask for all rows, made here, spares these two a copy of it for every row and layer.
        self.makes_mask = inner.config._attn_implementation in ("sdpa", "eager")
        self.can_share = self._sharing_is_exact()

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
        whole = isinstance(cache, DynamicCache) and all(type(layer) is DynamicLayer for layer in cache.layers)
        return cache if whole else None

    def _forward(self, ids_BT: torch.Tensor, cache: DynamicCache | None, keep_U: torch.Tensor) -> torch.Tensor:
        """Logits at the kept places of every row (B, U, V), behind the cached beginning where there is one."""
        options = {"use_cache": False} if cache is None else {"past_key_values": _repeat(cache, len(ids_BT))}
        if cache is not None and self.makes_mask:
            options["attention_mask"] = self._mask(cache.get_seq_length(), ids_BT.shape[1])
        if self.can_keep:
            options["logits_to_keep"] = keep_U
        logits_BUV = self.model(input_ids=ids_BT, **options).logits
        return logits_BUV if self.can_keep else logits_BUV[:, keep_U]

    def _mask(self, shared: int, rest: int) -> torch.Tensor:
        """Additive causal mask of the rest over everything, (1, 1, rest, shared + rest)."""
        dtype = plain(self.model).dtype
        lowest = torch.full((rest, rest), torch.finfo(dtype).min, dtype=dtype, device=self.device).triu(1)
        return torch.cat([lowest.new_zeros(rest, shared), lowest], dim=1)[None, None]

    def _sharing_is_exact(self) -> bool:
        """Try a few tokens whole and behind a cached beginning: positions or masks of some models differ then."""
        ids_BT = torch.tensor([[0, 1, 2, 3, 2, 1, 0], [0, 1, 2, 3, 1, 0, 2]], device=self.device)
        rest_U = torch.arange(3, device=self.device)
        cache = self._prefill(ids_BT[0, :4].tolist())
        if cache is None:
            return False
        try:
            behind = self._forward(ids_BT[:, 4:], cache, rest_U).float()
        except (RuntimeError, ValueError, TypeError, IndexError):
            return False
        whole = self._forward(ids_BT, None, rest_U + 4).float()
        near = max(1e-4, 16 * torch.finfo(plain(self.model).dtype).eps)
        return bool((behind - whole).abs().max() <= near * whole.abs().max())

    def _score(self, batch: list[Request], shared: int, cache: DynamicCache | None) -> torch.Tensor:
        """Log-probabilities of the kept tokens of a batch, one row after the other."""
        # The last kept token is only predicted, never read.
        rests = [request.ids[shared : request.keep[-1]] for request in batch]
        longest = max(map(len, rests))
        ids_BT = torch.tensor([rest + [0] * (longest - len(rest)) for rest in rests])
        rows_N = torch.tensor([row for row, request in enumerate(batch) for _ in request.keep])
        at_N = torch.tensor([position - 1 - shared for request in batch for position in request.keep])
        labels_N = torch.tensor([request.ids[position] for request in batch for position in request.keep])
        keep_U, at_N = torch.unique(at_N, return_inverse=True)
        logits_BUV = self._forward(ids_BT.to(self.device), cache, keep_U.to(self.device))
        labels_BU = torch.zeros(len(batch), len(keep_U), dtype=torch.long)
        labels_BU[rows_N, at_N] = labels_N
        return self._logprobs(logits_BUV, labels_BU.to(self.device))[rows_N, at_N].double()

    def _logprobs(self, logits_BUV: torch.Tensor, labels_BU: torch.Tensor) -> torch.Tensor:
        """Softmax in float32, a slice at a time: what is copied stays small, and in a processor's cache."""
        step = max(1, self.slice_elements // logits_BUV.shape[-1])
        values = []
        for logits, labels in zip(logits_BUV.flatten(0, 1).split(step), labels_BU.flatten().split(step), strict=True):
            logits_NV = logits.float() / self.temperature
            values.append(logits_NV.gather(1, labels[:, None].to(logits.device))[:, 0] - logits_NV.logsumexp(-1))
        return torch.cat(values).view(labels_BU.shape).cpu()


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
