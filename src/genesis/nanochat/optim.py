"""Muon for the layers' matrices, AdamW for embeddings and head, as in nanochat.

torch's Muon iterates in bfloat16, which a CPU without bf16 units runs a hundred times slower than float32; ours orthogonalises
in float32 there, all matrices of one shape in one batch, and is torch's own everywhere else.
"""

import math
from collections import defaultdict

import torch
from torch import nn
from torch.optim._muon import DEFAULT_A, DEFAULT_B, DEFAULT_C, EPS


class Muon(torch.optim.Muon):
    """torch.optim.Muon with float32, shape-batched Newton-Schulz on the CPU (Keller Jordan's Muon)."""

    @torch.no_grad()
    def step(self, closure=None):
        """One update; see torch.optim.Muon."""
        if any(p.device.type != "cpu" for group in self.param_groups for p in group["params"]):
            return super().step(closure)
        loss = torch.enable_grad()(closure)() if closure is not None else None
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[p.shape].append(p)
            for shape, params in by_shape.items():
                updates_SRC = orthogonalise(self._momentum(params, group), group["ns_steps"])
                rate = group["lr"] * _shape_factor(shape, group["adjust_lr_fn"])
                for p, update_RC in zip(params, updates_SRC, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update_RC, alpha=-rate)
        return loss

    def _momentum(self, params: list[torch.Tensor], group: dict) -> torch.Tensor:
        updates = []
        for p in params:
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p.grad)
            buffer = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
            updates.append(p.grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer)
        return torch.stack(updates)


def orthogonalise(matrices_SRC: torch.Tensor, steps: int) -> torch.Tensor:
    """The nearest semi-orthogonal matrix of each, roughly, by `steps` quintic Newton-Schulz iterations in float32."""
    tall = matrices_SRC.size(1) > matrices_SRC.size(2)
    x_SRC = matrices_SRC.float().mT if tall else matrices_SRC.float()
    x_SRC = x_SRC / x_SRC.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    for _ in range(steps):
        gram_SRR = x_SRC @ x_SRC.mT
        gram_SRR = torch.baddbmm(gram_SRR, gram_SRR, gram_SRR, beta=DEFAULT_B, alpha=DEFAULT_C)
        x_SRC = torch.baddbmm(x_SRC, gram_SRR, x_SRC, beta=DEFAULT_A)
    return x_SRC.mT if tall else x_SRC


def _shape_factor(shape: torch.Size, rule: str | None) -> float:
    if rule == "match_rms_adamw":
        return 0.2 * math.sqrt(max(shape))
    return math.sqrt(max(1, shape[0] / shape[1]))


def build_optimizers(
    model: nn.Module, matrix_lr: float, embedding_lr: float, head_lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon over the layers' matrices and AdamW over the rest; every group keeps its `initial_lr` for the schedule.

    Embedding and head rates fall with the square root of the width, as nanochat tunes them at width 768.
    """
    embedding = model.get_input_embeddings().weight
    head = model.get_output_embeddings().weight
    rest = [p for p in model.parameters() if p.ndim != 2 and p.requires_grad]
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embedding and p is not head]
    scale = (model.config.hidden_size / 768) ** -0.5
    groups = [{"params": [embedding], "lr": embedding_lr * scale}]
    if head is not embedding:
        groups.append({"params": [head], "lr": head_lr * scale})
    if rest:
        groups.append({"params": rest, "lr": head_lr * scale})
    optimizers = [
        torch.optim.AdamW(groups, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0, fused=True),
        Muon(matrices, lr=matrix_lr, momentum=0.95, weight_decay=weight_decay),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers
