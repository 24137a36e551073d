"""From the average bead to a normalised spline PSF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decode_engine.contract.configs import CalibrateConfig
from decode_engine.domain.calibration import SplinePsf
from decode_engine.errors import CalibrationError
from decode_engine.psf.beads.smoothing import smooth_along_z, smoothing_strength
from decode_engine.psf.beads.stacks import MIN_SLICES
from decode_engine.psf.spline_coefficients import spline_coefficients

__all__ = ["AssembledPsf", "assemble_psf"]


@dataclass(frozen=True, kw_only=True)
class AssembledPsf:
    """A spline PSF and the samples it was made from.

    Attributes
    ----------
    psf : SplinePsf
    samples : (Z, Y, X) float32, fraction of the photons per pixel
        The normalised average before smoothing.
    first_slice : int
        Slice of the average that became slice 0.
    background, scale : float
        ``samples = max(average - background, 0) / scale``.
    """

    psf: SplinePsf
    samples: NDArray[np.float32]
    first_slice: int
    background: float
    scale: float


def assemble_psf(
    average: NDArray[np.float32], focus: float, config: CalibrateConfig
) -> AssembledPsf:
    """Cut, normalise and smooth the average and lay a spline through it.

    Parameters
    ----------
    average : (Z, Y, X) float32
        Registered average; Y and X are odd and the emitter sits on the central sample.
    focus : float
        Slice coordinate of the focus.
    config : CalibrateConfig

    Notes
    -----
    Normalisation is SMAP's since 2023: the smallest value of the three slices around z = 0 is
    subtracted, negative values become 0, and all is divided by the largest sum of a slice. So
    photons are those that reach the window in the slice where it catches most, and a defocused
    slice sums to less than 1. Noise pulls the smallest value down, which leaves a pedestal of
    one or two percent of the photons; it is kept so that photons mean the same as with SMAP.

    z = 0 is a whole slice: the one nearest to the focus, or the middle of the range.
    """
    first, last = _slice_range(len(average), focus, config.z_slices)
    kept = np.asarray(average[first:last], np.float64)
    if config.z_reference == "focus":
        z0 = int(np.clip(round(focus) - first, 0, len(kept) - 1))
    else:
        z0 = (len(kept) - 1) // 2
    background = float(kept[max(z0 - 1, 0) : z0 + 2].min())
    signal = np.clip(kept - background, 0, None)
    scale = float(signal.sum(axis=(1, 2)).max())
    samples = signal / scale
    strength = smoothing_strength(config.smoothing_z_nm, abs(config.dz_nm))
    smooth = np.clip(smooth_along_z(samples, strength), 0, None)
    psf = SplinePsf(
        coefficients=spline_coefficients(np.ascontiguousarray(smooth.transpose(1, 2, 0))),
        dz_nm=abs(config.dz_nm),
        z0_slice=float(z0),
        center_x_px=(kept.shape[2] - 1) / 2,
        center_y_px=(kept.shape[1] - 1) / 2,
    )
    return AssembledPsf(
        psf=psf,
        samples=samples.astype(np.float32),
        first_slice=first,
        background=background,
        scale=scale,
    )


def _slice_range(slices: int, focus: float, wanted: int | None) -> tuple[int, int]:
    """Return first slice and end of the range that is kept around the focus."""
    if slices < MIN_SLICES:
        raise CalibrationError(
            f"The beads share only {slices} slices, at least {MIN_SLICES} are needed.",
            hint="Give stacks that were recorded over the same z range.",
        )
    if wanted is None or wanted >= slices:
        return 0, slices
    first = int(np.clip(round(focus) - wanted // 2, 0, slices - wanted))
    return first, first + wanted
