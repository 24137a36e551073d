"""Read the PSF files of uiPSF (``psfmodel*.h5``), which SMAP's fitter accepts too.

What is known, and from where
-----------------------------
The root attribute ``params`` is JSON; ``pixel_size`` {x, y, z} in micrometres (``pixelsize_x``
... in old files). ``/locres/coeff`` was learned from a stack (z, A, B) whose last two axes are
the image's (rows, columns), or (columns, rows) with ``swapxy`` (the default of uiPSF's settings,
which is the orientation SMAP assumes) and with MATLAB raw data. Its shape is
(64, Z, A, B), or (C, 64, Z, A, B) for C channels; the first index of a voxel is
``16 p_z + 4 p_A + p_B``. Some versions put the 64 last. SMAP takes slice ``ceil(Z / 2)`` as z = 0
and ``z = -(slice - z0) dz``; that is followed here, and the centre is taken as for SMAP files
without ``x0``. Every slice's sum is about 1 for the brightest channel; dimmer channels are
scaled up here so that photons are detected photons of the channel.

This is how uiPSF's and SMAP's sources describe it. **No real file was at hand**: axis order,
orientation and the sign of z are not verified on data, and the report says so.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.errors import CalibrationError
from decode_engine.io.atomic import sha256_file
from decode_engine.io.calibration_report import (
    CalibrationEntry,
    CalibrationReport,
    CalibrationSource,
    PixelSize,
)

__all__ = ["is_uipsf_calibration", "open_uipsf_calibration"]

_COEFFICIENTS = "locres/coeff"
_UNVERIFIED = (
    "uiPSF files are read as uiPSF's and SMAP's sources describe them; axis order and the sign "
    "of z are not verified on a real file: check the first results"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How the coefficients lie in the file."""

    channels: int
    exponents_first: bool
    slices: int
    a_voxels: int
    b_voxels: int
    b_is_rows: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, slices of voxels."""
        if self.b_is_rows:
            return self.b_voxels, self.a_voxels, self.slices
        return self.a_voxels, self.b_voxels, self.slices

    @property
    def z0_slice(self) -> float:
        """The slice that SMAP takes as z = 0."""
        return float(math.ceil(self.slices / 2))


def is_uipsf_calibration(file: h5py.File) -> bool:
    """Whether an open HDF5 file has the marks of uiPSF."""
    return "params" in file.attrs and "locres" in file


def open_uipsf_calibration(path: Path) -> CalibrationSource:
    """Return what a uiPSF file holds.

    Raises
    ------
    CalibrationError
        If the coefficients or the slice distance are missing, or the PSF is a 4Pi one.
    """
    with h5py.File(path, "r") as file:
        params = _params(path, file)
        layout = _layout(path, file, params)
    dz_um = _pixel_um(params, "z")
    if dz_um is None:
        raise CalibrationError(
            f"{path.name} does not say the distance of its slices (pixel_size.z in params).",
            hint="Learn the PSF again with the pixel size set in uiPSF's settings.",
        )
    pixel = _pixel_size(params, layout)
    entries = tuple(_entry(layout, channel, dz_um * 1e3) for channel in range(layout.channels))
    report = CalibrationReport(
        path=path,
        variant=f"uiPSF model ({params.get('PSFtype', 'unknown type')})",
        entries=entries,
        pixel_size_x_nm=pixel.x_nm if pixel else None,
        pixel_size_y_nm=pixel.y_nm if pixel else None,
        notes=(_UNVERIFIED,),
    )
    loaders: list[Callable[[PixelSize | None], Calibration]] = [
        functools.partial(_load, report, entry, layout) for entry in entries
    ]
    return CalibrationSource(report=report, loaders=tuple(loaders))


def _entry(layout: _Layout, channel: int, dz_nm: float) -> CalibrationEntry:
    return CalibrationEntry(
        region=0,
        channel=channel,
        model="spline",
        shape=layout.shape,
        dz_nm=dz_nm,
        z_range_nm=(-(layout.slices - layout.z0_slice) * dz_nm, layout.z0_slice * dz_nm),
    )


def _params(path: Path, file: h5py.File) -> dict[str, Any]:
    text = file.attrs.get("params", "{}")
    try:
        params = json.loads(text)
    except (TypeError, ValueError) as error:
        raise CalibrationError(
            f"{path.name} has settings (params) that are not JSON.",
            hint="Write the file again with uiPSF.",
            detail=str(error),
        ) from error
    return params if isinstance(params, dict) else {}


def _layout(path: Path, file: h5py.File, params: dict[str, Any]) -> _Layout:
    found = file.get(_COEFFICIENTS)
    shape: tuple[int, ...] = found.shape if isinstance(found, h5py.Dataset) else ()
    exponents_first = len(shape) >= 4 and shape[-4] == 64
    multi = len(shape) == 5 and params.get("channeltype") != "4pi"
    if not (len(shape) == 4 or multi) or not (exponents_first or shape[-1] == 64):
        raise CalibrationError(
            f"{path.name} holds no spline of 64 coefficients a voxel ({_COEFFICIENTS} has the "
            f"shape {shape}, channel type {params.get('channeltype', 'unknown')}).",
            hint="Only single- and multi-channel uiPSF models can be used, no 4Pi ones.",
        )
    slices, a_voxels, b_voxels = shape[-3:] if exponents_first else shape[-4:-1]
    return _Layout(
        channels=shape[0] if multi else 1,
        exponents_first=exponents_first,
        slices=slices,
        a_voxels=a_voxels,
        b_voxels=b_voxels,
        b_is_rows=bool(params.get("swapxy", False)) != (params.get("format") == ".mat"),
    )


def _pixel_um(params: dict[str, Any], axis: str) -> float | None:
    sizes = params.get("pixel_size")
    value = sizes.get(axis) if isinstance(sizes, dict) else params.get(f"pixelsize_{axis}")
    usable = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return float(value) if usable and value is not None else None


def _pixel_size(params: dict[str, Any], layout: _Layout) -> PixelSize | None:
    # uiPSF's x is its last axis B, whichever direction of the image that is.
    b_um, a_um = _pixel_um(params, "x"), _pixel_um(params, "y")
    if a_um is None or b_um is None:
        return None
    x_um, y_um = (a_um, b_um) if layout.b_is_rows else (b_um, a_um)
    return PixelSize(x_nm=x_um * 1e3, y_nm=y_um * 1e3)


def _load(
    report: CalibrationReport,
    entry: CalibrationEntry,
    layout: _Layout,
    pixel: PixelSize | None,
) -> Calibration:
    with h5py.File(report.path, "r") as file:
        stored = file[_COEFFICIENTS]
        raw = np.asarray(stored[entry.channel] if stored.ndim == 5 else stored[()], np.float32)
    coefficients = _rows_columns_slices(raw, layout)
    factor = 1.0
    if layout.channels > 1:
        # The constant terms are the samples; their sums a slice were about 1 once.
        factor = float(np.median(coefficients[..., 0].sum(axis=(0, 1))))
        factor = factor if math.isfinite(factor) and factor > 0 else 1.0
    if report.pixel_size_x_nm is not None and report.pixel_size_y_nm is not None:
        pixel = PixelSize(x_nm=report.pixel_size_x_nm, y_nm=report.pixel_size_y_nm)
    rows, columns, _ = layout.shape
    return Calibration(
        psf=SplinePsf(
            coefficients=coefficients / np.float32(factor),
            dz_nm=entry.dz_nm or 0.0,
            z0_slice=layout.z0_slice,
            center_x_px=float(columns // 2),
            center_y_px=float(rows // 2),
        ),
        pixel_size_x_nm=pixel.x_nm if pixel else None,
        pixel_size_y_nm=pixel.y_nm if pixel else None,
        source=f"{report.variant}, {report.path.name}",
        provenance={
            "file": report.path.name,
            "file_sha256": sha256_file(report.path),
            "channel": str(entry.channel),
            "photon_factor": f"{factor:.9g}",
        },
    )


def _rows_columns_slices(raw: NDArray[np.float32], layout: _Layout) -> NDArray[np.float32]:
    """Bring one channel to (rows, columns, slices, p_y + 4 p_x + 16 p_z)."""
    values = np.moveaxis(raw, 0, -1) if layout.exponents_first else raw
    exponents = values.reshape(*values.shape[:3], 4, 4, 4)  # (Z, A, B, p_z, p_A, p_B)
    if layout.b_is_rows:
        ordered = exponents.transpose(2, 1, 0, 3, 4, 5)
    else:
        ordered = exponents.transpose(1, 2, 0, 3, 5, 4)
    return np.ascontiguousarray(ordered.reshape(*layout.shape, 64))
