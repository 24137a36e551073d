"""A scalar diffraction PSF with astigmatism: the licence-clean source of the example's PSF.

The intensity behind a high-NA objective is the squared Fourier transform of its pupil,

    I(x, y, z) = | integral over |rho| < 1 of A exp(i phi) exp(2 pi i NA / lambda rho.r) |^2,
    phi = 2 pi z / lambda * sqrt(n^2 - NA^2 rho^2) + sum c_nm Z_nm(rho, theta),
    A   = (1 - (NA rho / n)^2)^(-1/4),

with the aplanatic amplitude A and Zernike modes of root mean square 1 over the pupil
(Hanser et al. 2004, doi 10.1111/j.0022-2720.2004.01393.x; scalar approximation; the modes as in
Noll 1976, doi 10.1364/JOSA.66.000207).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Objective", "psf_stack", "zernike"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Optics of a microscope; by default those of the example.

    Parameters
    ----------
    aberrations_rms_waves : tuple of (n, m, c)
        Zernike modes: radial order, azimuthal order (negative for sines), coefficient.
    """

    numerical_aperture: float = 1.45
    refractive_index: float = 1.518
    wavelength_nm: float = 680.0
    astigmatism_rms_waves: float = 0.08
    aberrations_rms_waves: tuple[tuple[int, int, float], ...] = ()


def zernike(n: int, m: int, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Zernike mode of root mean square 1 at points of the unit disk.

    ``m < 0`` is the mode with the sine. Outside of the disk the polynomial just goes on.
    """
    rho, theta, order = np.hypot(x, y), np.arctan2(y, x), abs(m)
    radial = np.zeros_like(rho)
    for k in range((n - order) // 2 + 1):
        denominator = (
            math.factorial(k)
            * math.factorial((n + order) // 2 - k)
            * math.factorial((n - order) // 2 - k)
        )
        radial += (-1) ** k * math.factorial(n - k) / denominator * rho ** (n - 2 * k)
    if m == 0:
        return np.asarray(math.sqrt(n + 1) * radial)
    angular = np.cos(m * theta) if m > 0 else np.sin(order * theta)
    return np.asarray(math.sqrt(2 * (n + 1)) * radial * angular)


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
    phase = objective.astigmatism_rms_waves * astigmatism
    for n, m, coefficient in objective.aberrations_rms_waves:
        phase = phase + coefficient * zernike(n, m, u[None, :], u[:, None])
    base = amplitude * np.exp(2j * np.pi * phase)
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
