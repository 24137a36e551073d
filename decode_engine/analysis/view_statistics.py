"""Numbers from a picture: the profile along a line with its width, and what is in a region.

Everything is measured in the localizations, not in pixels, so that neither zoom nor contrast
changes a result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError

__all__ = [
    "FWHM_PER_SIGMA",
    "LineProfile",
    "ProfileFit",
    "RegionStatistics",
    "fit_profile",
    "line_profile",
    "region_statistics",
    "strip_corners",
]

Real: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.integer]
Point: TypeAlias = tuple[float, float]

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
_FEWEST_LOCALIZATIONS = 10
_FEWEST_BINS = 6
_MOST_BINS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProfile:
    """Localizations along a line, averaged across a width.

    Attributes
    ----------
    position_nm : (K,) float64, nm
        Centres of the bins, from the start of the line.
    density_per_um2 : (K,) float64, 1/µm²
        Mean density in the strip.
    counts : (K,) int64
        Localizations in each bin.
    bin_nm, width_nm : float, nm
        Length of a bin along the line and width of the strip across it.
    """

    position_nm: Real
    density_per_um2: Real
    counts: NDArray[np.int64]
    bin_nm: float
    width_nm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFit:
    """A Gaussian on a flat background, fitted to a profile.

    Attributes
    ----------
    centre_nm, centre_error_nm : float, nm
        Where along the line, and its standard error.
    fwhm_nm, fwhm_error_nm : float, nm
        Full width at half maximum, and its standard error.
    curve_per_um2 : (K,) float64, 1/µm²
        The fitted curve at the bins of the profile.
    """

    centre_nm: float
    centre_error_nm: float
    fwhm_nm: float
    fwhm_error_nm: float
    curve_per_um2: Real


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionStatistics:
    """What is in a region; NaN where there is nothing to average, or no such column.

    Attributes
    ----------
    n : int
        Localizations.
    area_um2, density_per_um2 : float, µm² and 1/µm²
        Area of the region, and localizations per area.
    photons_mean, photons_median : float, photon
        Detected photons.
    sigma_xy_nm : float, nm
        Median lateral uncertainty, sqrt((σx² + σy²) / 2).
    sigma_z_nm : float, nm
        Median axial uncertainty.
    z_mean_nm, z_std_nm : float, nm
        Mean and standard deviation of z.
    x_mean_nm, y_mean_nm : float, nm
        Centre of the localizations.
    spread_nm : float, nm
        Standard deviation of the positions along the two axes, sqrt((sx² + sy²) / 2): of a small
        structure, its size with the precision in it.
    first_frame, last_frame, n_frames : int
        Frames from, to, and how many hold a localization; -1, -1 and 0 without any.
    """

    n: int
    area_um2: float
    density_per_um2: float
    photons_mean: float
    photons_median: float
    sigma_xy_nm: float
    sigma_z_nm: float
    z_mean_nm: float
    z_std_nm: float
    x_mean_nm: float
    y_mean_nm: float
    spread_nm: float
    first_frame: int
    last_frame: int
    n_frames: int


def line_profile(
    x_nm: NDArray[np.floating],
    y_nm: NDArray[np.floating],
    start_nm: Point,
    end_nm: Point,
    width_nm: float,
    *,
    bin_nm: float = 5.0,
) -> LineProfile:
    """Count localizations along a line.

    Parameters
    ----------
    x_nm, y_nm : (N,) float, nm
        Positions; those beside the strip or beyond its ends do not count.
    start_nm, end_nm : (x, y), nm
        The line.
    width_nm : float, nm
        Width of the strip, half of it on each side of the line.
    bin_nm : float, nm
        About the length of a bin; a whole number of equal bins fills the line.
    """
    dx, dy = end_nm[0] - start_nm[0], end_nm[1] - start_nm[1]
    length = math.hypot(dx, dy)
    if not (length > 0.0 and width_nm > 0.0 and bin_nm > 0.0):
        raise ConfigError(
            f"A line of {length:g} nm, {width_nm:g} nm wide, in bins of {bin_nm:g} nm has no area.",
            hint="Draw a longer line, and give a width and a bin above zero.",
        )
    n_bins = min(max(1, round(length / bin_nm)), _MOST_BINS)
    x = np.asarray(x_nm, np.float64) - start_nm[0]
    y = np.asarray(y_nm, np.float64) - start_nm[1]
    along = (x * dx + y * dy) / length
    across = (x * dy - y * dx) / length
    inside = (np.abs(across) <= 0.5 * width_nm) & (along >= 0.0) & (along <= length)
    counts, edges = np.histogram(along[inside], bins=n_bins, range=(0.0, length))
    step = length / n_bins
    return LineProfile(
        position_nm=0.5 * (edges[:-1] + edges[1:]),
        density_per_um2=counts / (step * width_nm * 1e-6),
        counts=counts.astype(np.int64),
        bin_nm=step,
        width_nm=width_nm,
    )


def strip_corners(start_nm: Point, end_nm: Point, width_nm: float) -> Real:
    """Return the four corners (x, y) of the strip along a line, to look up what lies in it."""
    start, end = np.asarray(start_nm, np.float64), np.asarray(end_nm, np.float64)
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-12)
    side = 0.5 * width_nm * np.array([-along[1], along[0]])
    return np.array([start + side, end + side, end - side, start - side])


def fit_profile(profile: LineProfile) -> ProfileFit | None:
    """Fit a Gaussian on a flat background; None if the profile shows no peak to measure.

    Counts are Poisson distributed: they are weighted with the fitted curve's own variance (two
    rounds of reweighted least squares), which is what the standard errors rest on. The width is
    that of the profile: structure, precision and half of a bin together.
    """
    counts = profile.counts.astype(np.float64)
    if counts.sum() < _FEWEST_LOCALIZATIONS or counts.size < _FEWEST_BINS:
        return None
    position = profile.position_nm
    start = _first_guess(position, counts)
    lower = [0.0, position[0], 0.25 * profile.bin_nm, 0.0]
    upper = [np.inf, position[-1], 10.0 * (position[-1] - position[0]), np.inf]
    values = np.clip(start, lower, upper)
    covariance = np.full((4, 4), np.inf)
    deviation = np.sqrt(np.maximum(counts, 1.0))
    for _ in range(3):
        try:
            values, covariance = curve_fit(
                _peak,
                position,
                counts,
                p0=values,
                sigma=deviation,
                absolute_sigma=True,
                bounds=(lower, upper),
            )
        except RuntimeError:  # no convergence
            return None
        deviation = np.sqrt(np.maximum(_peak(position, *values), 0.25))
    errors = np.sqrt(np.diag(covariance))
    found = np.isfinite(errors).all() and values[0] > 2.0 * errors[0]
    if not found or errors[2] > values[2]:
        return None
    scale = profile.bin_nm * profile.width_nm * 1e-6
    return ProfileFit(
        centre_nm=float(values[1]),
        centre_error_nm=float(errors[1]),
        fwhm_nm=FWHM_PER_SIGMA * float(values[2]),
        fwhm_error_nm=FWHM_PER_SIGMA * float(errors[2]),
        curve_per_um2=np.asarray(_peak(position, *values) / scale),
    )


def _peak(position: Real, height: float, centre: float, sigma: float, floor: float) -> Real:
    return np.asarray(height * np.exp(-0.5 * ((position - centre) / sigma) ** 2) + floor)


def _first_guess(position: Real, counts: Real) -> Real:
    """Return height, centre, sigma and floor: the peak after a running mean over three bins."""
    smooth = np.convolve(counts, np.full(3, 1.0 / 3.0), mode="same")
    floor = float(np.quantile(smooth, 0.1))
    top = int(np.argmax(smooth))
    height = float(smooth[top]) - floor
    above = smooth > floor + 0.5 * height
    left = right = top
    while left > 0 and above[left - 1]:
        left -= 1
    while right < counts.size - 1 and above[right + 1]:
        right += 1
    step = float(position[1] - position[0])
    sigma = (right - left + 1) * step / FWHM_PER_SIGMA
    return np.array([max(height, 1.0), position[top], sigma, floor])


def region_statistics(
    localizations: Localizations, rows: Rows, area_um2: float
) -> RegionStatistics:
    """Describe the localizations of a region.

    Parameters
    ----------
    localizations : Localizations
        The whole table.
    rows : (n,) int
        Those in the region, as `PointStore.rows_in` returns them.
    area_um2 : float, µm²
        Area of the region.
    """
    table = localizations.columns()
    column = {name: values[rows].astype(np.float64) for name, values in table.items()}
    frames = np.unique(column["frame"])
    x, y, z = column["x_nm"], column["y_nm"], column["z_nm"]
    missing = np.full(rows.size, np.nan)
    sigma_x, sigma_y = (column.get(f"sigma_{axis}_nm", missing) for axis in "xy")
    finite_z = z[np.isfinite(z)]
    lateral = np.sqrt(0.5 * (sigma_x**2 + sigma_y**2))
    return RegionStatistics(
        n=int(rows.size),
        area_um2=area_um2,
        density_per_um2=rows.size / area_um2 if area_um2 > 0.0 else math.nan,
        photons_mean=_mean(column["photons"]),
        photons_median=_median(column["photons"]),
        sigma_xy_nm=_median(lateral),
        sigma_z_nm=_median(column.get("sigma_z_nm", missing)),
        z_mean_nm=_mean(finite_z),
        z_std_nm=_deviation(finite_z),
        x_mean_nm=_mean(x),
        y_mean_nm=_mean(y),
        spread_nm=math.sqrt(0.5 * (_deviation(x) ** 2 + _deviation(y) ** 2)),
        first_frame=int(frames[0]) if frames.size else -1,
        last_frame=int(frames[-1]) if frames.size else -1,
        n_frames=int(frames.size),
    )


def _mean(values: Real) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan


def _median(values: Real) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else math.nan


def _deviation(values: Real) -> float:
    return float(np.std(values, ddof=1)) if values.size > 1 else math.nan
