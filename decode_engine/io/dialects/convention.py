"""Where programs differ: half a pixel, a pixel, a frame, a swap, a mirror and a sign.

A `Convention` says, as data, how a program writes what we write as nm from the centre of the
top-left pixel of the movie's frame (x right, y down, frames from 0, SMAP's sign of z).
`to_ours` and `from_ours` are the only places where such differences are computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import LocalizationsError

__all__ = [
    "OURS",
    "Columns",
    "Convention",
    "Geometry",
    "PixelSizeMissingError",
    "from_ours",
    "to_ours",
]

Columns = Mapping[str, NDArray[Any]]
"""Columns under the names of `Localizations`; in a program's file their values may have other
units and another origin than those names say, which is what a `Convention` describes."""

# What a program's origin adds to the 0-based index of a pixel's centre, in pixels.
_ORIGIN_PX = {"centre": 0.0, "corner": 0.5, "one_based_centre": 1.0}
_UNIT_NM = {"nm": 1.0, "um": 1000.0}
_LATERAL = ("x_nm", "y_nm", "sigma_x_nm", "sigma_y_nm")
_AXIAL = ("z_nm", "sigma_z_nm")
_SWAPPED = {
    "x_nm": "y_nm", "y_nm": "x_nm", "sigma_x_nm": "sigma_y_nm", "sigma_y_nm": "sigma_x_nm",
}  # fmt: skip


class PixelSizeMissingError(LocalizationsError):
    """A file counts in pixels of a size that it does not say."""

    code = "pixel_size_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """How a program writes positions and frames.

    Parameters
    ----------
    xy_unit : {"nm", "um", "px"}
        Unit of x, y and their uncertainties.
    origin : {"centre", "corner", "one_based_centre"}
        What 0 is: the centre of the first pixel, its outer corner, or a place one pixel outside
        (the centre of the first pixel is 1, as MATLAB counts).
    first_frame : int
        Number of the first frame.
    swapped_xy : bool
        The program's x runs along rows (ours: y).
    mirrored_x : bool
        The program's columns count from the right; needs the frame's width.
    z_unit : {"nm", "um"}
    z_sign : {1, -1}
        -1 where the program's z has the opposite sign of ours.
    with_roi_origin : bool
        The program counts from the chip's corner, not from the corner of the frame that was
        read out.
    extra_shift_px : (x, y)
        What the program adds beyond its own rule (in our axes), for known faults of readers.
    """

    xy_unit: Literal["nm", "um", "px"] = "nm"
    origin: Literal["centre", "corner", "one_based_centre"] = "centre"
    first_frame: int = 0
    swapped_xy: bool = False
    mirrored_x: bool = False
    z_unit: Literal["nm", "um"] = "nm"
    z_sign: Literal[1, -1] = 1
    with_roi_origin: bool = False
    extra_shift_px: tuple[float, float] = (0.0, 0.0)

    @property
    def needs_pixel_size(self) -> bool:
        """Whether positions in nm need the pixel size (unit, origin, mirror or shift in px)."""
        return self.xy_unit == "px" or self.origin != "centre" or self._has_shift

    @property
    def _has_shift(self) -> bool:
        return self.mirrored_x or self.extra_shift_px != (0.0, 0.0)


OURS = Convention()


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What a movie's frame is, as far as it is known (None = unknown).

    ``roi_origin_px`` is where the frame's top-left pixel lies on the chip, (x, y), from 0.
    """

    pixel_size_x_nm: float | None = None
    pixel_size_y_nm: float | None = None
    width_px: int | None = None
    height_px: int | None = None
    roi_origin_px: tuple[int, int] = (0, 0)
    n_frames: int | None = None

    @property
    def has_pixel_size(self) -> bool:
        """Whether the pixel size is known along both axes."""
        return self.pixel_size_x_nm is not None and self.pixel_size_y_nm is not None

    def pixel_size_nm(self, why: str) -> tuple[float, float]:
        """Return the pixel size along (x, y).

        Raises
        ------
        PixelSizeMissingError
            If it is unknown; ``why`` ends the sentence "The pixel size is needed ...".
        """
        if self.pixel_size_x_nm is None or self.pixel_size_y_nm is None:
            raise PixelSizeMissingError(
                f"The pixel size is needed {why}, and the file does not say it.",
                hint="Give it: --pixel-size-nm 108 (or --pixel-size-nm 127,117 for x and y).",
            )
        return self.pixel_size_x_nm, self.pixel_size_y_nm


