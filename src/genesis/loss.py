"""Next-token loss without the batch × time × vocabulary float32 logits.

The head's product, the softcap, the softmax and their gradients are done for a few hundred positions at a time, in memory that
every slice uses again (the idea of Apple's CCE, arXiv 2411.09009, and Liger's fused linear cross-entropy).
"""

import torch
import torch.nn.functional as F
from torch import nn

IGNORE = -100


class _SummedLoss(torch.autograd.Function):
    """Loss and gradients of one slice after another; logits stand as V × R, the faster way round for both products."""

    @staticmethod
    def forward(ctx, hidden_NC, weight_VC, targets_N, softcap, rows):
        head_VC = weight_VC.to(hidden_NC.dtype)
        total = hidden_NC.new_zeros((), dtype=torch.float32)
        grad_hidden_NC = torch.empty_like(hidden_NC)
        grad_weight_VC = torch.zeros_like(weight_VC, dtype=torch.float32)
        room = _Room(len(head_VC), min(rows, len(targets_N)), softcap, hidden_NC.device)
        for start in range(0, len(targets_N), rows):
            piece = slice(start, start + rows)
            hidden_RC = hidden_NC[piece]
            keep_1R = (targets_N[piece] != IGNORE)[None]
            gold_1R = targets_N[piece].clamp(min=0)[None]
            logits_VR, tanh_VR = room.logits(head_VC, hidden_RC)
            if tanh_VR is None:  # capped logits are bounded: their exp needs no maximum taken off
                logits_VR.sub_(logits_VR.amax(0, keepdim=True))
            gold_logits_1R = logits_VR.gather(0, gold_1R)
            grad_VR = logits_VR.exp_()
            sum_1R = grad_VR.sum(0, keepdim=True)
            total += (sum_1R.log() - gold_logits_1R)[keep_1R].sum()
            grad_VR.scatter_add_(0, gold_1R, -sum_1R)
            if tanh_VR is not None:
                grad_VR.addcmul_(grad_VR, tanh_VR.square_(), value=-1)
            grad_VR = grad_VR.to(head_VC.dtype)
            scale_R1 = (keep_1R / sum_1R).T.to(head_VC.dtype)  # on the narrow sides: V × R is read once less
            torch.mm(grad_VR.T, head_VC, out=grad_hidden_NC[piece]).mul_(scale_R1)
            _add_product(grad_weight_VC, grad_VR, hidden_RC * scale_R1)
        ctx.save_for_backward(grad_hidden_NC, grad_weight_VC.to(weight_VC.dtype))
        return total

    @staticmethod
    def backward(ctx, grad):
        grad_hidden_NC, grad_weight_VC = ctx.saved_tensors
        return grad_hidden_NC * grad.to(grad_hidden_NC.dtype), grad_weight_VC * grad, None, None, None


class _Room:
    """The memory of one slice's logits, taken once: new pages for every slice cost as much as the softmax."""

    def __init__(self, vocabulary: int, rows: int, softcap: float | None, device: torch.device):
        self.vocabulary, self.softcap = vocabulary, softcap
        self.logits_flat = torch.empty(vocabulary * rows, device=device)
        self.tanh_flat = None if softcap is None else torch.empty_like(self.logits_flat)

    def logits(self, head_VC: torch.Tensor, hidden_RC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Capped float32 logits, V × R, and the tanh they are made of (None without a cap)."""
        logits_VR = self._part(self.logits_flat, len(hidden_RC))
        if self.softcap is None:
            return _product(head_VC, hidden_RC.T, logits_VR), None
        tanh_VR = _product(head_VC, hidden_RC.T, self._part(self.tanh_flat, len(hidden_RC)), 1 / self.softcap).tanh_()
        return torch.mul(tanh_VR, self.softcap, out=logits_VR), tanh_VR

    def _part(self, flat: torch.Tensor, rows: int) -> torch.Tensor:
        return flat[: self.vocabulary * rows].view(self.vocabulary, rows)


def _product(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """`out` = scale · a b, in float32 whatever the factors are."""
    if a.dtype == out.dtype:
        return torch.addmm(out, a, b, beta=0, alpha=scale, out=out)
    return out.copy_(a @ b).mul_(scale)


def _add_product(total: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """`total` += a b, in float32 whatever the factors are."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total.add_(a @ b)


def summed_loss(
    hidden_BTC: torch.Tensor, head: nn.Linear, targets_BT: torch.Tensor, softcap: float | None
) -> torch.Tensor:
    """Sum of −log p(target) over positions whose target is not −100, in nats; differentiable in hidden and head.

    Args:
        hidden_BTC: last hidden states.
        head: the output projection, without bias.
        targets_BT: the token that each position must predict.
        softcap: logits are capped to ± softcap by tanh, None for no cap.
    """
    hidden_NC = hidden_BTC.reshape(-1, hidden_BTC.size(-1))
    device = hidden_NC.device.type
    if torch.is_autocast_enabled(device):  # a residual stream in float32 ends in float32
        hidden_NC = hidden_NC.to(torch.get_autocast_dtype(device))
    return _SummedLoss.apply(hidden_NC, head.weight, targets_BT.reshape(-1), softcap, _rows(head.weight))


@torch.no_grad()
def token_losses(
    hidden_BTC: torch.Tensor, head: nn.Linear, targets_BT: torch.Tensor, softcap: float | None
) -> torch.Tensor:
    """−log p(target) of every position in nats, shape B × T, zero where the target is −100."""
    hidden_NC = hidden_BTC.reshape(-1, hidden_BTC.size(-1))
    targets_N = targets_BT.reshape(-1)
    rows = _rows(head.weight)
    losses = [
        F.cross_entropy(_logits(part_RC, head.weight, softcap), gold_R, ignore_index=IGNORE, reduction="none")
        for part_RC, gold_R in zip(hidden_NC.split(rows), targets_N.split(rows), strict=True)
    ]
    return torch.cat(losses).view_as(targets_BT)


def _logits(hidden_RC: torch.Tensor, weight_VC: torch.Tensor, softcap: float | None) -> torch.Tensor:
    """Capped float32 logits."""
    logits_RV = (hidden_RC @ weight_VC.to(hidden_RC.dtype).T).float()
    return logits_RV if softcap is None else logits_RV.div_(softcap).tanh_().mul_(softcap)


def _rows(weight_VC: torch.Tensor) -> int:
    """Positions a slice: 512 on a CPU or what 64 MB of logits hold, and 1 GB of them on a GPU."""
    if weight_VC.device.type == "cpu":
        return max(16, min(512, 16_000_000 // weight_VC.size(0)))
    return max(16, 256_000_000 // weight_VC.size(0))
