"""Lateral scaling of PSF windows that keeps their photons."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["scale_patches"]


def scale_patches(patches: Tensor, dx_px: Tensor, dy_px: Tensor, scale: Tensor) -> Tensor:
    """Magnify PSF windows around their emitters.

    A PSF ``h`` scaled by ``s`` is ``h(r / s) / s^2``, so the photons of the pixel ``[a, b]``
    are those of the original between ``x0 + (a - x0) / s`` and ``x0 + (b - x0) / s``, with the
    emitter at ``x0``. The cumulative sum of a window is known at the pixels' edges; it is
    interpolated between them (Lagrange polynomial through four edges), for x and y in turn.
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
        Not negative: the interpolation's overshoot in the dark surround is cut off.
    """
    along_x = _rebin_matrix(dx_px, scale, patches.shape[-1])
    along_y = _rebin_matrix(dy_px, scale, patches.shape[-1])
    return (along_y @ patches @ along_x.transpose(1, 2)).clamp_min(0)


def _rebin_matrix(offset_px: Tensor, scale: Tensor, roi_px: int) -> Tensor:
    """Return the (K, R, R) matrix that turns old pixels into new ones along one axis."""
    device, dtype = offset_px.device, offset_px.dtype
    # Edges 0..R of the window; the window's centre lies at R / 2.
    edges = torch.arange(roi_px + 1, device=device, dtype=dtype)
    centre = offset_px[:, None] + roi_px / 2
    source = (centre + (edges - centre) / scale[:, None]).clamp(0, roi_px)  # (K, R + 1)
    base = source.floor().clamp(1, roi_px - 2)
    t = source - base  # the four edges lie at t = -1, 0, 1, 2
    weights = torch.stack(
        [
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        ],
        dim=-1,
    )  # (K, R + 1, 4)
    columns = base.long()[..., None] + torch.arange(-1, 3, device=device)
    at_edges = torch.zeros(*source.shape, roi_px + 1, device=device, dtype=dtype)
    at_edges.scatter_(2, columns, weights)  # (K, new edge, old edge)
    # Edge e of the cumulative sum holds the pixels 0..e-1: pixel p reaches the edges p+1..R.
    from_pixels = at_edges.flip(2).cumsum(2).flip(2)[..., 1:]
    return from_pixels[:, 1:] - from_pixels[:, :-1]
