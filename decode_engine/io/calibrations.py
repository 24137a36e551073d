"""Open any calibration file by its contents, and write ours or SMAP's by the suffix."""

from __future__ import annotations

from pathlib import Path

import h5py

from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.errors import CalibrationError, InputError, OutputError
from decode_engine.io.calibration_native import (
    is_native_calibration,
    read_native_calibration,
    write_native_calibration,
)
from decode_engine.io.calibration_report import (
    CalibrationEntry,
    CalibrationReport,
    CalibrationSource,
    PixelSize,
)
from decode_engine.io.calibration_smap import open_smap_calibration
from decode_engine.io.calibration_uipsf import is_uipsf_calibration, open_uipsf_calibration
from decode_engine.io.matlab import is_matlab_file
from decode_engine.io.smap_writing import MatLayout, write_smap_calibration

__all__ = [
    "CalibrationEntry",
    "CalibrationReport",
    "PixelSize",
    "describe_calibration",
    "is_calibration_file",
    "read_calibration",
    "write_calibration",
]

_ACCEPTED = "Give a .h5 calibration of this program, a *_3dcal.mat of SMAP or a uiPSF psfmodel*.h5."


def read_calibration(
    path: Path,
    *,
    region: int | None = None,
    channel: int | None = None,
    pixel_size: PixelSize | None = None,
) -> Calibration:
    """Read one PSF of a calibration file, whatever program wrote it.

    Parameters
    ----------
    path : Path
        Recognised by its contents; the suffix plays no part.
    region, channel : int, optional
        Which PSF, counted from 0; needed only where the file holds several.
    pixel_size : PixelSize, optional
        Used where the file states none; needed for old Gaussian calibrations, whose widths are
        stored in pixels.

    Raises
    ------
    CalibrationError
        If the file is no calibration, cannot be used, or holds several PSFs and none was chosen.
    """
    return _open(path).read(region, channel, pixel_size)


def describe_calibration(path: Path) -> CalibrationReport:
    """Say what a calibration file holds, without reading its coefficients where possible."""
    return _open(path).report


def is_calibration_file(path: Path) -> bool:
    """Whether a file is a calibration that `read_calibration` knows."""
    try:
        _open(path)
    except CalibrationError:
        return False
    return True


def write_calibration(
    calibration: Calibration, path: Path, *, overwrite: bool, layout: MatLayout = "smap"
) -> None:
    """Write a calibration: ``.h5`` in our format, ``.mat`` in SMAP's or fit3Dcspline's layout.

    Raises
    ------
    OutputError
        If the file exists, the folder is not writable or the suffix is another one.
    CalibrationError
        If SMAP's layout cannot hold the calibration.
    """
    suffix = path.suffix.lower()
    if suffix in (".h5", ".hdf5"):
        write_native_calibration(calibration, path, overwrite=overwrite)
    elif suffix == ".mat":
        write_smap_calibration(calibration, path, overwrite=overwrite, layout=layout)
    else:
        raise OutputError(
            f"A calibration cannot be written as {path.suffix or 'a file without suffix'!r}.",
            hint="Use .h5 (everything is kept) or .mat (for SMAP, fit3Dcspline and DECODE).",
        )


def _open(path: Path) -> CalibrationSource:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CalibrationError(f"The calibration {path} {what}.", hint="Give the calibration file.")
    try:
        return _open_file(path)
    except CalibrationError:
        raise
    except InputError as error:
        raise CalibrationError(error.message, hint=_ACCEPTED, detail=error.detail) from error
    except OSError as error:
        raise CalibrationError(
            f"{path.name} cannot be read.", hint=_ACCEPTED, detail=str(error)
        ) from error


def _open_file(path: Path) -> CalibrationSource:
    if is_matlab_file(path):
        return open_smap_calibration(path)
    if not h5py.is_hdf5(path):
        raise CalibrationError(f"{path.name} is not a calibration file.", hint=_ACCEPTED)
    with h5py.File(path, "r") as file:
        native, uipsf = is_native_calibration(file), is_uipsf_calibration(file)
        smap = any(name in file for name in ("SXY", "SXY_g", "cspline", "outforfit"))
        held = ", ".join(sorted(str(name) for name in file)[:8])
    if native:
        return _open_native(path)
    if uipsf:
        return open_uipsf_calibration(path)
    if smap:
        return open_smap_calibration(path)
    raise CalibrationError(
        f"{path.name} is an HDF5 file with {held or 'nothing in it'}, not a calibration.",
        hint=_ACCEPTED,
    )


def _open_native(path: Path) -> CalibrationSource:
    calibration = read_native_calibration(path)
    psf = calibration.psf
    is_spline = isinstance(psf, SplinePsf)
    entry = CalibrationEntry(
        region=0,
        channel=0,
        model="spline" if is_spline else "gaussian",
        shape=psf.coefficients.shape[:3] if isinstance(psf, SplinePsf) else None,
        dz_nm=psf.dz_nm if isinstance(psf, SplinePsf) else None,
        z_range_nm=calibration.z_range_nm,
    )
    report = CalibrationReport(
        path=path,
        variant="calibration of this program"
        + (f" ({calibration.source})" * bool(calibration.source)),
        entries=(entry,),
        pixel_size_x_nm=calibration.pixel_size_x_nm,
        pixel_size_y_nm=calibration.pixel_size_y_nm,
        em_mirrored=calibration.em_mirrored,
        notes=_quality_notes(calibration),
    )

    def load(pixel: PixelSize | None) -> Calibration:
        if pixel is None or calibration.pixel_size_x_nm is not None:
            return calibration
        return calibration.with_pixel_size(pixel.x_nm, pixel.y_nm)

    return CalibrationSource(report=report, loaders=(load,))


def _quality_notes(calibration: Calibration) -> tuple[str, ...]:
    quality = calibration.quality
    if quality is None:
        return ()
    return (
        f"made from {quality.beads_used} beads ({quality.beads_rejected} rejected), residual "
        f"{100 * quality.residual_rms:.2g} % of the peak",
    )
