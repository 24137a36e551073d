"""Fisher information of an emitter's window and the Cramér-Rao lower bounds from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from decode_engine.domain.camera import CameraModel, PixelMap
from decode_engine.psf.base import PatchGradient, PsfModel
from decode_engine.psf.normal_equations import inverse_diagonal

__all__ = ["Crlb", "NoiseTerms", "crlb", "jacobian", "noise_terms"]

# Keeps the variance of a pixel that expects no light away from zero.
_SMALLEST_VARIANCE = 1e-6
# Bounds the Jacobians held at a time to about 100 MB.
_FLOATS_PER_CHUNK = 1 << 23


@dataclass(frozen=True, slots=True)
class Crlb:
    """Smallest possible standard deviations of an unbiased estimate, all (K,) float.

    ``z_nm`` is infinite where z carries no information (out of range), and NaN for a 2D PSF.
    """

    x_px: Tensor
    y_px: Tensor
    z_nm: Tensor
    photons: Tensor
    background: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseTerms:
    """Variance of a pixel: ``excess_noise * mean + read_variance``, in photon^2."""

    excess_noise: float
    read_variance: PixelMap


def noise_terms(camera: CameraModel) -> NoiseTerms:
    """Return the two terms of a camera's variance (the formula of `CameraModel`).

    With a quantum efficiency below 1, "photons" are those that arrive, and losing some of them
    acts like an excess noise of ``1 / QE``.
    """
    quantum_efficiency = camera.quantum_efficiency
    excess = camera.excess_noise / quantum_efficiency
    spurious = excess * camera.spurious_charge_e / quantum_efficiency
    read = camera.read_variance_photons2
    if isinstance(read, np.ndarray):
        return NoiseTerms(
            excess_noise=excess, read_variance=np.asarray(read + spurious, np.float32)
        )
    return NoiseTerms(excess_noise=excess, read_variance=read + spurious)


def jacobian(gradient: PatchGradient, photons: Tensor, *, is_3d: bool) -> Tensor:
    """Return the derivatives of the expected photons by the emitter's parameters.

    Parameters
    ----------
    gradient : PatchGradient
    photons : (K,) float

    Returns
    -------
    (K, 5 or 4, R * R) float
        In the order x, y, photons, background and, in 3D, z.
    """
    number, size = gradient.value.shape[:2]
    out = gradient.value.new_empty((number, 5 if is_3d else 4, size, size))
    scale = photons[:, None, None]
    torch.mul(gradient.d_x, scale, out=out[:, 0])
    torch.mul(gradient.d_y, scale, out=out[:, 1])
    out[:, 2] = gradient.value
    out[:, 3] = 1
    if is_3d:
        torch.mul(gradient.d_z, scale, out=out[:, 4])
    return out.view(number, out.shape[1], size * size)


def crlb(
    psf: PsfModel,
    *,
    dx_px: Tensor,
    dy_px: Tensor,
    z_nm: Tensor,
    photons: Tensor,
    background: Tensor,
    roi_px: int,
    excess_noise: float = 1.0,
    read_variance: float | Tensor = 0.0,
) -> Crlb:
    """Cramér-Rao lower bounds of isolated emitters, all parameters unknown together.

    Parameters
    ----------
    psf : PsfModel
    dx_px, dy_px, z_nm, photons, background : (K,) float
        Position in the window, photons, and background photons per pixel.
    roi_px : int
        Width of the window (odd).
    excess_noise : float
        F: 2 for an EMCCD, else 1 (see `noise_terms`).
    read_variance : float or (K, R, R) float, photon^2
        Variance added to each pixel.

    Returns
    -------
    Crlb

    Notes
    -----
    ``I_ab = sum_pixels (d mu / d a) (d mu / d b) / v`` with ``mu = N S + b`` and
    ``v = F mu + read_variance``: exact for Poisson noise (Ober et al. 2004,
    doi 10.1016/S0006-3495(04)74193-4), the information of the first two moments otherwise, as
    for sCMOS by Huang et al. 2013 (doi 10.1038/nmeth.2488) and for EM gain by Mortensen et al.
    2010 (doi 10.1038/nmeth.1447).
    """
    columns: list[Tensor] = []
    chunk = max(1, _FLOATS_PER_CHUNK // (5 * roi_px**2))
    for start in range(0, max(1, dx_px.shape[0]), chunk):
        part = slice(start, start + chunk)
        gradient = psf.value_and_gradient(dx_px[part], dy_px[part], z_nm[part], roi_px)
        mean = gradient.value * photons[part, None, None] + background[part, None, None]
        read = read_variance[part] if isinstance(read_variance, Tensor) else read_variance
        variance = (excess_noise * mean + read).clamp(min=_SMALLEST_VARIANCE)
        derivatives = jacobian(gradient, photons[part], is_3d=psf.is_3d)
        weighted = derivatives / variance.flatten(1)[:, None]
        information = weighted @ derivatives.transpose(1, 2)
        columns.append(inverse_diagonal(information).sqrt())
    sigma = torch.cat(columns)
    z_sigma = sigma[:, 4] if psf.is_3d else torch.full_like(sigma[:, 0], torch.nan)
    return Crlb(
        x_px=sigma[:, 0],
        y_px=sigma[:, 1],
        z_nm=z_sigma,
        photons=sigma[:, 2],
        background=sigma[:, 3],
    )
