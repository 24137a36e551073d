"""The tables of the SMLM challenges 2013 and 2016: ground truth, and results handed in.

Positions are nm from the outer corner of the first pixel, frames count from 1, z has the
opposite sign of SMAP's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from decode_engine.domain.localizations import Localizations
from decode_engine.io.atomic import atomic_path
from decode_engine.io.dialects.assembly import Source, assemble, export_columns
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    Guess,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.convention import Convention
from decode_engine.io.dialects.text import (
    choose,
    has_names,
    layout_guesses,
    missing_column,
    read_columns,
    require_layout,
    unused,
)
from decode_engine.io.fixed_point import Words, text_blocks

__all__ = ["CONVENTION", "DIALECTS", "Challenge"]

CONVENTION = Convention(origin="corner", first_frame=1, z_sign=-1)

_NAMES = {
    "frame": ("frame",),
    "x_nm": ("xnano",),
    "y_nm": ("ynano",),
    "z_nm": ("znano",),
    "photons": ("intensity",),
    "track_id": ("ground-truth",),
}
_HEADER = "Ground-truth,frame,xnano,ynano,znano,intensity"
_DECIMALS = {"number": 0, "frame": 0, "x_nm": 4, "y_nm": 4, "z_nm": 4, "photons": 4}


class Challenge:
    """``Ground-truth,frame,xnano,ynano,znano,intensity``."""

    name = "challenge"
    title = "SMLM challenge table"
    words = "For the evaluation of the SMLM challenges; SMAP and ThunderSTORM read it too."
    suffix = ".csv"
    can_read = True
    can_write = True
    needs_pixel_size = True

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim tables with the challenge's names."""
        if has_names(sample, ("frame",), ("xnano",), ("ynano",)) is None:
            return None
        return Match(confidence=90, why="its columns are called xnano, ynano")

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read ground truth (2013, 2016) or results."""
        layout = require_layout(path, _HEADER)
        chosen = choose(layout, _NAMES)
        chosen.pop("track_id", None)  # a running number of rows, not of molecules
        for name in ("frame", "x_nm", "y_nm"):
            if name not in chosen:
                raise missing_column(layout, name, _NAMES[name])
        guesses = [*layout_guesses(layout)]
        if "z_nm" in chosen:
            guesses.append(Guess("z sign", "opposite", "the challenges' z grows away from SMAP's"))
        source = Source(
            dialect=self.name,
            guesses=tuple(guesses),
            unused=unused(layout, chosen),
            n_header_lines=layout.n_header_lines,
        )
        return assemble(read_columns(layout, chosen), CONVENTION, options, source)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Write number, frame, position and photons; two-dimensional tables have z = 0."""
        columns = export_columns(table, CONVENTION, context.geometry)
        z = columns["z_nm"]
        written = {
            "number": np.arange(1, len(table) + 1),
            "frame": columns["frame"],
            "x_nm": columns["x_nm"],
            "y_nm": columns["y_nm"],
            "z_nm": np.zeros(len(table)) if np.isnan(z).all() else z,
            "photons": columns["photons"],
        }
        words = Words(b"NaN", b"Infinity", b"-Infinity")
        with atomic_path(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
            file.write(f"{_HEADER}\n".encode())
            for block in text_blocks(written, _DECIMALS, words=words):
                file.write(block)
        return (path,)

    def remarks(self, table: Localizations, context: ExportContext) -> tuple[str, ...]:
        """Say what this format cannot hold."""
        del table, context
        return ("Background, uncertainties and probabilities have no place in a challenge table.",)


DIALECTS = (Challenge(),)