def to_ours(
    columns: Columns, convention: Convention, geometry: Geometry
) -> dict[str, NDArray[Any]]:
    """Turn a program's values into ours.

    Parameters
    ----------
    columns : mapping of str to (N,) array
        Under our names, with the program's values; the program's own x under ``x_nm``.

    Returns
    -------
    dict of str to (N,) array
        float64 where a value was computed; other columns as they were.
    """
    plain = dict(columns)
    if convention.swapped_xy:
        plain = {_SWAPPED.get(name, name): values for name, values in plain.items()}
    scale, offset = _lateral(convention, geometry)
    for name in _LATERAL:
        if name in plain:
            axis = 0 if "x_nm" in name else 1
            values = np.asarray(plain[name], np.float64) * scale[axis]
            plain[name] = values if name.startswith("sigma") else values - offset[axis]
    if convention.mirrored_x and "x_nm" in plain:
        plain["x_nm"] = _mirrored(plain["x_nm"], geometry)
    unit = _UNIT_NM[convention.z_unit]
    for name in _AXIAL:
        if name in plain:
            sign = 1 if name.startswith("sigma") else convention.z_sign
            plain[name] = np.asarray(plain[name], np.float64) * (unit * sign)
    if "frame" in plain and convention.first_frame:
        plain["frame"] = np.asarray(plain["frame"], np.float64) - convention.first_frame
    return plain


def from_ours(
    columns: Columns, convention: Convention, geometry: Geometry
) -> dict[str, NDArray[Any]]:
    """Turn our values into a program's, the inverse of `to_ours`.

    Returns
    -------
    dict of str to (N,) array
        Under our names; the program's own x under ``x_nm``. float64 where a value was computed.
    """
    plain = dict(columns)
    scale, offset = _lateral(convention, geometry)
    if convention.mirrored_x and "x_nm" in plain:
        plain["x_nm"] = _mirrored(plain["x_nm"], geometry)
    for name in _LATERAL:
        if name in plain:
            axis = 0 if "x_nm" in name else 1
            values = np.asarray(plain[name], np.float64)
            shift = 0.0 if name.startswith("sigma") else offset[axis]
            plain[name] = (values + shift) / scale[axis]
    unit = _UNIT_NM[convention.z_unit]
    for name in _AXIAL:
        if name in plain:
            sign = 1 if name.startswith("sigma") else convention.z_sign
            plain[name] = np.asarray(plain[name], np.float64) * sign / unit
    if "frame" in plain and convention.first_frame:
        plain["frame"] = np.asarray(plain["frame"], np.int64) + convention.first_frame
    if convention.swapped_xy:
        plain = {_SWAPPED.get(name, name): values for name, values in plain.items()}
    return plain


def _lateral(
    convention: Convention, geometry: Geometry
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return nm per unit, and the nm that the program adds to ours, each along (x, y)."""
    added = [_ORIGIN_PX[convention.origin] + shift for shift in convention.extra_shift_px]
    if convention.with_roi_origin:
        added = [a + start for a, start in zip(added, geometry.roi_origin_px, strict=True)]
    if convention.xy_unit != "px" and not any(added):
        unit = _UNIT_NM[convention.xy_unit]
        return (unit, unit), (0.0, 0.0)
    why = "because positions are in pixels" if convention.xy_unit == "px" else (
        f"because this format's origin lies {added[0]:g} px beside ours"
    )  # fmt: skip
    size_x, size_y = geometry.pixel_size_nm(why)
    offset = (added[0] * size_x, added[1] * size_y)
    if convention.xy_unit == "px":
        return (size_x, size_y), offset
    unit = _UNIT_NM[convention.xy_unit]
    return (unit, unit), offset


def _mirrored(x_nm: NDArray[Any], geometry: Geometry) -> NDArray[np.float64]:
    if geometry.width_px is None:
        raise LocalizationsError(
            "The width of the frame is needed because x counts from the right.",
            hint="Give it: --frame-size 512,512 (width, height in px).",
        )
    size_x, _ = geometry.pixel_size_nm("because x counts from the right")
    last = (geometry.width_px - 1) * size_x
    return last - np.asarray(x_nm, np.float64)
