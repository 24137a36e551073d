"""Bead stacks at the door: checked, converted to photons, ordered by falling z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.contract.configs import CalibrateConfig
from decode_engine.errors import CalibrationError, ConfigError

__all__ = ["MIN_SLICES", "BeadStack", "prepare_stack"]

MIN_SLICES = 5
# The darkest part of a stack stands for the camera offset when the user does not know it.
_OFFSET_QUANTILE = 0.001


@dataclass(frozen=True, kw_only=True)
class BeadStack:
    """One z-stack in photons.

    Attributes
    ----------
    index : int
        Position in the list of stacks that was given.
    name : str
        What messages call it (usually a file name).
    photons : (Z, H, W) float32, photons
        Slices in the order of a rising stage; ``z_nm = -(slice - z0) * dz``.
    offset_adu : float
        Offset that was subtracted.
    clip_photons : float or None
        Value at which pixels clip (flat tops), None when none do.
    """

    index: int
    name: str
    photons: NDArray[np.float32]
    offset_adu: float
    clip_photons: float | None


def prepare_stack(
    stack_adu: NDArray[Any], config: CalibrateConfig, *, index: int = 0, name: str = ""
) -> BeadStack:
    """Check one stack and convert it.

    Parameters
    ----------
    stack_adu : (Z, H, W) array, ADU
    config : CalibrateConfig
        A negative ``dz_nm`` (falling stage) reverses the slices.

    Raises
    ------
    CalibrationError
        If it is not a stack of at least five grey slices, or holds no finite signal.
    ConfigError
        If ``dz_nm`` is zero or not finite.
    """
    label = name or f"stack {index}"
    _require_shape(np.shape(stack_adu), label)
    if not np.isfinite(config.dz_nm) or config.dz_nm == 0:
        raise ConfigError(
            f"The slice distance dz_nm = {config.dz_nm:g} is not possible.",
            hint="Give the stage step between slices in nm, usually 10-50.",
        )
    values = np.asarray(stack_adu, np.float32)
    _require_signal(values, label)
    offset = config.offset_adu
    if offset is None:
        offset = float(np.quantile(values, _OFFSET_QUANTILE))
    photons = (values - np.float32(offset)) * np.float32(config.photons_per_adu)
    clips = _clips(values)
    if config.dz_nm < 0:
        photons = photons[::-1]
    return BeadStack(
        index=index,
        name=label,
        photons=np.ascontiguousarray(photons),
        offset_adu=offset,
        clip_photons=float(photons.max()) if clips else None,
    )


def _require_shape(shape: tuple[int, ...], label: str) -> None:
    if len(shape) == 4 or (len(shape) == 3 and shape[2] in (3, 4) and shape[0] > 4):
        raise CalibrationError(
            f"{label} has the shape {shape}: it looks like a colour or multi-channel stack.",
            hint="Save a single grey channel as (slices, rows, columns).",
        )
    if len(shape) != 3 or 0 in shape:
        raise CalibrationError(
            f"{label} has the shape {shape}, which is not a stack of slices.",
            hint="Give a TIFF with one bead z-stack: (slices, rows, columns).",
        )
    if shape[0] < MIN_SLICES:
        raise CalibrationError(
            f"{label} has {shape[0]} slices, at least {MIN_SLICES} are needed.",
            hint="Record a z-stack through the focus, for example 101 slices of 20 nm.",
        )


def _require_signal(values: NDArray[np.float32], label: str) -> None:
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise CalibrationError(
            f"{label} contains {bad} values that are NaN or infinite.",
            hint="Export the stack again as 16-bit TIFF.",
        )
    if float(values.max()) == float(values.min()):
        raise CalibrationError(
            f"{label} is constant ({values.max():g} ADU everywhere).",
            hint="Was the laser on? Open the file in Fiji to check.",
        )


def _clips(values: NDArray[np.float32]) -> bool:
    """Return whether pixels clip.

    Clipping piles values up at the top: more voxels sit at the very maximum than in the 2 % of
    the range below it. Noise leaves one or two voxels at the maximum of a healthy bead.
    """
    top = float(values.max())
    width = 0.02 * (top - float(np.median(values)))
    at_top = int(np.count_nonzero(values >= top))
    below = int(np.count_nonzero((values < top) & (values >= top - width)))
    return at_top >= 5 and at_top >= below
