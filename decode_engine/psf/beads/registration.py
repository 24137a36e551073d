"""Sub-pixel registration of beads in x, y and z, and their robust average.

Each bead is resampled at its present centre onto a common grid and compared with the average
``T`` of all beads by weighted linear least squares (Lucas & Kanade 1981, in the
inverse-compositional form of Baker & Matthews 2004, doi 10.1023/B:VISI.0000011205.11775.fd):
``bead(c + u) = a T(u) - a (d . grad T)(u) + b`` gives the shift ``d`` still missing. Averages
and shifts are repeated until nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import CalibrationError
from decode_engine.psf.beads.averaging import clipped_mean, masked_median
from decode_engine.psf.beads.coarse_alignment import axial_lag, reference_bead
from decode_engine.psf.beads.crops import BeadCrop
from decode_engine.psf.beads.detection import RejectedBead
from decode_engine.psf.beads.focus import focal_center, focus_slice
from decode_engine.psf.beads.resampling import Resampled, derivative, resample
from decode_engine.psf.beads.shift_fit import missing_shift
from decode_engine.psf.beads.smoothing import smooth_along_z, smoothing_strength

__all__ = ["RegisteredBead", "Registration", "register_beads", "structural_residual"]

_CORE_RANGE_NM = 500.0
_TEMPLATE_SMOOTHING_NM = 40.0
_MAX_ITERATIONS = 12
_CONVERGED_PX = 2e-3
_MAX_DRIFT_PX = 4.0
_REJECTION_ROUNDS = 3
# A bead is an outlier when its residual exceeds the median by 3.5 robust standard deviations,
# and half the median on top, and 0.4 % of the peak: beads that all fit well are all kept.
_OUTLIER_SIGMAS = 3.5
_OUTLIER_RATIO = 1.5
_OUTLIER_FLOOR = 0.004


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredBead:
    """Where a bead is and how well it agrees with the average.

    Attributes
    ----------
    stack : int
        Index of its stack.
    x_px, y_px : float
        Position in the field.
    z_slice : float
        Slice of its own stack that is slice 0 of the average.
    amplitude, background : float
        ``bead = amplitude * average + background`` where the average's peak is 1; photons.
    residual_rms : float
        RMS difference from the average, relative to the peak.
    noise_rms : float
        The part of it that is noise, estimated from fourth differences along z.
    """

    stack: int
    x_px: float
    y_px: float
    z_slice: float
    amplitude: float
    background: float
    residual_rms: float = 0.0
    noise_rms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Registration:
    """The registered beads and their average.

    Attributes
    ----------
    average : (Z, Y, X) float32
        Peak 1, background 0 on average; the focal spot sits on the central sample.
    focus : float
        Slice coordinate of the focus in the average.
    beads, crops, rejected : tuples
        Beads that were averaged, what they were cut from (in the same order), and the beads
        that were not averaged, with the reason.
    """

    average: NDArray[np.float32]
    focus: float
    beads: tuple[RegisteredBead, ...]
    crops: tuple[BeadCrop, ...]
    rejected: tuple[RejectedBead, ...]


def structural_residual(bead: RegisteredBead) -> float:
    """Return the part of a bead's residual that is not noise, relative to the peak."""
    return float(np.sqrt(max(bead.residual_rms**2 - bead.noise_rms**2, 0.0)))


def register_beads(
    crops: Sequence[BeadCrop],
    *,
    roi_px: int,
    dz_nm: float,
    step: Callable[[str], None],
) -> Registration:
    """Register beads against each other and average them.

    Parameters
    ----------
    crops : sequence of BeadCrop
        Beads whose window of ``roi_px`` lies inside their field.
    roi_px : int
        Odd width of the average.
    dz_nm : float
        Distance of slices, positive.
    step : callable
        Called with a word before each piece of work; may raise to cancel.

    Raises
    ------
    CalibrationError
        If no bead is left.
    """
    aligner = _Aligner(crops, roi_px=roi_px, dz_nm=dz_nm, step=step)
    for _ in range(_REJECTION_ROUNDS):
        aligner.iterate()
        if not aligner.reject_outliers():
            break
    else:
        aligner.iterate()
    return aligner.finish()


