"""Drift as Picasso's text file and as CSV: read and written, and told apart by content.

Picasso (``…_drift.txt``): no header, one line a frame from 0, two or three numbers separated by
blanks, Windows line ends: x and y in camera pixels, z in nm. Positions are corrected by
subtracting them; SMAP applies such files, too. As in Picasso's localizations, both axes are in
units of the width of a pixel.

CSV: ``frame,dx_nm,dy_nm[,dz_nm]``, frames from 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.drift import Drift
from decode_engine.errors import LocalizationsError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.delimited import read_numbers
from decode_engine.io.dialects.text import choose, missing_column, require_layout

__all__ = ["read_drift", "write_drift_csv", "write_drift_picasso"]

_HEADER = ("frame", "dx_nm", "dy_nm", "dz_nm")
_SPELLINGS = {"frame": ("frame",), "x": ("dx_nm",), "y": ("dy_nm",), "z": ("dz_nm",)}
_EXAMPLE = "frame,dx_nm,dy_nm,dz_nm"


def write_drift_picasso(
    path: Path, drift: Drift, *, pixel_size_nm: float, overwrite: bool = False
) -> None:
    """Write Picasso's text file.

    Parameters
    ----------
    pixel_size_nm : float
        Width of a camera pixel.
    """
    _require_pixel_size(pixel_size_nm)
    columns = [drift.x_nm / pixel_size_nm, drift.y_nm / pixel_size_nm]
    if drift.z_nm is not None:
        columns.append(drift.z_nm)
    with atomic_path(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        # Picasso's own is np.savetxt with this end of line; 17 digits give back each number.
        np.savetxt(file, np.stack(columns, axis=1), newline="\r\n")


def write_drift_csv(path: Path, drift: Drift, *, overwrite: bool = False) -> None:
    """Write ``frame,dx_nm,dy_nm[,dz_nm]``."""
    columns = [drift.x_nm, drift.y_nm] + ([] if drift.z_nm is None else [drift.z_nm])
    names = _HEADER[: 1 + len(columns)]
    with (
        atomic_path(path, overwrite=overwrite) as temporary,
        temporary.open("w", encoding="ascii", newline="\n") as file,
    ):
        file.write(",".join(names) + "\n")
        for frame, row in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            file.write(",".join([str(frame), *(f"{value:.6f}" for value in row)]) + "\n")


def read_drift(path: Path, *, pixel_size_nm: float | None = None) -> Drift:
    """Read a drift file of either kind.

    Parameters
    ----------
    pixel_size_nm : float, optional
        Width of a camera pixel; needed for Picasso's file.

    Raises
    ------
    LocalizationsError
        If it is neither, a frame is missing, or the pixel size is needed and not given.
    """
    layout = require_layout(path, _EXAMPLE)
    if layout.names:
        return _from_csv(path)
    if layout.n_columns not in (2, 3):
        raise LocalizationsError(
            f"{path.name} has {layout.n_columns} columns; a drift file of Picasso has two or "
            "three (x, y, z).",
            hint=f"Give such a file, or a table {_EXAMPLE}.",
        )
    if pixel_size_nm is None:
        raise LocalizationsError(
            f"{path.name} is a drift file of Picasso, in pixels; the pixel size is needed.",
            hint="Give it: --pixel-size-nm 108.",
        )
    _require_pixel_size(pixel_size_nm)
    values = read_numbers(layout, range(layout.n_columns))
    return Drift(
        x_nm=values[0] * pixel_size_nm,
        y_nm=values[1] * pixel_size_nm,
        z_nm=values[2] if layout.n_columns == 3 else None,
    )


def _from_csv(path: Path) -> Drift:
    layout = require_layout(path, _EXAMPLE)
    chosen = choose(layout, _SPELLINGS)
    for name in ("frame", "x", "y"):
        if name not in chosen:
            raise missing_column(layout, name, _SPELLINGS[name])
    values = read_numbers(layout, sorted(chosen.values()))
    _require_every_frame(path, values[chosen["frame"]])
    return Drift(
        x_nm=values[chosen["x"]],
        y_nm=values[chosen["y"]],
        z_nm=values[chosen["z"]] if "z" in chosen else None,
    )


def _require_every_frame(path: Path, frame: NDArray[np.float64]) -> None:
    wrong = np.flatnonzero(frame != np.arange(frame.size))
    if wrong.size:
        raise LocalizationsError(
            f"{path.name} has frame {frame[wrong[0]]:g} where frame {int(wrong[0])} is expected.",
            hint="One line per frame is needed, from frame 0 on and without gaps.",
        )


def _require_pixel_size(pixel_size_nm: float) -> None:
    if not (np.isfinite(pixel_size_nm) and pixel_size_nm > 0):
        raise LocalizationsError(
            f"The pixel size {pixel_size_nm} nm is not positive.",
            hint="Give the size of a camera pixel in the sample plane, usually 80-160 nm.",
        )
