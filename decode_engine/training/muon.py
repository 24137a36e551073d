"""AdamW whose convolution kernels move by orthogonalised momentum (Muon)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["MuonAdamW", "orthogonalised"]

_MOMENTUM = 0.95
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
# An odd polynomial of degree five that brings all singular values to 0.7..1.2 in five steps
# (Jordan et al. 2024, "Muon: an optimizer for hidden layers").
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
# Four times what makes updates as large as AdamW's (Liu et al. 2025, arXiv 2502.16982): kernels
# bear four times the rate of biases and outer layers, so that one learning rate serves all.
_RMS = 0.8


def orthogonalised(matrices: Tensor) -> Tensor:
    """Return matrices (B, M, N) with the same singular vectors and singular values near 1.

    All steps are polynomials of the smaller Gram matrix, so they are multiplied there; the
    matrices themselves are used at the beginning and at the end only.
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.mT
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    whole = identity.expand_as(gram)
    for left in reversed(range(_ITERATIONS)):
        factor = torch.baddbmm(b * gram, gram, gram, alpha=c) + a * identity
        whole = factor @ whole
        if left:
            gram = factor @ gram @ factor
    result: Tensor = whole @ x
    return result.mT if tall else result


class MuonAdamW(torch.optim.Optimizer):
    """Muon for groups with ``orthogonal`` True, AdamW for the others.

    Kernels (O, I, h, w) count as matrices (O, I h w). Their updates have the root mean square
    of AdamW's, so that one learning rate and one weight decay serve both.

    Parameters
    ----------
    groups : iterable of dict
        ``params``, and optionally ``weight_decay`` and ``orthogonal``.
    lr : float
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(list(groups), {"lr": lr, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the parameters that have a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            moves = self._orthogonal(parameters) if group["orthogonal"] else self._adam(parameters)
            torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, moves, alpha=-group["lr"])
        return loss

    def _orthogonal(self, parameters: list[Tensor]) -> list[Tensor]:
        gradients = [p.grad for p in parameters if p.grad is not None]
        momenta = [self._zeros(p, "momentum") for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1.0 - _MOMENTUM)
        ahead = list(torch._foreach_lerp(gradients, momenta, _MOMENTUM))
        same_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for i, move in enumerate(ahead):
            same_shape[move.shape].append(i)
        for shape, indices in same_shape.items():
            matrices = torch.stack([ahead[i].flatten(1) for i in indices])
            scale = _RMS * math.sqrt(max(matrices.shape[1:]))
            for i, move in zip(indices, orthogonalised(matrices) * scale, strict=True):
                ahead[i] = move.view(shape)
        return ahead

    def _adam(self, parameters: list[Tensor]) -> list[Tensor]:
        gradients = [p.grad for p in parameters if p.grad is not None]
        first = [self._zeros(p, "exp_avg") for p in parameters]
        second = [self._zeros(p, "exp_avg_sq") for p in parameters]
        for parameter in parameters:
            self.state[parameter].setdefault("step", torch.zeros(())).add_(1)
        count = float(self.state[parameters[0]]["step"])
        torch._foreach_lerp_(first, gradients, 1.0 - _BETAS[0])
        torch._foreach_mul_(second, _BETAS[1])
        torch._foreach_addcmul_(second, gradients, gradients, 1.0 - _BETAS[1])
        scale = torch._foreach_div(second, 1.0 - _BETAS[1] ** count)
        torch._foreach_sqrt_(scale)
        torch._foreach_add_(scale, _EPSILON)
        moves = torch._foreach_div(first, 1.0 - _BETAS[0] ** count)
        torch._foreach_div_(moves, scale)
        return list(moves)

    def _zeros(self, parameter: Tensor, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        zeros: Tensor = state[name]
        return zeros