class _Aligner:
    """The state of one registration: windows, present centres, average."""

    def __init__(
        self,
        crops: Sequence[BeadCrop],
        *,
        roi_px: int,
        dz_nm: float,
        step: Callable[[str], None],
    ) -> None:
        self.half = roi_px // 2
        self.dz_nm = dz_nm
        self.step = step
        self.crops = list(crops)
        self.rejected: list[RejectedBead] = []
        self.beads, self.slices = self._start()
        self.average = np.empty(0)
        self.focus = 0.0

    def _start(self) -> tuple[list[RegisteredBead], int]:
        """Return the beads with z aligned to whole slices, and the length of the average."""
        cores = []
        for crop in self.crops:
            self.step("aligning")
            y, x = round(crop.y_px) - crop.y0, round(crop.x_px) - crop.x0
            r = min(self.half, 8)
            core = crop.photons[:, max(y - r, 0) : y + r + 1, max(x - r, 0) : x + r + 1]
            cores.append(core - np.quantile(core, 0.2))
        reference = reference_bead(cores)
        lags = [axial_lag(core, cores[reference]) for core in cores]
        ends = [len(c) - lag for c, lag in zip(cores, lags, strict=True)]
        first = round(float(np.median([-lag for lag in lags])))
        length = max(round(float(np.median(ends))) - first, 1)
        beads = [
            RegisteredBead(
                stack=crop.stack,
                x_px=float(round(crop.x_px)),
                y_px=float(round(crop.y_px)),
                z_slice=float(lag + first),
                amplitude=float(core.max()),
                background=float(np.quantile(crop.photons, 0.2)),
            )
            for crop, core, lag in zip(self.crops, cores, lags, strict=True)
        ]
        return beads, length

    def iterate(self) -> None:
        """Alternate averaging and shifting until nothing moves."""
        for round_ in range(_MAX_ITERATIONS):
            self._average(robust=round_ < 2)
            moved = self._shift()
            self._reject_lost()
            if moved < _CONVERGED_PX and round_ >= 2:
                break
        self._center()
        self._average(robust=False)
        self._judge()

    def _resampled(self, index: int) -> Resampled:
        bead, crop = self.beads[index], self.crops[index]
        offsets = np.arange(-self.half, self.half + 1, dtype=np.float64)
        return resample(
            crop.photons,
            bead.z_slice + np.arange(self.slices, dtype=np.float64),
            bead.y_px - crop.y0 + offsets,
            bead.x_px - crop.x0 + offsets,
        )

    def _average(self, *, robust: bool) -> None:
        """Set the average of the scaled beads; its peak is 1."""
        shape = (len(self.beads), self.slices, 2 * self.half + 1, 2 * self.half + 1)
        volumes, valid = np.empty(shape, np.float32), np.empty(shape, bool)
        for i, bead in enumerate(self.beads):
            self.step("averaging")
            sample = self._resampled(i)
            volumes[i] = (sample.values - bead.background) / bead.amplitude
            valid[i] = sample.valid
        if robust and len(self.beads) > 2:
            average = masked_median(volumes, valid).astype(np.float64)
        else:
            amplitudes = np.array([b.amplitude for b in self.beads])
            # One very bright clump must not decide alone.
            weights = np.minimum(amplitudes, 3 * np.median(amplitudes))
            average = clipped_mean(volumes, valid, weights)
        self.average = average / average.max()
        self.focus = focus_slice(self.average, self.dz_nm)

    def _core(self) -> slice:
        """Return the slices around the focus that decide the shifts."""
        reach = max(_CORE_RANGE_NM / self.dz_nm, 3)
        low = max(int(self.focus - reach), 0)
        return slice(low, min(int(self.focus + reach) + 2, self.slices))

    def _shift(self) -> float:
        """Move every bead by the shift that is still missing; return the largest, in px."""
        core = self._core()
        # Noise in the average's z derivative would hide the signal of dim beads.
        strength = smoothing_strength(_TEMPLATE_SMOOTHING_NM, self.dz_nm)
        template = smooth_along_z(self.average, strength)
        gradients = np.stack([derivative(template, axis)[core] for axis in range(3)])
        fits = []
        for i in range(len(self.beads)):
            self.step("aligning")
            sample = self._resampled(i)
            fits.append(
                missing_shift(
                    sample.values[core],
                    sample.valid[core],
                    self.average[core],
                    gradients,
                )
            )
        shifts = np.array([f.shift for f in fits])
        shifts -= np.median(shifts, axis=0)  # the average as a whole need not move
        self.beads = [
            replace(
                bead,
                amplitude=fit.amplitude,
                background=fit.background,
                z_slice=bead.z_slice + float(shift[0]),
                y_px=bead.y_px + float(shift[1]),
                x_px=bead.x_px + float(shift[2]),
            )
            for bead, fit, shift in zip(self.beads, fits, shifts, strict=True)
        ]
        return float(np.abs(shifts).max())

    def _reject_lost(self) -> None:
        """Drop beads that ran away, have no signal, or miss the focus."""
        core = self._core()
        for i in reversed(range(len(self.beads))):
            bead, crop = self.beads[i], self.crops[i]
            moved = float(np.hypot(bead.x_px - crop.x_px, bead.y_px - crop.y_px))
            z = bead.z_slice + np.arange(core.start, core.stop)
            covered = float(np.mean((z >= -0.5) & (z <= len(crop.photons) - 0.5)))
            if not bead.amplitude > 0:
                self._drop(i, "it does not resemble the other beads (negative amplitude)")
            elif moved > _MAX_DRIFT_PX:
                self._drop(i, f"registration moved it by {moved:.1f} px: not a single bead")
            elif covered < 0.75:
                self._drop(
                    i, f"only {100 * covered:.0f} % of the slices around the focus were recorded"
                )

    def _drop(self, index: int, reason: str) -> None:
        crop = self.crops[index]
        self.rejected.append(
            RejectedBead(stack=crop.stack, x_px=crop.x_px, y_px=crop.y_px, reason=reason)
        )
        del self.beads[index], self.crops[index]
        if not self.beads:
            raise CalibrationError(
                f"All beads were rejected; the last one because {reason}.",
                hint="Check dz_nm and the stack, or raise detection_cutoff to find only beads.",
            )

    def _center(self) -> None:
        """Move all beads so that the focal spot sits on the central sample.

        With several beads the focus is moved onto a whole slice too; a single bead keeps its
        own slices, which spares it an interpolation.
        """
        y, x = focal_center(self.average, self.focus)
        z = self.focus - round(self.focus) if len(self.beads) > 1 else 0.0
        self.beads = [
            replace(
                b,
                y_px=b.y_px + y - self.half,
                x_px=b.x_px + x - self.half,
                z_slice=b.z_slice + z,
            )
            for b in self.beads
        ]

    def _judge(self) -> None:
        """Set amplitude, background, residual and noise of every bead."""
        for i, bead in enumerate(self.beads):
            self.step("judging")
            sample = self._resampled(i)
            valid = sample.valid
            design = np.stack([self.average[valid], np.ones(int(valid.sum()))], axis=-1)
            fit = np.linalg.lstsq(design, sample.values[valid], rcond=None)[0]
            residual = sample.values[valid] - design @ fit
            self.beads[i] = replace(
                bead,
                amplitude=float(fit[0]),
                background=float(fit[1]),
                residual_rms=float(np.sqrt(np.mean(residual**2)) / fit[0]),
                noise_rms=_noise(sample) / float(fit[0]),
            )

    def reject_outliers(self) -> bool:
        """Drop beads whose residual is far above the others'; return whether there were any."""
        if len(self.beads) < 3:
            return False
        structure = np.array([structural_residual(b) for b in self.beads])
        middle = float(np.median(structure))
        spread = 1.4826 * float(np.median(np.abs(structure - middle)))
        limit = max(middle + _OUTLIER_SIGMAS * spread, _OUTLIER_RATIO * middle, _OUTLIER_FLOOR)
        outliers = np.flatnonzero(structure > limit)
        for i in outliers[::-1]:
            self._drop(
                int(i),
                f"it differs from the average by {100 * structure[i]:.2f} % of the peak (RMS), "
                f"others by {100 * middle:.2f} %",
            )
        return len(outliers) > 0

    def finish(self) -> Registration:
        """Return the result, cut to the slices that at least half of the beads cover."""
        recorded = np.zeros(self.slices, np.int64)
        for bead, crop in zip(self.beads, self.crops, strict=True):
            z = bead.z_slice + np.arange(self.slices)
            recorded += (z >= -0.5) & (z <= len(crop.photons) - 0.5)
        kept = np.flatnonzero(2 * recorded >= len(self.beads))
        first, last = int(kept[0]), int(kept[-1]) + 1
        beads = [replace(b, z_slice=b.z_slice + first) for b in self.beads]
        return Registration(
            average=np.asarray(self.average[first:last], np.float32),
            focus=self.focus - first,
            beads=tuple(beads),
            crops=tuple(self.crops),
            rejected=tuple(self.rejected),
        )


def _noise(sample: Resampled) -> float:
    """Return the noise of a volume: fourth differences along z cancel a smooth PSF."""
    fourth = np.diff(sample.values, 4, axis=0)[sample.valid[4:]]
    # The weights 1, -4, 6, -4, 1 multiply the variance by 70.
    return float(np.sqrt(np.mean(fourth**2) / 70.0)) if fourth.size else 0.0
