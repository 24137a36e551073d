"""Families of random microscopes: what starter models are trained on.

A member is an objective with aberrations, its pixels and its blur, drawn by a seeded generator
and computed by `diffraction_psf`; all members of a family have windows and slices of one size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from diffraction_psf import Objective, psf_stack  # beside this script
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from decode_engine.domain.calibration import SplinePsf
from decode_engine.psf.spline_coefficients import spline_coefficients

__all__ = ["FAMILIES", "Family", "Member", "member_stack", "members", "spline"]

_SMALL = ((2, -2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0))  # modes of imperfect alignment


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One microscope of a family."""

    objective: Objective
    pixel_size_nm: float
    blur_nm: float = 0.0  # of molecules, pixels and drift, on top of diffraction
    z_stretch: float = 1.0  # of refractive indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Members of one kind, and the slices on which they are sampled."""

    nominal: Member
    draw: Callable[[np.random.Generator], Member]
    z_limit_nm: float  # of emitters
    slices: int
    dz_nm: float
    roi_px: int
    is_3d: bool = True

    @property
    def sketch_z_nm(self) -> NDArray[np.float64]:
        """Heights at which a starter looks at a PSF; calibrations may end a bit earlier."""
        return 0.8 * self.z_limit_nm * np.linspace(-1.0, 1.0, 9) if self.is_3d else np.zeros(1)

    @property
    def sketch_px(self) -> int:
        """Odd width of the window in which a starter looks at a PSF."""
        return 2 * self.roi_px // 3 | 1


def _objective(rng: np.random.Generator, astigmatism: float) -> Objective:
    """Draw an oil or water objective with lambda/40 to lambda/20 rms of aberrations."""
    aperture = float(rng.uniform(1.15, 1.49))
    index = 1.518 if aperture > 1.27 or rng.random() < 0.3 else 1.333
    weights = rng.normal(size=len(_SMALL))
    weights *= rng.uniform(1 / 40, 1 / 20) / np.linalg.norm(weights)
    return Objective(
        numerical_aperture=aperture,
        refractive_index=index,
        wavelength_nm=float(rng.uniform(560.0, 710.0)),
        astigmatism_rms_waves=astigmatism,
        aberrations_rms_waves=tuple(
            (n, m, float(w)) for (n, m), w in zip(_SMALL, weights, strict=True)
        ),
    )


def _flat(rng: np.random.Generator) -> Member:
    return Member(
        objective=_objective(rng, float(rng.normal(0.0, 0.015))),
        pixel_size_nm=float(rng.uniform(90.0, 165.0)),
        blur_nm=float(rng.uniform(0.0, 60.0)),
    )


def _astigmatic(rng: np.random.Generator) -> Member:
    return Member(
        objective=_objective(rng, float(rng.uniform(0.05, 0.13))),
        pixel_size_nm=float(rng.uniform(90.0, 165.0)),
        blur_nm=float(rng.uniform(0.0, 50.0)),
        z_stretch=float(rng.uniform(0.8, 1.2)),
    )


def _tetrapod(rng: np.random.Generator) -> Member:
    objective = _objective(rng, float(rng.uniform(0.2, 0.34)))
    second = -objective.astigmatism_rms_waves * float(rng.uniform(0.55, 0.8))
    modes = (*objective.aberrations_rms_waves, (4, 2, second))
    return Member(
        objective=Objective(
            numerical_aperture=objective.numerical_aperture,
            refractive_index=objective.refractive_index,
            wavelength_nm=objective.wavelength_nm,
            astigmatism_rms_waves=objective.astigmatism_rms_waves,
            aberrations_rms_waves=modes,
        ),
        pixel_size_nm=float(rng.uniform(95.0, 165.0)),
        blur_nm=float(rng.uniform(0.0, 50.0)),
        z_stretch=float(rng.uniform(0.85, 1.15)),
    )


FAMILIES: Mapping[str, Family] = {
    "2d": Family(
        nominal=Member(objective=Objective(astigmatism_rms_waves=0.0), pixel_size_nm=110.0),
        draw=_flat,
        z_limit_nm=300.0,
        slices=17,
        dz_nm=50.0,
        roi_px=21,
        is_3d=False,
    ),
    "astigmatic": Family(
        nominal=Member(objective=Objective(), pixel_size_nm=110.0),
        draw=_astigmatic,
        z_limit_nm=750.0,
        slices=35,
        dz_nm=50.0,
        roi_px=25,
    ),
    "tetrapod": Family(
        nominal=Member(
            objective=Objective(astigmatism_rms_waves=0.27, aberrations_rms_waves=((4, 2, -0.18),)),
            pixel_size_nm=110.0,
        ),
        draw=_tetrapod,
        z_limit_nm=1400.0,
        slices=47,
        dz_nm=70.0,
        roi_px=33,
    ),
}


def member_stack(family: Family, member: Member) -> NDArray[np.float64]:
    """Return (roi_px, roi_px, slices), brightest slice normalised to 1; z falls with the slice."""
    z_nm = -(np.arange(family.slices) - (family.slices - 1) / 2) * family.dz_nm
    stack = psf_stack(
        member.objective,
        z_nm * member.z_stretch,
        roi_px=family.roi_px,
        pixel_size_nm=member.pixel_size_nm,
        oversampling=3,
    )
    if member.blur_nm > 0:
        for axis in (0, 1):
            sigma_px = member.blur_nm / member.pixel_size_nm
            stack = gaussian_filter1d(stack, sigma_px, axis=axis, mode="constant")
    return np.asarray(stack / stack.sum(axis=(0, 1)).max())


def members(name: str, count: int, seed: int, workers: int = 1) -> NDArray[np.float32]:
    """Return the (count, slices - 1, 64, roi - 1, roi - 1) coefficients of random members."""
    family = FAMILIES[name]
    jobs = [(name, seed, number) for number in range(count)]
    if workers == 1:
        parts = [_coefficients(job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers) as pool:
            parts = list(pool.map(_coefficients, jobs, chunksize=4))
    assert parts[0].shape == (family.slices - 1, 64, family.roi_px - 1, family.roi_px - 1)
    return np.stack(parts)


def _coefficients(job: tuple[str, int, int]) -> NDArray[np.float32]:
    name, seed, number = job
    family = FAMILIES[name]
    member = family.draw(np.random.default_rng([seed, number]))
    coefficients = spline_coefficients(member_stack(family, member))
    return np.ascontiguousarray(coefficients.transpose(2, 3, 0, 1), np.float32)


def spline(family: Family, member: Member) -> SplinePsf:
    """Return a member as the spline of a calibration."""
    return SplinePsf(
        coefficients=spline_coefficients(member_stack(family, member)).astype(np.float32),
        dz_nm=family.dz_nm,
        z0_slice=(family.slices - 1) / 2,
        center_x_px=(family.roi_px - 1) / 2,
        center_y_px=(family.roi_px - 1) / 2,
    )
