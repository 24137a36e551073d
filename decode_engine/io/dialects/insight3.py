"""Insight3's binary lists (``.bin``), also written by storm-analysis.

A header of 16 bytes (``M425``, frames, status, molecules), then 18 four-byte values a molecule.
Positions are pixels with the centre of the first pixel at 1, frames count from 1, z is nm.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError, LocalizationsError
from decode_engine.io.dialects.assembly import Source, assemble
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    Guess,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.convention import Convention, Geometry

__all__ = ["CONVENTION", "DIALECTS", "Insight3"]

CONVENTION = Convention(xy_unit="px", origin="one_based_centre", first_frame=1)

_MAGIC = b"M425"
_HEADER = np.dtype([("version", "S4"), ("frames", "<i4"), ("status", "<i4"), ("molecules", "<i4")])
_FLOATS = ("x", "y", "xc", "yc", "h", "area", "width", "phi", "ax", "bg", "i")
_MOLECULE = np.dtype(
    [(name, "<f4") for name in _FLOATS]
    + [(name, "<i4") for name in ("category", "iterations", "frame", "length", "link")]
    + [("z", "<f4"), ("zc", "<f4")]
)


class Insight3:
    """Binary list of molecules; positions before drift correction."""

    name = "insight3"
    title = "Insight3 list"
    words = "Binary list (.bin) of Insight3 and storm-analysis."
    suffix = ".bin"
    can_read = True
    can_write = False
    needs_pixel_size = True

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim files that begin with M425."""
        if not sample.head.startswith(_MAGIC):
            return None
        return Match(confidence=95, why="it begins with M425")

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read the list; the pixel size must be given, the file does not say it."""
        if path.stat().st_size < _HEADER.itemsize:
            raise LocalizationsError(f"{path} is cut off.", hint="Copy it again.")
        header = np.fromfile(path, _HEADER, 1)[0]
        n = int(header["molecules"])
        room = (path.stat().st_size - _HEADER.itemsize) // _MOLECULE.itemsize
        if not 0 <= n <= room:
            raise LocalizationsError(
                f"{path} announces {n} molecules and has room for {room}.",
                hint="It is cut off or not an Insight3 list; copy it again.",
            )
        rows = np.fromfile(path, _MOLECULE, n, offset=_HEADER.itemsize)
        columns = {
            "frame": rows["frame"],
            "x_nm": rows["x"],
            "y_nm": rows["y"],
            "z_nm": rows["z"],
            "photons": rows["i"],
            "background": rows["bg"],
        }
        frames = int(header["frames"])
        source = Source(
            dialect=self.name,
            geometry=Geometry(n_frames=frames if frames > 0 else None),
            guesses=(
                Guess("photons", "the column I", "its unit is that of the program's camera"),
                Guess("origin", "the first pixel's centre is 1", "as storm-analysis writes it"),
                Guess("z sign", "as in the file", "it is that of the program's calibration"),
            ),
            unused=[
                n for n in _MOLECULE.names or () if n not in ("frame", "x", "y", "z", "i", "bg")
            ],
        )
        return assemble(columns, CONVENTION, options, source)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Not possible."""
        del path, table, context, overwrite
        raise ConfigError("Insight3 lists can be read but not written.", hint="Choose csv.")


DIALECTS = (Insight3(),)
