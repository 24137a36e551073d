"""A scalar diffraction PSF with astigmatism: the licence-clean source of the example's PSF.

The intensity behind a high-NA objective is the squared Fourier transform of its pupil,

    I(x, y, z) = | integral over |rho| < 1 of A exp(i phi) exp(2 pi i NA / lambda rho.r) |^2,
    phi = 2 pi z / lambda * sqrt(n^2 - NA^2 rho^2) + c sqrt(6) rho^2 cos(2 theta),
    A   = (1 - (NA rho / n)^2)^(-1/4),

with the aplanatic amplitude A and the Zernike mode Z(2, 2) of coefficient c in radians rms
(Hanser et al. 2004, doi 10.1111/j.0022-2720.2004.01393.x; scalar approximation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Objective", "psf_stack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Optics of the example microscope."""

    numerical_aperture: float = 1.45
    refractive_index: float = 1.518
    wavelength_nm: float = 680.0
    astigmatism_rms_waves: float = 0.08


def psf_stack(
    objective: Objective,
    z_nm: NDArray[np.float64],
    *,
    roi_px: int,
    pixel_size_nm: float,
    shift_px: tuple[float, float] = (0.0, 0.0),
    oversampling: int = 5,
) -> NDArray[np.float64]:
    """Return pixel-integrated images of a point at each z.

    Parameters
    ----------
    z_nm : (Z,) float64
        Positions of the emitter; defocus grows with z.
    roi_px : int
        Odd width of the window; the emitter sits ``shift_px`` (x, y) from its central pixel.
    oversampling : int
        Odd number of samples a pixel and axis; their mean stands for the integral.

    Returns
    -------
    (roi_px, roi_px, Z) float64, fraction of the photons that fall into the whole plane
    """
    n_pupil = 201
    u = np.linspace(-1.0, 1.0, n_pupil)
    rho2 = u[None, :] ** 2 + u[:, None] ** 2
    inside = rho2 < 1.0
    sine2 = np.where(inside, rho2, 0.0) * (objective.numerical_aperture**2)
    amplitude = np.where(inside, (1.0 - sine2 / objective.refractive_index**2) ** -0.25, 0.0)
    astigmatism = np.sqrt(6.0) * (u[None, :] ** 2 - u[:, None] ** 2)
    base = amplitude * np.exp(2j * np.pi * objective.astigmatism_rms_waves * astigmatism)
    axial = np.sqrt(objective.refractive_index**2 - sine2) / objective.wavelength_nm

    n_samples = roi_px * oversampling
    offsets = (np.arange(n_samples) - (n_samples - 1) / 2) * pixel_size_nm / oversampling
    wave = 2j * np.pi * objective.numerical_aperture / objective.wavelength_nm
    to_x = np.exp(wave * np.outer(u, offsets - shift_px[0] * pixel_size_nm))
    to_y = np.exp(wave * np.outer(offsets - shift_px[1] * pixel_size_nm, u))
    # Parseval: total energy in the image plane, in the units of the sampled field.
    step = u[1] - u[0]
    total = np.sum(amplitude**2) * step**2
    scale = (objective.numerical_aperture / objective.wavelength_nm) ** 2

    images = np.empty((roi_px, roi_px, z_nm.size))
    for index, z in enumerate(z_nm):
        field = to_y @ (base * np.exp(2j * np.pi * z * axial)) @ to_x * step**2
        density = np.abs(field) ** 2 * scale / total  # per nm^2, integrates to 1
        blocks = density.reshape(roi_px, oversampling, roi_px, oversampling)
        images[:, :, index] = blocks.mean(axis=(1, 3)) * pixel_size_nm**2
    return images
