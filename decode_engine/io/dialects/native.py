"""Our own localization file, finished or not: what every other table becomes."""

from __future__ import annotations

from pathlib import Path

import h5py

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.localizations import (
    is_ours,
    is_partial_result,
    read_localization_metadata,
    read_localizations,
)

__all__ = ["DIALECTS", "Native"]


class Native:
    """``/localizations/<column>`` with units and ``/provenance``."""

    name = "native"
    title = "Localization file of Decode Desktop"
    words = "Our own HDF5 file with full provenance."
    suffix = ".h5"
    can_read = True
    can_write = False
    needs_pixel_size = False

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim our HDF5 files and the folders of unfinished results."""
        if sample.path.is_dir():
            found = is_partial_result(sample.path)
        else:
            found = sample.kind == "hdf5" and _is_ours(sample.path)
        return Match(confidence=100, why="it names our format") if found else None

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read the table and its provenance."""
        table, metadata = read_localizations(path), read_localization_metadata(path)
        return ImportedTable(
            table=table,
            geometry=options.over(ExportContext.of(metadata).geometry),
            camera=dict(metadata.camera),
            n_rows_file=len(table),
            dialect=self.name,
            notes=metadata.notes,
            metadata=metadata,
        )

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Not an export; `import` writes it."""
        del path, table, context, overwrite
        raise ConfigError(
            "The native file is not an export format.", hint="Use: decode-engine import FILE."
        )


def _is_ours(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return is_ours(file)
    except OSError:
        return False


DIALECTS = (Native(),)
