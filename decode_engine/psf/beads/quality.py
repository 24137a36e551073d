"""How good a calibration is: its residuals, fitted z against the stage, bounds over z."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from decode_engine.domain.calibration import CalibrationQuality
from decode_engine.psf.beads.assembly import AssembledPsf
from decode_engine.psf.beads.crops import BeadCrop
from decode_engine.psf.beads.registration import RegisteredBead
from decode_engine.psf.fisher import crlb
from decode_engine.psf.fitting import FitOptions, FitStart, fit_emitters
from decode_engine.psf.spline import SplinePsfModel

__all__ = [
    "CRLB_BACKGROUND",
    "CRLB_PHOTONS",
    "AxialAgreement",
    "BeadCheck",
    "axial_agreement",
    "check_beads",
    "fit_width_px",
    "quality_numbers",
    "spline_residual",
]

# A bright single molecule, the example of many papers.
CRLB_PHOTONS = 5000.0
CRLB_BACKGROUND = 20.0
_LARGEST_FIT_PX = 17
_BIN_NM = 100.0
_CRLB_STEP_NM = 50.0
# Axial agreement is judged where a user would localize, not in the faint ends of the stack.
_JUDGED_RANGE_NM = 600.0
# Poisson weights need photons; normalised stacks (peak 1) are scaled up for the fit.
_LEAST_PEAK_PHOTONS = 1000.0
_WINDOWS_PER_BATCH = 400


@dataclass(frozen=True, kw_only=True)
class BeadCheck:
    """One bead against the finished model, drawn at the bead's own position.

    Attributes
    ----------
    stack : int
    x_px, y_px : float
        Position in the field.
    residual_rms : float
        RMS difference between the recorded bead and the model, relative to the peak.
    stage_z_nm, fitted_z_nm : (N,) float64
        z of each slice by the stage (falling with the slice, 0 at the calibration's z = 0),
        and as fitted by maximum likelihood to that slice alone.
    """

    stack: int
    x_px: float
    y_px: float
    residual_rms: float
    stage_z_nm: NDArray[np.float64]
    fitted_z_nm: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AxialAgreement:
    """Line through fitted z over stage z of all beads, between ``low_nm`` and ``high_nm``.

    ``slope`` is 1 and ``offset_nm`` 0 when they agree; ``rms_nm`` is the scatter about the line.
    """

    slope: float
    offset_nm: float
    rms_nm: float
    low_nm: float
    high_nm: float


def fit_width_px(assembled: AssembledPsf) -> int:
    """Return the odd window of fits: inside the spline for any sub-pixel position."""
    return min(_LARGEST_FIT_PX, int(assembled.samples.shape[1]) - 2)


def spline_residual(assembled: AssembledPsf) -> float:
    """Return the RMS of the spline minus the unsmoothed average, relative to its peak.

    The pixels of the outermost ring are left out: the spline ends on them.
    """
    model = SplinePsfModel.from_parameters(assembled.psf, dtype=torch.float64)
    slices, height, _ = assembled.samples.shape
    z_nm = -(torch.arange(slices, dtype=torch.float64) - assembled.psf.z0_slice)
    zero = torch.zeros(slices, dtype=torch.float64)
    drawn = model.value(zero, zero, z_nm * assembled.psf.dz_nm, height - 2).numpy()
    truth = assembled.samples[:, 1:-1, 1:-1]
    return float(np.sqrt(np.mean((drawn - truth) ** 2)) / truth.max())


def check_beads(
    beads: Sequence[RegisteredBead],
    crops: Sequence[BeadCrop],
    assembled: AssembledPsf,
    *,
    step: Callable[[str], None],
) -> tuple[BeadCheck, ...]:
    """Compare recorded beads with the model and fit each of their slices.

    Parameters
    ----------
    beads : sequence of RegisteredBead
        Their ``z_slice`` refers to slice 0 of ``assembled``.
    crops : sequence of BeadCrop
        What the beads were cut from, in the same order.
    assembled : AssembledPsf
    step : callable
        Called before each piece of work; may raise to cancel.
    """
    model = SplinePsfModel.from_parameters(assembled.psf, dtype=torch.float64)
    slices = [_windows(b, c, assembled) for b, c in zip(beads, crops, strict=True)]
    # Fits of several beads share a batch, small enough to cancel within a second.
    per_batch = max(_WINDOWS_PER_BATCH // max(len(s.z_nm) for s in slices), 1)
    fitted: list[NDArray[np.float64]] = []
    for first in range(0, len(slices), per_batch):
        step("checking beads")
        fitted += _fit_z(model, slices[first : first + per_batch])
    return tuple(
        BeadCheck(
            stack=bead.stack,
            x_px=bead.x_px,
            y_px=bead.y_px,
            residual_rms=_relative_residual(model, windows),
            stage_z_nm=windows.z_nm,
            fitted_z_nm=z_nm,
        )
        for bead, windows, z_nm in zip(beads, slices, fitted, strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Windows:
    """The slices of one bead: photons (N, R, R), z by the stage (N,), position in the window."""

    photons: NDArray[np.float64]
    z_nm: NDArray[np.float64]
    dx_px: float
    dy_px: float


def _windows(bead: RegisteredBead, crop: BeadCrop, assembled: AssembledPsf) -> _Windows:
    """Cut the fit windows of the slices that lie within the calibrated range."""
    slice_ = np.arange(len(crop.photons)) - bead.z_slice
    inside = (slice_ >= -1e-6) & (slice_ <= len(assembled.samples) - 1 + 1e-6)
    row, col = round(bead.y_px), round(bead.x_px)
    half = fit_width_px(assembled) // 2
    rows = slice(row - half - crop.y0, row + half + 1 - crop.y0)
    cols = slice(col - half - crop.x0, col + half + 1 - crop.x0)
    return _Windows(
        photons=crop.photons[inside, rows, cols].astype(np.float64),
        z_nm=np.asarray((assembled.psf.z0_slice - slice_[inside]) * assembled.psf.dz_nm),
        dx_px=bead.x_px - col,
        dy_px=bead.y_px - row,
    )


def _fit_z(model: SplinePsfModel, slices: Sequence[_Windows]) -> list[NDArray[np.float64]]:
    """Fit all windows of some beads; return the z of each bead's slices."""
    low, high = model.z_range_nm
    # The likelihood of a bright bead has side optima far from its z: start all over the range.
    starts = (0.8 * low, 0.4 * low, 0.0, 0.4 * high, 0.8 * high)
    counts = [len(s.z_nm) for s in slices]
    position = FitStart(
        torch.from_numpy(np.repeat([s.dx_px for s in slices], counts)),
        torch.from_numpy(np.repeat([s.dy_px for s in slices], counts)),
    )
    scales = [max(1.0, _LEAST_PEAK_PHOTONS / max(float(s.photons.max()), 1e-12)) for s in slices]
    photons = np.concatenate([s.photons * f for s, f in zip(slices, scales, strict=True)])
    fit = fit_emitters(
        model,
        torch.from_numpy(photons),
        start=position,
        options=FitOptions(z_starts_nm=starts, max_iterations=100),
    )
    return np.split(fit.z_nm.numpy().astype(np.float64), np.cumsum(counts)[:-1])


def axial_agreement(checks: Sequence[BeadCheck]) -> AxialAgreement:
    """Fit a line to fitted z over stage z of all beads within ±600 nm."""
    stage = np.concatenate([c.stage_z_nm for c in checks])
    fitted = np.concatenate([c.fitted_z_nm for c in checks])
    judged = np.abs(stage) <= _JUDGED_RANGE_NM
    stage, fitted = stage[judged], fitted[judged]
    slope, offset = np.polynomial.polynomial.polyfit(stage, fitted, 1)[::-1]
    scatter = fitted - (slope * stage + offset)
    return AxialAgreement(
        slope=float(slope),
        offset_nm=float(offset),
        rms_nm=float(np.sqrt(np.mean(scatter**2))),
        low_nm=float(stage.min()),
        high_nm=float(stage.max()),
    )


def quality_numbers(
    assembled: AssembledPsf,
    checks: Sequence[BeadCheck],
    *,
    beads_used: int,
    beads_rejected: int,
    pixel_size_nm: tuple[float, float],
) -> CalibrationQuality:
    """Gather what the calibration file keeps about its quality.

    Bias and scatter of z are those of all beads' slices in bins of 100 nm; the bounds are
    those of an emitter of 5,000 photons on 20 background photons per pixel, interpolated at
    the centres of the same bins.

    Parameters
    ----------
    pixel_size_nm : (float, float)
        Along x and y.
    """
    centers, bias, scatter = _binned(checks)
    z_nm, bounds = _bounds(assembled)
    return CalibrationQuality(
        beads_used=beads_used,
        beads_rejected=beads_rejected,
        residual_rms=spline_residual(assembled),
        z_nm=tuple(centers),
        z_fit_bias_nm=tuple(bias),
        z_fit_std_nm=tuple(scatter),
        crlb_photons=CRLB_PHOTONS,
        crlb_background=CRLB_BACKGROUND,
        crlb_x_nm=tuple(np.interp(centers, z_nm, bounds[0] * pixel_size_nm[0]).tolist()),
        crlb_y_nm=tuple(np.interp(centers, z_nm, bounds[1] * pixel_size_nm[1]).tolist()),
        crlb_z_nm=tuple(np.interp(centers, z_nm, bounds[2]).tolist()),
    )


def _relative_residual(model: SplinePsfModel, windows: _Windows) -> float:
    """Return the RMS of the slices minus ``a model + b``, relative to ``a`` times the peak."""
    z_nm = torch.from_numpy(windows.z_nm)
    dx, dy = torch.full_like(z_nm, windows.dx_px), torch.full_like(z_nm, windows.dy_px)
    drawn = model.value(dx, dy, z_nm, windows.photons.shape[1]).numpy()
    design = np.stack([drawn.ravel(), np.ones(drawn.size)], axis=1)
    amplitude, background = np.linalg.lstsq(design, windows.photons.ravel(), rcond=None)[0]
    residual = windows.photons - amplitude * drawn - background
    return float(np.sqrt(np.mean(residual**2)) / (amplitude * drawn.max()))


def _binned(checks: Sequence[BeadCheck]) -> tuple[list[float], list[float], list[float]]:
    """Return centres of the filled z bins, mean error and standard deviation in each."""
    stage = np.concatenate([c.stage_z_nm for c in checks])
    error = np.concatenate([c.fitted_z_nm for c in checks]) - stage
    bins = np.round(stage / _BIN_NM).astype(np.int64)
    centers, bias, scatter = [], [], []
    for k in np.unique(bins):
        here = error[bins == k]
        centers.append(float(k * _BIN_NM))
        bias.append(float(here.mean()))
        scatter.append(float(here.std()))
    return centers, bias, scatter


def _bounds(assembled: AssembledPsf) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return z (K,) and the bounds (3, K): x and y in px, z in nm."""
    model = SplinePsfModel.from_parameters(assembled.psf, dtype=torch.float64)
    low, high = model.z_range_nm
    count = max(int((high - low) / _CRLB_STEP_NM) + 1, 2)
    # The very ends have a one-sided derivative; a hair inside is the same to any user.
    inset_nm = 1e-3 * (high - low)
    z_nm = torch.linspace(low + inset_nm, high - inset_nm, count, dtype=torch.float64)
    zero, one = torch.zeros_like(z_nm), torch.ones_like(z_nm)
    bounds = crlb(
        model,
        dx_px=zero,
        dy_px=zero,
        z_nm=z_nm,
        photons=one * CRLB_PHOTONS,
        background=one * CRLB_BACKGROUND,
        roi_px=fit_width_px(assembled),
    )
    return z_nm.numpy(), torch.stack([bounds.x_px, bounds.y_px, bounds.z_nm]).numpy()
