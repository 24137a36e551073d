"""Simulated bead stacks with known positions, for the tests of the calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decode_engine.contract.configs import CalibrateConfig

Floats: TypeAlias = NDArray[np.floating[Any]]

DZ_NM = 25.0
SLICES = 61
FOCUS = 30
OFFSET_ADU = 100.0
PHOTONS_PER_ADU = 0.5
CONFIG = CalibrateConfig(
    dz_nm=DZ_NM,
    pixel_size_x_nm=100.0,
    roi_px=21,
    min_distance_px=20.0,
    offset_adu=OFFSET_ADU,
    photons_per_adu=PHOTONS_PER_ADU,
)


@dataclass(frozen=True)
class Bead:
    """A bead at x, y (px) whose focus lies ``shift`` slices above the middle slice."""

    x: float
    y: float
    shift: float = 0.0
    photons: float = 50_000.0
    width: float = 1.0


def sigma(z_nm: Floats, focus_nm: float) -> Floats:
    """Width in px of a Gaussian beam."""
    return np.asarray(1.15 * np.sqrt(1 + ((z_nm - focus_nm) / 350) ** 2))


def psf(z_nm: Floats, y_px: Floats, x_px: Floats, scale: float) -> NDArray[np.float64]:
    """Astigmatic PSF (Z, Y, X): the line focus in x lies at +200 nm, that in y at -200 nm."""
    sx = scale * sigma(z_nm, 200.0)[:, None, None]
    sy = scale * sigma(z_nm, -200.0)[:, None, None]
    shape = np.exp(-(x_px[None, None] ** 2) / (2 * sx**2) - y_px[None, :, None] ** 2 / (2 * sy**2))
    return np.asarray(shape / (2 * np.pi * sx * sy), np.float64)


def expected_photons(beads: list[Bead], shape: tuple[int, int], background: float = 20.0) -> Floats:
    """Mean photons (Z, H, W); slice k shows a bead at z = -(k - FOCUS - shift) dz."""
    field = np.full((SLICES, *shape), background)
    for bead in beads:
        z_nm = -(np.arange(SLICES) - FOCUS - bead.shift) * DZ_NM
        y, x = np.arange(shape[0]) - bead.y, np.arange(shape[1]) - bead.x
        field += bead.photons * psf(z_nm, y, x, bead.width)
    return field


def record(
    photons: Floats, rng: np.random.Generator, *, top_adu: int = 65535
) -> NDArray[np.uint16]:
    """Shot noise, gain, offset, and clipping at ``top_adu``."""
    adu = rng.poisson(photons) / PHOTONS_PER_ADU + OFFSET_ADU
    return np.asarray(np.clip(adu, 0, top_adu), np.uint16)


def scattered(n_side: int, rng: np.random.Generator, pitch: int = 30) -> list[Bead]:
    """Beads near the nodes of a grid, with random sub-pixel and z shifts and brightness."""
    return [
        Bead(
            x=pitch * (i + 0.5) + rng.uniform(-0.5, 0.5),
            y=pitch * (j + 0.5) + rng.uniform(-0.5, 0.5),
            shift=rng.uniform(-4, 4),
            photons=rng.uniform(30_000, 90_000),
        )
        for i in range(n_side)
        for j in range(n_side)
    ]


def with_defect(beads: list[Bead], index: int) -> list[Bead]:
    """Make one bead an aggregate: as bright, but a third wider."""
    return [replace(b, width=1.3) if i == index else b for i, b in enumerate(beads)]
