"""Whether a movie's own noise fits the camera values that are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.camera import CameraModel

__all__ = ["DimPixelNoise", "dim_pixel_noise"]

_DIM_SHARE = 0.3  # of the pixels: background, where molecules seldom blink
_CLIP = 3.0  # standard deviations; a molecule that blinks lies beyond
_MAD_TO_STD = 1.4826  # of a normal distribution
_CLIPPED_VARIANCE = 0.9733  # of a normal distribution cut at 3 standard deviations


@dataclass(frozen=True, slots=True, kw_only=True)
class DimPixelNoise:
    """Noise of the dimmest pixels under given camera values.

    Parameters
    ----------
    mean_photons : float
        Their mean brightness; negative where the offset is too high.
    variance_photons2 : float
        Their variance from one frame to the next.
    expected_photons2 : float
        What shot noise, excess noise and read noise amount to at this brightness.
    """

    mean_photons: float
    variance_photons2: float
    expected_photons2: float

    @property
    def ratio(self) -> float:
        """Measured over expected variance; 1 where the camera values fit."""
        return self.variance_photons2 / self.expected_photons2


def dim_pixel_noise(
    first_adu: NDArray[Any], second_adu: NDArray[Any], camera: CameraModel
) -> DimPixelNoise | None:
    """Compare the noise between successive frames with what the camera should show.

    Half the variance of the difference of two successive frames is the noise of one, whatever
    the sample looks like, apart from blinking; so only the dimmest pixels are used, and
    differences beyond 3 standard deviations are left out. Blinking that remains makes the
    ratio too large, never too small. Same principle as a photon transfer curve (Janesick,
    Photon Transfer, SPIE 2007, doi 10.1117/3.725073), with one point instead of a line: the
    background of a movie spans too little brightness for a slope.

    Parameters
    ----------
    first_adu, second_adu : (N, H, W) array, ADU
        Frames t and t + 1 of N pairs.
    camera : CameraModel

    Returns
    -------
    DimPixelNoise or None
        None where nothing can be told (constant pixels, or no noise expected).
    """
    a, b = camera.adu_to_photons(first_adu), camera.adu_to_photons(second_adu)
    mean, difference = (a + b).ravel() / 2, (b - a).ravel()
    dim = mean <= np.quantile(mean, _DIM_SHARE)
    values = difference[dim] - np.median(difference[dim])
    spread = _MAD_TO_STD * float(np.median(np.abs(values)))
    if spread <= 0:
        spread = float(values.std())
    kept = values[np.abs(values) <= _CLIP * spread]
    if spread <= 0 or kept.size < 100:
        return None
    variance = float(kept.var()) / _CLIPPED_VARIANCE / 2
    photons = float(mean[dim].mean())
    qe = camera.quantum_efficiency
    shot = max(0.0, photons) + camera.spurious_charge_e / qe
    read = float(np.mean(np.asarray(camera.read_variance_photons2)))
    expected = camera.excess_noise * shot / qe + read
    if expected <= 0:
        return None
    return DimPixelNoise(
        mean_photons=photons, variance_photons2=variance, expected_photons2=expected
    )
