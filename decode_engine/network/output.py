"""`NetworkOutput`: what every localization network predicts, in network units."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["NetworkOutput"]


class NetworkOutput(NamedTuple):
    """Predictions for N frames, each map (N, H, W); `NetworkScaling` gives physical units.

    A pixel (row r, column c) claims, with the probability ``sigmoid(logit)``, an emitter at
    ``(c + x, r + y)`` px. The four sigmas are standard deviations in the units of their means.

    Attributes
    ----------
    logit : (N, H, W) float
        Log-odds of the pixel's claim.
    x, y : (N, H, W) float, px
        Offset of the emitter from the centre of the pixel (x right, y down).
    z : (N, H, W) float
        Axial position in half ranges around the centre of the z range.
    photons : (N, H, W) float
        Detected photons as a fraction of `NetworkScaling.photon_max`.
    sigma_x, sigma_y, sigma_z, sigma_photons : (N, H, W) float
    background : (N, H, W) float
        Background per pixel as a fraction of `NetworkScaling.background_max`.
    """

    logit: Tensor
    x: Tensor
    y: Tensor
    z: Tensor
    photons: Tensor
    sigma_x: Tensor
    sigma_y: Tensor
    sigma_z: Tensor
    sigma_photons: Tensor
    background: Tensor
