"""`Emitters` (simulated truth) and `Localizations` (estimates with uncertainties).

Coordinates: x runs along columns to the right, y along rows downwards, both in nm; (0, 0) is
the centre of the camera frame's top-left pixel. Frames count from 0. z has SMAP's sign,
``z = -(slice - z0) * dz``. Photons are detected photons; background is per pixel and frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.table import ColumnTable, FloatArray, IntArray, column
from decode_engine.errors import LocalizationsError

__all__ = ["Emitters", "LocalizationFlag", "Localizations"]


class LocalizationFlag:
    """Bits of `Localizations.flags` (0 = nothing to report)."""

    Z_AT_LIMIT = 1  # the estimate sits on the end of the calibrated z range
    NOT_CONVERGED = 2  # the fitter stopped at its iteration limit
    NEAR_BORDER = 4  # the fit window was shifted or cut by the border of the frame
    SATURATED = 8  # a pixel under the emitter reached the camera's saturation
    CROWDED = 16  # another candidate lies inside the fit window

    NAMES: ClassVar[Mapping[int, str]] = MappingProxyType(
        {1: "z at limit", 2: "not converged", 4: "near border", 8: "saturated", 16: "crowded"}
    )


@dataclass(frozen=True, kw_only=True)
class Emitters(ColumnTable):
    """True (simulated) emitters, one row for each emitter and frame in which it is on."""

    frame: IntArray = column("int32", "frame", "frame index, from 0")
    x_nm: FloatArray = column("float32", "nm", "position along columns, to the right")
    y_nm: FloatArray = column("float32", "nm", "position along rows, downwards")
    z_nm: FloatArray = column("float32", "nm", "axial position, SMAP's sign")
    photons: FloatArray = column("float32", "photon", "photons of the emitter in this frame")
    background: FloatArray | None = column(
        "float32", "photon", "expected background per pixel at the emitter", required=False
    )
    emitter_id: IntArray | None = column(
        "int32", "", "number of the molecule, the same in all its frames", required=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_frames(self.frame)


@dataclass(frozen=True, kw_only=True)
class Localizations(ColumnTable):
    """Estimated emitters; ``sigma_*`` are standard deviations, never variances."""

    frame: IntArray = column("int32", "frame", "frame index, from 0")
    x_nm: FloatArray = column("float32", "nm", "position along columns, to the right")
    y_nm: FloatArray = column("float32", "nm", "position along rows, downwards")
    z_nm: FloatArray = column("float32", "nm", "axial position, SMAP's sign; NaN in 2D")
    photons: FloatArray = column("float32", "photon", "detected photons in this frame")
    background: FloatArray = column("float32", "photon", "background per pixel and frame")
    probability: FloatArray | None = column(
        "float32", "", "probability that the localization is an emitter, 0..1", required=False
    )
    sigma_x_nm: FloatArray | None = column(
        "float32", "nm", "uncertainty of x (standard deviation)", required=False
    )
    sigma_y_nm: FloatArray | None = column(
        "float32", "nm", "uncertainty of y (standard deviation)", required=False
    )
    sigma_z_nm: FloatArray | None = column(
        "float32", "nm", "uncertainty of z (standard deviation)", required=False
    )
    sigma_photons: FloatArray | None = column(
        "float32", "photon", "uncertainty of photons (standard deviation)", required=False
    )
    sigma_background: FloatArray | None = column(
        "float32", "photon", "uncertainty of background (standard deviation)", required=False
    )
    log_likelihood: FloatArray | None = column(
        "float32", "", "log-likelihood ratio of the fit against a saturated model", required=False
    )
    iterations: IntArray | None = column(
        "int32", "", "iterations of the maximum-likelihood fit", required=False
    )
    flags: NDArray[np.uint32] | None = column(
        "uint32", "", "bits of LocalizationFlag", required=False
    )
    track_id: IntArray | None = column("int32", "", "number of the linked event", required=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_frames(self.frame)


def _check_frames(frame: IntArray) -> None:
    if frame.size and int(frame.min()) < 0:
        raise LocalizationsError(
            f"The frame index {int(frame.min())} is negative.", hint="Frames count from 0."
        )
