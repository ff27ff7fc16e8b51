"""Next-token loss without the batch × time × vocabulary float32 logits.

The head's product, the softcap, the softmax and their gradients are done for a few hundred positions at a time, so that the
logits of one slice stay in cache (the idea of Apple's CCE, arXiv 2411.09009, and Liger's fused linear cross-entropy).
"""

import torch
import torch.nn.functional as F
from torch import nn

IGNORE = -100


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_NC, weight_VC, targets_N, softcap, rows):
        total = hidden_NC.new_zeros((), dtype=torch.float32)
        grad_hidden_NC = torch.empty_like(hidden_NC)
        grad_weight_VC = torch.zeros_like(weight_VC, dtype=torch.float32)
        for start in range(0, len(targets_N), rows):
            piece = slice(start, start + rows)
            logits_RV, tanh_RV = _logits(hidden_NC[piece], weight_VC, softcap)
            keep_R = targets_N[piece] != IGNORE
            gold_R1 = targets_N[piece].clamp(min=0)[:, None]
            gold_logits_R1 = logits_RV.gather(1, gold_R1)
            # Capped logits are bounded, so exp needs no maximum taken off and the slice is read once less.
            top_R1 = logits_RV.amax(1, keepdim=True) if softcap is None else logits_RV.new_zeros(())
            exp_RV = logits_RV.sub_(top_R1).exp_()
            sum_R1 = exp_RV.sum(1, keepdim=True)
            total += (sum_R1.log() + top_R1 - gold_logits_R1)[keep_R].sum()
            grad_RV = exp_RV.mul_(keep_R[:, None] / sum_R1)
            grad_RV.scatter_add_(1, gold_R1, -keep_R[:, None].to(grad_RV.dtype))
            if tanh_RV is not None:
                grad_RV.mul_(tanh_RV.square_().neg_().add_(1))
            grad_RV = grad_RV.to(hidden_NC.dtype)
            torch.mm(grad_RV, weight_VC.to(hidden_NC.dtype), out=grad_hidden_NC[piece])
            grad_weight_VC += grad_RV.T @ hidden_NC[piece]
        ctx.save_for_backward(grad_hidden_NC, grad_weight_VC.to(weight_VC.dtype))
        return total

    @staticmethod
    def backward(ctx, grad):
        grad_hidden_NC, grad_weight_VC = ctx.saved_tensors
        return grad_hidden_NC * grad.to(grad_hidden_NC.dtype), grad_weight_VC * grad, None, None, None


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
        F.cross_entropy(_logits(part_RC, head.weight, softcap)[0], gold_R, ignore_index=IGNORE, reduction="none")
        for part_RC, gold_R in zip(hidden_NC.split(rows), targets_N.split(rows), strict=True)
    ]
    return torch.cat(losses).view_as(targets_BT)


def _logits(hidden_RC: torch.Tensor, weight_VC: torch.Tensor, softcap: float | None):
    """Capped float32 logits and the tanh they are made of (None without a cap)."""
    logits_RV = (hidden_RC @ weight_VC.to(hidden_RC.dtype).T).float()
    if softcap is None:
        return logits_RV, None
    tanh_RV = logits_RV.div_(softcap).tanh_()
    return tanh_RV * softcap, tanh_RV


def _rows(weight_VC: torch.Tensor) -> int:
    """Positions a slice: about 16 MB of logits on a CPU, where caches are small, and 1 GB on a GPU."""
    budget = 4_000_000 if weight_VC.device.type == "cpu" else 256_000_000
    return max(16, budget // weight_VC.size(0))
