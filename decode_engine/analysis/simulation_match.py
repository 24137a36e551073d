"""Simulation settings that make simulated frames measure like a movie's own frames.

One round compares `FrameStatistics` of the movie with those of frames simulated with *typical*
settings (one density, one background level) and scales each setting by the ratio of what it
governs. Because both are measured alike, the biases of the measurement cancel to first order
(indirect inference, Gourieroux et al. 1993, doi 10.1002/jae.3950080507); three to five rounds
of simulating and comparing remove most of what one round leaves. What cannot be told from
such numbers stays as it is: the z range, the shape of the flux distribution, the PSF.

Limits (``python -m tests.bench.suggestion``): where molecules are anywhere, density within 22 %,
background 8 %, mean flux 14 %, on-time 15 % (30 % with few spots); the spread of the flux is
rough, up to a factor 3. Molecules that crowd on filaments are taken for fewer (0.5 to 0.65 times)
and brighter ones (1.3 to 1.5 times).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decode_engine.analysis.frame_statistics import FrameStatistics
from decode_engine.contract.configs import SimulationConfig

__all__ = [
    "ROUNDS",
    "Typical",
    "apply_typical",
    "averaged",
    "background_levels",
    "first_guess",
    "refine",
    "suggest_settings",
    "typical_of",
]

ROUNDS = 6

# One round may change a setting at most by this factor: ratios hold for small changes.
_LARGEST_STEP = 3.0
_CV_LIMITS = (0.05, 1.0)
_LIFETIME_LIMITS = (0.3, 50.0)
_DENSITY_LIMITS = (0.005, 8.0)
_LEAST_SPOTS = 50
# Frames of a movie differ more than the measured ones; training beyond them costs little.
_DENSITY_MARGIN = 2.0
_BACKGROUND_MARGIN = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Typical:
    """Middle of what the settings allow.

    Attributes
    ----------
    density_per_um2 : float, 1/um^2
    background : float, photons per px
    flux_mean : float, photons
    flux_cv : float
        Standard deviation of the flux relative to its mean.
    lifetime_frames : float, frames
    """

    density_per_um2: float
    background: float
    flux_mean: float
    flux_cv: float
    lifetime_frames: float


def typical_of(config: SimulationConfig) -> Typical:
    """Return the middle of the ranges: geometric for densities, which are log-uniform."""
    low, high = config.density_min_per_um2, config.density_max_per_um2
    return Typical(
        density_per_um2=math.sqrt(low * high) if low > 0 else high / 2,
        background=(config.background_min + config.background_max) / 2,
        flux_mean=config.flux_mean,
        flux_cv=config.flux_std / config.flux_mean,
        lifetime_frames=config.lifetime_frames,
    )


def apply_typical(config: SimulationConfig, typical: Typical) -> SimulationConfig:
    """Return settings that simulate exactly the typical density, brightness and background."""
    return config.model_copy(
        update={
            "density_min_per_um2": typical.density_per_um2,
            "density_max_per_um2": typical.density_per_um2,
            "background_min": typical.background,
            "background_max": typical.background,
            "flux_mean": typical.flux_mean,
            "flux_std": typical.flux_cv * typical.flux_mean,
            "flux_spread": 1.0,
            "lifetime_frames": typical.lifetime_frames,
        }
    )


def first_guess(own: FrameStatistics, start: Typical) -> Typical:
    """Return typical settings taken from the movie alone, to simulate a first time with."""
    density, flux = start.density_per_um2, start.flux_mean
    if len(own.spot_photons) >= _LEAST_SPOTS:
        # About half of the molecules and of their light are measured at usual densities.
        density = float(np.clip(2 * own.spots_per_um2.mean(), *_DENSITY_LIMITS))
        flux = max(2 * float(np.median(own.spot_photons)), 1.0)
    return Typical(
        density_per_um2=density,
        background=max(float(np.median(own.background)), 0.0),
        flux_mean=flux,
        flux_cv=start.flux_cv,
        lifetime_frames=start.lifetime_frames,
    )


def refine(own: FrameStatistics, simulated: FrameStatistics, typical: Typical) -> Typical:
    """Do one round: correct the settings by how the simulated frames differ from the own.

    Parameters
    ----------
    own, simulated : FrameStatistics
        Of the movie, and of frames simulated with ``apply_typical(..., typical)``.
    typical : Typical

    Returns
    -------
    Typical
        Settings whose evidence is too thin (fewer than 50 spots) are left as they are.
    """
    shift = float(np.median(own.background) - np.median(simulated.background))
    background = max(typical.background + shift, 0.0)
    density = typical.density_per_um2 * _step(
        float(own.spots_per_um2.mean()), float(simulated.spots_per_um2.mean())
    )
    flux, cv, lifetime = typical.flux_mean, typical.flux_cv, typical.lifetime_frames
    if min(len(own.spot_photons), len(simulated.spot_photons)) >= _LEAST_SPOTS:
        flux *= _step(float(np.median(own.spot_photons)), float(np.median(simulated.spot_photons)))
        difference = _spread(own.spot_photons) ** 2 - _spread(simulated.spot_photons) ** 2
        # Half a step: spreads come from few spots and are the noisiest of the numbers.
        square = cv**2 + difference / 2
        cv = float(np.clip(math.sqrt(max(square, 0.0)), *_CV_LIMITS))
        lifetime *= _step(_odds(own.persistence), _odds(simulated.persistence))
    return Typical(
        density_per_um2=float(np.clip(density, *_DENSITY_LIMITS)),
        background=background,
        flux_mean=max(flux, 1.0),
        flux_cv=cv,
        lifetime_frames=float(np.clip(lifetime, *_LIFETIME_LIMITS)),
    )


def averaged(rounds: Sequence[Typical]) -> Typical:
    """Return the geometric mean of the second half of the rounds, which scatter about it."""
    late = rounds[len(rounds) // 2 :]

    def mean(values: list[float]) -> float:
        return math.exp(sum(math.log(max(v, 1e-9)) for v in values) / len(values))

    return Typical(
        density_per_um2=mean([t.density_per_um2 for t in late]),
        background=mean([t.background for t in late]),
        flux_mean=mean([t.flux_mean for t in late]),
        flux_cv=mean([t.flux_cv for t in late]),
        lifetime_frames=mean([t.lifetime_frames for t in late]),
    )


def background_levels(
    own: FrameStatistics, simulated: FrameStatistics, typical: Typical
) -> tuple[float, float, float]:
    """Return the movie's dark, middle and bright background (photons per px).

    Quantiles of 5, 50 and 95 % over tiles and blocks, each corrected by what the same quantile
    of the simulated frames makes of the known level: tails of spots lift it, unevenness and
    noise spread it.
    """
    levels = np.array([0.05, 0.5, 0.95])
    bias = np.quantile(simulated.background, levels) - typical.background
    dark, middle, bright = np.maximum(np.quantile(own.background, levels) - bias, 0.0).tolist()
    return min(dark, middle), middle, max(bright, middle)


def suggest_settings(
    own: FrameStatistics,
    simulated: FrameStatistics,
    typical: Typical,
    config: SimulationConfig,
) -> SimulationConfig:
    """Return ``config`` with ranges around the typical settings that hold the movie's frames.

    Density: from the sparsest to the densest tenth of the frames, and a factor 2 on both sides.
    Background: likewise over tiles and blocks, and half as much again on both sides. Numbers are
    rounded to two digits; a third one would not be true.
    """
    mean = max(float(own.spots_per_um2.mean()), 1e-9)
    sparse, dense = np.quantile(own.spots_per_um2, [0.1, 0.9]) / mean
    density = typical.density_per_um2
    low = density * min(max(float(sparse), 0.1), 1.0) / _DENSITY_MARGIN
    high = density * max(float(dense), 1.0) * _DENSITY_MARGIN
    dark, _, bright = background_levels(own, simulated, typical)
    return config.model_copy(
        update={
            "density_min_per_um2": _rounded(low),
            "density_max_per_um2": _rounded(high),
            "background_min": _rounded(dark / _BACKGROUND_MARGIN),
            "background_max": _rounded(max(bright, 0.1) * _BACKGROUND_MARGIN),
            "flux_mean": _rounded(typical.flux_mean),
            "flux_std": _rounded(typical.flux_cv * typical.flux_mean),
            "lifetime_frames": _rounded(typical.lifetime_frames),
        }
    )


def _step(own: float, simulated: float) -> float:
    if not (own > 0 and simulated > 0 and math.isfinite(own / simulated)):
        return 1.0
    return float(np.clip(own / simulated, 1 / _LARGEST_STEP, _LARGEST_STEP))


def _odds(persistence: float) -> float:
    """Return p / (1 - p), which is the mean on-time of exponential blinking, up to a factor."""
    return persistence / max(1 - persistence, 0.02)


def _spread(values: NDArray[np.float32]) -> float:
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
    return float((high - low) / 2 / max(middle, 1e-9))


def _rounded(value: float) -> float:
    if value <= 0:
        return 0.0
    digits = 1 - math.floor(math.log10(value))
    return float(round(value, digits))
