"""Our own columns as Parquet: binary, compressed, with units and provenance in the metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import LocalizationsError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.delimited import Delimited
from decode_engine.io.dialects.assembly import Source, assemble
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.convention import OURS, Geometry
from decode_engine.io.dialects.text import missing_column
from decode_engine.io.localization_metadata import LocalizationMetadata

__all__ = ["DIALECTS", "Parquet"]

_NAMES = tuple(spec.name for spec in Localizations.specs())
_REQUIRED = ("frame", "x_nm", "y_nm")
_METADATA_KEY = "decode_desktop"
_MAGIC = b"PAR1"


class Parquet:
    """Columns under our names, each field with its unit and meaning."""

    name = "parquet"
    title = "Parquet table"
    words = "Compact columns for pandas, polars, R and DuckDB, with units and provenance inside."
    suffix = ".parquet"
    can_read = True
    can_write = True
    needs_pixel_size = False

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim every Parquet file; reading says which columns it lacks."""
        if not sample.head.startswith(_MAGIC):
            return None
        return Match(confidence=95, why="it begins as a Parquet file")

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read our columns from any Parquet file that has them."""
        content = _read(path)
        for name in _REQUIRED:
            if name not in content.names:
                layout = Delimited(path=path, names=tuple(content.names), delimiter=",")
                raise missing_column(layout, name, (name,))
        text = content.metadata.get(_METADATA_KEY, "")
        provenance = LocalizationMetadata.from_json(text) if text else None
        source = Source(
            dialect=self.name,
            geometry=ExportContext.of(provenance).geometry if provenance else Geometry(),
            camera=dict(provenance.camera) if provenance else {},
            unused=[name for name in content.names if name not in _NAMES],
            metadata=provenance,
        )
        return assemble(content.columns, OURS, options, source)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Write all columns that the table has."""
        from arro3.core import Array, ChunkedArray, Field, Schema, Table
        from arro3.io import write_parquet

        specs = {spec.name: spec for spec in table.specs()}
        fields, columns = [], []
        for name, values in table.columns().items():
            array = Array.from_numpy(np.ascontiguousarray(values))
            about = {"unit": specs[name].unit, "description": specs[name].doc}
            fields.append(Field(name, array.type, nullable=False, metadata=about))
            columns.append(ChunkedArray([array]))
        about = {"convention": "x right, y down, nm from the centre of the top-left pixel"}
        if context.metadata is not None:
            about[_METADATA_KEY] = context.metadata.to_json()
        whole = Table.from_arrays(columns, schema=Schema(fields, metadata=about))
        with atomic_path(path, overwrite=overwrite) as temporary:
            write_parquet(whole, str(temporary), compression="zstd(3)")
        return (path,)


class _Content(NamedTuple):
    names: list[str]
    metadata: dict[str, str]
    columns: dict[str, NDArray[Any]]


def _read(path: Path) -> _Content:
    from arro3.io import read_parquet

    _require_whole(path)
    try:
        reader = read_parquet(str(path))
        names = list(reader.schema.names)
        metadata = dict(reader.schema.metadata_str)
        table = reader.read_all()
    except BaseException as error:
        # arro3 has kinds of its own without a common name; damage it did not expect is a "panic"
        # of Rust, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise LocalizationsError(
            f"{path} is not a Parquet file that can be read.",
            hint="It may be cut off; copy or make it again.",
            detail=str(error),
        ) from error
    columns = {n: _numbers(path, n, table.column(n)) for n in _NAMES if n in names}
    return _Content(names, metadata, columns)


def _require_whole(path: Path) -> None:
    """Raise `LocalizationsError` unless the file ends as Parquet does (it is read from its end)."""
    with path.open("rb") as file:
        n_bytes = file.seek(0, 2)
        file.seek(max(0, n_bytes - len(_MAGIC)))
        if n_bytes < 3 * len(_MAGIC) or file.read() != _MAGIC:
            raise LocalizationsError(
                f"{path} is cut off: it begins as a Parquet file but does not end as one.",
                hint="Copy or make it again.",
            )


def _numbers(path: Path, name: str, column: Any) -> NDArray[Any]:
    """Return a column as numbers; what is missing (null) is NaN."""
    if not len(column):
        return np.empty(0, np.float64)
    if not column.null_count:
        values = np.asarray(column.to_numpy())
        if values.dtype.kind in "iuf":
            return values
    try:
        return _with_gaps(column.to_pylist())
    except (TypeError, ValueError) as error:
        raise LocalizationsError(
            f"The column {name!r} of {path.name} does not hold numbers.",
            hint="Write it as numbers, or leave it out.",
            detail=str(error),
        ) from error


def _with_gaps(values: Sequence[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


DIALECTS = (Parquet(),)
