"""Our calibration file: HDF5, versioned, readable by any HDF5 program.

Layout (format version 1)
-------------------------
Attributes of the root: ``format`` = "decode-desktop calibration", ``format_version`` = 1,
``model`` = "spline" or "gaussian", ``source`` (text), ``refractive_index_factor``, and where
known ``pixel_size_x_nm``, ``pixel_size_y_nm``, ``em_mirrored`` (0 or 1). What is unknown is
absent.

Group ``psf`` of a spline: dataset ``coefficients`` (rows, columns, slices, 64) float32, last
index ``p_y + 4 p_x + 16 p_z``; attributes ``dz_nm``, ``z0_slice``, ``center_x_px``,
``center_y_px`` as in `decode_engine.domain.calibration.SplinePsf`. Of a Gaussian: one attribute
for each field of `GaussianPsf`; ``depth_nm`` is absent in 2D.

Dataset ``provenance``: JSON text, an object of text by name. Group ``quality`` (only if known): one
attribute for each number, one float64 dataset for each curve of `CalibrationQuality`.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from decode_engine.domain.calibration import (
    Calibration,
    CalibrationQuality,
    GaussianPsf,
    PsfParameters,
    SplinePsf,
)
from decode_engine.errors import CalibrationError
from decode_engine.io.atomic import atomic_path

__all__ = [
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "calibration_from_bytes",
    "calibration_to_bytes",
    "is_native_calibration",
    "read_native_calibration",
    "write_native_calibration",
]

FORMAT_NAME = "decode-desktop calibration"
FORMAT_VERSION = 1

_OPTIONAL = ("pixel_size_x_nm", "pixel_size_y_nm", "em_mirrored")
_CHUNK_SLICES = 4


def is_native_calibration(file: h5py.File) -> bool:
    """Whether an open HDF5 file says that it is a calibration of ours."""
    return _text(file.attrs.get("format", "")) == FORMAT_NAME


def write_native_calibration(calibration: Calibration, path: Path, *, overwrite: bool) -> None:
    """Write a calibration to our HDF5 format; nothing is left behind if that fails."""
    with atomic_path(path, overwrite=overwrite) as temporary, h5py.File(temporary, "w") as file:
        _write(calibration, file)


def read_native_calibration(path: Path) -> Calibration:
    """Read a calibration from our HDF5 format."""
    try:
        with h5py.File(path, "r") as file:
            return _read(file, str(path))
    except OSError as error:
        raise _unreadable(str(path), error) from error


def calibration_to_bytes(calibration: Calibration) -> bytes:
    """Return the contents of our calibration file, for embedding in a model bundle."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write(calibration, file)
    return buffer.getvalue()


def calibration_from_bytes(content: bytes | BinaryIO, name: str = "calibration.h5") -> Calibration:
    """Read a calibration from the contents of our file; ``name`` is for error messages."""
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        with h5py.File(stream, "r") as file:
            return _read(file, name)
    except OSError as error:
        raise _unreadable(name, error) from error


def _write(calibration: Calibration, file: h5py.File) -> None:
    psf = calibration.psf
    file.attrs["format"] = FORMAT_NAME
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["model"] = "spline" if isinstance(psf, SplinePsf) else "gaussian"
    file.attrs["source"] = calibration.source
    file.attrs["refractive_index_factor"] = float(calibration.refractive_index_factor)
    for name in _OPTIONAL:
        value = getattr(calibration, name)
        if value is not None:
            file.attrs[name] = value
    _write_psf(psf, file.create_group("psf"))
    # A dataset, as attributes are limited to 64 KiB and a list of bead files may be longer.
    file["provenance"] = json.dumps(calibration.provenance, ensure_ascii=False)
    if calibration.quality is not None:
        _write_quality(calibration.quality, file.create_group("quality"))


