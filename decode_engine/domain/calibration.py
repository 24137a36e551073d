"""`Calibration`: a fitted PSF with its pixel size, z range and origin."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import CalibrationError

__all__ = ["Calibration", "CalibrationQuality", "GaussianPsf", "PsfParameters", "SplinePsf"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SplinePsf:
    """Cubic-spline PSF in SMAP's layout.

    Parameters
    ----------
    coefficients : (Y, X, Z, 64) float32
        Voxel (j, i, k) spans the samples j..j+1 (rows), i..i+1 (columns), k..k+1 (slices);
        the last index is ``p_y + 4 * p_x + 16 * p_z``, the exponents of the fractions.
    dz_nm : float
        Distance of slices.
    z0_slice : float
        Slice coordinate of z = 0: ``z_nm = -(w - z0_slice) * dz_nm`` where w counts from 0.
        SMAP stores this number 1-based and uses it so; it is kept as SMAP uses it.
    center_x_px, center_y_px : float
        0-based sample where the emitter sits (SMAP's ``x0 - 1``).
    """

    coefficients: NDArray[np.float32]
    dz_nm: float
    z0_slice: float
    center_x_px: float
    center_y_px: float

    def __post_init__(self) -> None:
        c = np.ascontiguousarray(self.coefficients, np.float32)
        if c.ndim != 4 or c.shape[3] != 64 or min(c.shape) < 1:
            raise CalibrationError(
                f"Spline coefficients must have the shape (rows, columns, slices, 64), not "
                f"{c.shape}.",
                hint="Is this really a cubic-spline calibration?",
            )
        if not np.all(np.isfinite(c)):
            bad = int(np.size(c) - np.count_nonzero(np.isfinite(c)))
            raise CalibrationError(
                f"The spline contains {bad} coefficients that are NaN or infinite.",
                hint="Make the calibration again; often a bead at the border causes this.",
            )
        if not self.dz_nm > 0:
            raise CalibrationError(f"The slice distance {self.dz_nm} nm is not positive.")
        object.__setattr__(self, "coefficients", c)
        _plain_floats(self)

    def __eq__(self, other: object) -> bool:
        # The generated comparison would ask an array for its truth value.
        if not isinstance(other, SplinePsf):
            return NotImplemented
        scalars = ("dz_nm", "z0_slice", "center_x_px", "center_y_px")
        same = all(getattr(self, name) == getattr(other, name) for name in scalars)
        return same and np.array_equal(self.coefficients, other.coefficients)

    def __hash__(self) -> int:
        return hash((self.coefficients.shape, self.dz_nm, self.z0_slice))

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Lowest and highest z that the slices cover."""
        slices = self.coefficients.shape[2]
        return (-(slices - self.z0_slice) * self.dz_nm, self.z0_slice * self.dz_nm)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianPsf:
    """Pixel-integrated elliptical Gaussian; its widths follow a defocus curve over z.

    ``sigma_x(z) = sigma0_x * sqrt(1 + u^2 + cubic_x u^3 + quartic_x u^4)``,
    ``u = (z - focus_x) / depth`` and likewise in y (Huang et al. 2008, doi
    10.1126/science.1153529). ``depth_nm = None`` makes the PSF two-dimensional.
    """

    sigma0_x_nm: float
    sigma0_y_nm: float
    depth_nm: float | None = None
    focus_x_nm: float = 0.0
    focus_y_nm: float = 0.0
    cubic_x: float = 0.0
    cubic_y: float = 0.0
    quartic_x: float = 0.0
    quartic_y: float = 0.0
    z_min_nm: float = 0.0
    z_max_nm: float = 0.0

    def __post_init__(self) -> None:
        _plain_floats(self)
        if not (self.sigma0_x_nm > 0 and self.sigma0_y_nm > 0):
            raise CalibrationError(
                f"The PSF width {self.sigma0_x_nm} x {self.sigma0_y_nm} nm is not positive."
            )
        if self.depth_nm is not None and not (self.depth_nm > 0 and self.z_max_nm > self.z_min_nm):
            raise CalibrationError(
                f"The depth {self.depth_nm} nm or the z range {self.z_min_nm}.."
                f"{self.z_max_nm} nm is empty."
            )

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Lowest and highest z for which the widths are valid; (0, 0) in 2D."""
        return (self.z_min_nm, self.z_max_nm) if self.depth_nm is not None else (0.0, 0.0)


def _plain_floats(psf: SplinePsf | GaussianPsf) -> None:
    """Make all numbers plain floats, so that 10 and 10.0 give the same fingerprint."""
    for f in dataclasses.fields(psf):
        value = getattr(psf, f.name)
        if value is None or isinstance(value, np.ndarray):
            continue
        if not np.isfinite(value):
            raise CalibrationError(
                f"{f.name} of the PSF is {value}.", hint="Make the calibration again."
            )
        object.__setattr__(psf, f.name, float(value))


PsfParameters: TypeAlias = SplinePsf | GaussianPsf


@dataclass(frozen=True, kw_only=True)
class CalibrationQuality:
    """Numbers that say how good a calibration made from beads is.

    ``z_fit_bias_nm`` and ``z_fit_std_nm`` compare the fitted z of the beads with the stage;
    ``crlb_*_nm`` are bounds for ``crlb_photons`` photons and ``crlb_background`` at ``z_nm``.
    """

    beads_used: int
    beads_rejected: int
    residual_rms: float  # of the average bead's peak
    z_nm: tuple[float, ...] = ()
    z_fit_bias_nm: tuple[float, ...] = ()
    z_fit_std_nm: tuple[float, ...] = ()
    crlb_photons: float = 0.0
    crlb_background: float = 0.0
    crlb_x_nm: tuple[float, ...] = ()
    crlb_y_nm: tuple[float, ...] = ()
    crlb_z_nm: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A PSF with what is needed to use it safely.

    Parameters
    ----------
    psf : SplinePsf or GaussianPsf
    pixel_size_x_nm, pixel_size_y_nm : float or None
        None where the file does not say; ask the user, never assume.
    em_mirrored : bool or None
        True when the bead stack was mirrored as EM frames are; None where unknown.
    refractive_index_factor : float
        Factor from the stage's z, in which ``psf`` and ``quality`` are, to z in the sample
        (about 0.72-0.8 for oil objectives in watery samples). `sample_psf` and `z_range_nm`
        hold it; whoever draws or fits uses these, so z is multiplied by it exactly once.
    source : str
        What the calibration was read or made from, in words.
    provenance : dict
        Free facts (file checksum, software, settings) as text.
    """

    psf: PsfParameters
    pixel_size_x_nm: float | None = None
    pixel_size_y_nm: float | None = None
    em_mirrored: bool | None = None
    refractive_index_factor: float = 1.0
    source: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    quality: CalibrationQuality | None = None

    def __post_init__(self) -> None:
        factor = self.refractive_index_factor
        if not (np.isfinite(factor) and factor > 0):
            raise CalibrationError(
                f"The refractive-index factor {factor} is not possible.",
                hint="Give 0.7 to 1 for oil objectives, 1 where stage and sample z agree.",
            )

    @property
    def is_3d(self) -> bool:
        """Whether z can be estimated with this PSF."""
        low, high = self.z_range_nm
        return high > low

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Lowest and highest calibrated z in the sample, in nm."""
        low, high = self.psf.z_range_nm
        return (low * self.refractive_index_factor, high * self.refractive_index_factor)

    @property
    def sample_psf(self) -> PsfParameters:
        """The PSF with z in the sample: the stage's z times the refractive-index factor."""
        factor, psf = self.refractive_index_factor, self.psf
        if factor == 1.0:
            return psf
        if isinstance(psf, SplinePsf):
            return dataclasses.replace(psf, dz_nm=psf.dz_nm * factor)
        return dataclasses.replace(
            psf,
            depth_nm=None if psf.depth_nm is None else psf.depth_nm * factor,
            focus_x_nm=psf.focus_x_nm * factor,
            focus_y_nm=psf.focus_y_nm * factor,
            z_min_nm=psf.z_min_nm * factor,
            z_max_nm=psf.z_max_nm * factor,
        )

    def require_z_range(self, z_min_nm: float, z_max_nm: float) -> None:
        """Raise `CalibrationError` unless the range lies inside the calibrated one."""
        low, high = self.z_range_nm
        if not self.is_3d and (z_min_nm, z_max_nm) != (0.0, 0.0):
            raise CalibrationError(
                f"z from {z_min_nm:g} to {z_max_nm:g} nm was asked of a 2D calibration.",
                hint="Use a 3D calibration, or leave z out.",
            )
        tolerance_nm = 1e-3  # rounding of z0 * dz in single precision
        if z_min_nm < low - tolerance_nm or z_max_nm > high + tolerance_nm:
            raise CalibrationError(
                f"z from {z_min_nm:g} to {z_max_nm:g} nm was asked, but the calibration covers "
                f"{low:g} to {high:g} nm.",
                hint="Choose a z range inside the calibration, or record a longer bead stack.",
            )

    def with_pixel_size(self, x_nm: float, y_nm: float) -> Calibration:
        """Return the calibration with its pixel size set."""
        return dataclasses.replace(self, pixel_size_x_nm=x_nm, pixel_size_y_nm=y_nm)

    def fingerprint(self) -> str:
        """Return a SHA-256 over the PSF itself (not over names and notes)."""
        digest = hashlib.sha256()
        scalars = {}
        for f in dataclasses.fields(self.psf):
            value = getattr(self.psf, f.name)
            if isinstance(value, np.ndarray):
                digest.update(value.tobytes())
            else:
                scalars[f.name] = value
        scalars["em_mirrored"] = self.em_mirrored
        if self.refractive_index_factor != 1.0:  # left out at 1, as before there was a choice
            scalars["refractive_index_factor"] = self.refractive_index_factor
        digest.update(json.dumps(scalars, sort_keys=True).encode())
        return digest.hexdigest()
