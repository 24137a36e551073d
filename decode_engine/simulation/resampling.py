"""Lateral scaling of PSF windows that keeps their photons."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["scale_patches"]

_NODES = 6  # edges per interpolation; an error below 0.5 % of the peak at +-15 %; four leave 1 %


def scale_patches(patches: Tensor, dx_px: Tensor, dy_px: Tensor, scale: Tensor) -> Tensor:
    """Magnify PSF windows around their emitters.

    A PSF ``h`` scaled by ``s`` is ``h(r / s) / s^2``, so the photons of the pixel ``[a, b]``
    are those of the original between ``x0 + (a - x0) / s`` and ``x0 + (b - x0) / s``, with the
    emitter at ``x0``. The cumulative sum of a window is known at the pixels' edges; it is
    interpolated between them (Lagrange polynomial through six edges), for x and y in turn.
    Photons are conserved exactly except for those that a widened PSF pushes out of the window.

    Parameters
    ----------
    patches : (K, R, R) float
        Photon fractions; rows are y.
    dx_px, dy_px : (K,) float, px
        Emitter relative to the centre of the window.
    scale : (K,) float
        Magnification, above 0.

    Returns
    -------
    (K, R, R) float
        The interpolation may undershoot 0 a little in a dark surround; nothing is cut off, so
        that the sum stays.
    """
    along_x = _rebin_matrix(dx_px, scale, patches.shape[-1])
    along_y = _rebin_matrix(dy_px, scale, patches.shape[-1])
    return along_y @ patches @ along_x.transpose(1, 2)


def _rebin_matrix(offset_px: Tensor, scale: Tensor, roi_px: int) -> Tensor:
    """Return the (K, R, R) matrix that turns old pixels into new ones along one axis."""
    device, dtype = offset_px.device, offset_px.dtype
    # Edges 0..R of the window; the window's centre lies at R / 2.
    edges = torch.arange(roi_px + 1, device=device, dtype=dtype)
    centre = offset_px[:, None] + roi_px / 2
    source = (centre + (edges - centre) / scale[:, None]).clamp(0, roi_px)  # (K, R + 1)
    reach = min(_NODES, roi_px + 1)
    first = (source.floor() - (reach // 2 - 1)).clamp(0, roi_px + 1 - reach)
    nodes = torch.arange(reach, device=device)
    weights = _lagrange(source - first, nodes.to(dtype))  # (K, R + 1, reach)
    columns = first.long()[..., None] + nodes
    at_edges = torch.zeros(*source.shape, roi_px + 1, device=device, dtype=dtype)
    at_edges.scatter_(2, columns, weights)  # (K, new edge, old edge)
    # Edge e of the cumulative sum holds the pixels 0..e-1: pixel p reaches the edges p+1..R.
    from_pixels = at_edges.flip(2).cumsum(2).flip(2)[..., 1:]
    return from_pixels[:, 1:] - from_pixels[:, :-1]


def _lagrange(t: Tensor, nodes: Tensor) -> Tensor:
    """Return the weights (..., n) of the polynomial through ``nodes`` (n,) at ``t`` (...)."""
    gaps = t[..., None] - nodes
    n = int(nodes.shape[0])
    weights = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        weights.append((gaps[..., others] / (nodes[i] - nodes[others])).prod(-1))
    return torch.stack(weights, dim=-1)