def _write_psf(psf: PsfParameters, group: h5py.Group) -> None:
    for field in dataclasses.fields(psf):
        value = getattr(psf, field.name)
        if isinstance(value, np.ndarray):
            rows, columns, slices, _ = value.shape
            # Shuffled gzip saves about a tenth of the noisy mantissas, and all of the zeros.
            group.create_dataset(
                field.name,
                data=value,
                chunks=(rows, columns, min(_CHUNK_SLICES, slices), 64),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
            )
        elif value is not None:
            group.attrs[field.name] = float(value)


def _write_quality(quality: CalibrationQuality, group: h5py.Group) -> None:
    for field in dataclasses.fields(quality):
        value = getattr(quality, field.name)
        if isinstance(value, tuple):
            group.create_dataset(field.name, data=np.asarray(value, np.float64))
        else:
            group.attrs[field.name] = value


def _read(file: h5py.File, name: str) -> Calibration:
    if not is_native_calibration(file):
        raise CalibrationError(
            f"{name} is not a calibration of this program.",
            hint="Give a .h5 calibration, a SMAP *_3dcal.mat or a uiPSF psfmodel*.h5.",
        )
    version = int(file.attrs.get("format_version", 0))
    if not 1 <= version <= FORMAT_VERSION:
        raise CalibrationError(
            f"{name} has the calibration format {version}; this program knows 1 to "
            f"{FORMAT_VERSION}.",
            hint="Update the program, or write the file again with this one.",
        )
    try:
        return _read_version_1(file)
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"{name} is damaged: {_missing(error)}.",
            hint="Copy the file again or make the calibration again.",
            detail=repr(error),
        ) from error


def _read_version_1(file: h5py.File) -> Calibration:
    attrs = file.attrs
    mirrored = attrs.get("em_mirrored")
    quality = _read_quality(file["quality"]) if "quality" in file else None
    return Calibration(
        psf=_read_psf(_text(attrs["model"]), file["psf"]),
        pixel_size_x_nm=_optional_float(attrs, "pixel_size_x_nm"),
        pixel_size_y_nm=_optional_float(attrs, "pixel_size_y_nm"),
        em_mirrored=None if mirrored is None else bool(mirrored),
        refractive_index_factor=float(attrs["refractive_index_factor"]),
        source=_text(attrs["source"]),
        provenance={k: str(v) for k, v in json.loads(file["provenance"][()]).items()},
        quality=quality,
    )


def _read_psf(model: str, group: h5py.Group) -> PsfParameters:
    if model == "spline":
        return SplinePsf(
            coefficients=group["coefficients"][()],
            dz_nm=float(group.attrs["dz_nm"]),
            z0_slice=float(group.attrs["z0_slice"]),
            center_x_px=float(group.attrs["center_x_px"]),
            center_y_px=float(group.attrs["center_y_px"]),
        )
    if model != "gaussian":
        raise ValueError(f"the PSF model {model!r} is unknown")
    known = {field.name for field in dataclasses.fields(GaussianPsf)}
    return GaussianPsf(**{k: float(v) for k, v in group.attrs.items() if k in known})


def _read_quality(group: h5py.Group) -> CalibrationQuality:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(CalibrationQuality):
        if field.name in group:
            values[field.name] = tuple(float(v) for v in group[field.name][()])
        elif field.name in group.attrs:
            number = group.attrs[field.name]
            values[field.name] = int(number) if field.name.startswith("beads_") else float(number)
    return CalibrationQuality(**values)


def _optional_float(attrs: Mapping[str, Any], name: str) -> float | None:
    value = attrs.get(name)
    return None if value is None else float(value)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _missing(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def _unreadable(name: str, error: OSError) -> CalibrationError:
    if isinstance(error, FileNotFoundError):
        return CalibrationError(f"There is no file {name}.", hint="Check the name and the folder.")
    return CalibrationError(
        f"{name} cannot be read as an HDF5 file.",
        hint="Copy the file again; it may be incomplete.",
        detail=str(error),
    )
