"""Our own columns as text: no other origin, unit or sign."""

from __future__ import annotations

from pathlib import Path

from decode_engine.domain.localizations import Localizations
from decode_engine.io.dialects.assembly import Source, assemble
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.convention import OURS
from decode_engine.io.dialects.text import (
    choose,
    has_names,
    layout_guesses,
    missing_column,
    read_columns,
    require_layout,
    unused,
)
from decode_engine.io.tables import write_localizations_csv

__all__ = ["DIALECTS", "Csv"]

_NAMES = {spec.name: (spec.name,) for spec in Localizations.specs()}
_REQUIRED = ("frame", "x_nm", "y_nm")
_EXAMPLE = "frame,x_nm,y_nm,z_nm,photons,background"


class Csv:
    """Text with our names, which carry their units."""

    name = "csv"
    title = "CSV table"
    words = "Plain text with the unit in each column's name, for spreadsheets, Python, R, MATLAB."
    suffix = ".csv"
    can_read = True
    can_write = True
    needs_pixel_size = False

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim tables whose header has our names."""
        if has_names(sample, *((name,) for name in _REQUIRED)) is None:
            return None
        return Match(confidence=95, why="its columns are called frame, x_nm, y_nm")

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read any of our columns in any order; others are left out, and named."""
        layout = require_layout(path, _EXAMPLE)
        chosen = choose(layout, _NAMES)
        for name in _REQUIRED:
            if name not in chosen:
                raise missing_column(layout, name, (name,))
        source = Source(
            dialect=self.name,
            guesses=layout_guesses(layout),
            unused=unused(layout, chosen),
            n_header_lines=layout.n_header_lines,
        )
        return assemble(read_columns(layout, chosen), OURS, options, source)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Write all columns that the table has."""
        del context
        write_localizations_csv(path, table, overwrite=overwrite)
        return (path,)


DIALECTS = (Csv(),)
