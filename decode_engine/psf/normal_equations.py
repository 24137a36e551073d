"""Batches of small symmetric systems, solved by an unrolled Cholesky factorisation.

LAPACK is called once per matrix and costs a microsecond each; here every scalar operation of
the factorisation runs over the whole batch, on any device and without double precision. The
matrices are scaled to a unit diagonal first, so units (px, nm, photons) do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["inverse_diagonal", "solve"]

# Below this, a scaled pivot means that a parameter cannot be told from the others.
_SMALLEST_PIVOT = 1e-6


@dataclass(frozen=True, slots=True)
class _Factor:
    """Lower triangle of the scaled matrix; its diagonal is stored inverted. All (K,)."""

    lower: list[list[Tensor]]
    inverse_pivot: list[Tensor]
    scale: Tensor  # (P, K); 0 where a parameter carries no information
    singular: Tensor


def solve(matrix: Tensor, right: Tensor, *, damping: Tensor, frozen: Tensor) -> Tensor:
    """Solve ``(A + damping * diag(A)) x = right`` for the parameters that are not frozen.

    Parameters
    ----------
    matrix : (K, P, P) float
        Symmetric, positive semi-definite.
    right : (K, P) float
    damping : (K,) float
        Levenberg-Marquardt damping relative to the diagonal.
    frozen : (K, P) bool
        Parameters to leave out; their x is 0.

    Returns
    -------
    (K, P) float
    """
    factor = _factorise(matrix, damping=damping, frozen=frozen)
    size = matrix.shape[1]
    scaled = right.T * factor.scale
    forward: list[Tensor] = []
    for i in range(size):
        rest = scaled[i]
        for k in range(i):
            rest = rest - factor.lower[i][k] * forward[k]
        forward.append(rest * factor.inverse_pivot[i])
    solution: list[Tensor] = [torch.empty(0)] * size
    for i in reversed(range(size)):
        rest = forward[i]
        for k in range(i + 1, size):
            rest = rest - factor.lower[k][i] * solution[k]
        solution[i] = rest * factor.inverse_pivot[i]
    return (torch.stack(solution) * factor.scale).T.contiguous()


def inverse_diagonal(matrix: Tensor) -> Tensor:
    """Return the diagonal of the inverse, (K, P).

    A parameter without any information gets infinity, and the others the values they have when
    it is known. Where parameters cannot be told apart, all of that matrix's are infinite.
    """
    size = matrix.shape[1]
    zero = matrix.new_zeros(matrix.shape[0])
    frozen = torch.diagonal(matrix, dim1=1, dim2=2) <= 0
    factor = _factorise(matrix, damping=zero, frozen=frozen)
    total = [zero] * size
    for column in range(size):  # columns of the inverse of the lower triangle
        entries: list[Tensor] = []
        for i in range(column, size):
            rest = zero
            for k in range(column, i):
                rest = rest - factor.lower[i][k] * entries[k - column]
            rest = rest + 1 if i == column else rest
            entries.append(rest * factor.inverse_pivot[i])
        total[column] = sum((e * e for e in entries), zero)
    diagonal = (torch.stack(total) * factor.scale**2).T
    return torch.where(frozen | factor.singular[:, None], torch.inf, diagonal)


def _factorise(matrix: Tensor, *, damping: Tensor, frozen: Tensor) -> _Factor:
    size = matrix.shape[1]
    by_entry = matrix.permute(1, 2, 0).contiguous()  # (P, P, K)
    diagonal = torch.diagonal(by_entry, dim1=0, dim2=1).T  # (P, K)
    usable = (diagonal > 0) & ~frozen.T
    scale = torch.where(usable, torch.rsqrt(torch.where(usable, diagonal, 1)), 0)
    lower: list[list[Tensor]] = []
    inverse_pivot: list[Tensor] = []
    singular = torch.zeros_like(damping, dtype=torch.bool)
    for i in range(size):
        row: list[Tensor] = []
        for j in range(i):
            rest = by_entry[i, j] * scale[i] * scale[j]
            for k in range(j):
                rest = rest - row[k] * lower[j][k]
            row.append(rest * inverse_pivot[j])
        pivot = 1 + damping
        for entry in row:
            pivot = pivot - entry * entry
        singular = singular | ~(pivot > _SMALLEST_PIVOT)
        inverse_pivot.append(torch.rsqrt(pivot.clamp(min=_SMALLEST_PIVOT)))
        lower.append(row)
    return _Factor(lower=lower, inverse_pivot=inverse_pivot, scale=scale, singular=singular)
