"""The HDF5 parts of the native localization file: header, columns, opening with checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from decode_engine.domain.localizations import Localizations
from decode_engine.domain.table import ColumnSpec
from decode_engine.errors import LocalizationsError

__all__ = [
    "CHUNK_ROWS",
    "COLUMNS",
    "FORMAT",
    "FORMAT_VERSION",
    "METADATA_NAME",
    "column_names",
    "create_column",
    "create_file",
    "list_parts",
    "open_checked",
    "partial_path",
    "read_table",
    "write_header",
    "write_table",
]

FORMAT = "decode-desktop localizations"
FORMAT_VERSION = 1
CHUNK_ROWS = 1 << 16
METADATA_NAME = "metadata.json"
COLUMNS: dict[str, ColumnSpec] = {spec.name: spec for spec in Localizations.specs()}


def partial_path(path: Path) -> Path:
    """Return the folder that holds an unfinished result ``path``."""
    return path.with_name(f"{path.name.removesuffix('.h5')}.partial")


def create_file(path: Path) -> Any:
    """Create an HDF5 file that programs with older HDF5 libraries can read too."""
    return h5py.File(path, "w", libver=("earliest", "v110"), locking=False)


def write_table(file: Any, table: Localizations) -> None:
    """Write all columns of a table."""
    group = file.create_group("localizations")
    for name, values in table.columns().items():
        create_column(group, name, len(table))[:] = values


@contextmanager
def open_checked(path: Path) -> Iterator[Any]:
    """Open a localization file for reading; complain in words if it is none."""
    if not path.exists():
        raise LocalizationsError(f"{path} does not exist.", hint="Check the name.")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise LocalizationsError(
            f"{path} is not a readable HDF5 file.",
            hint="Give a localization file (.h5); this one may be cut off.",
            detail=str(error),
        ) from error
    with file:
        found = file.attrs.get("format")
        if found != FORMAT:
            raise LocalizationsError(
                f"{path} is an HDF5 file, but not one of localizations.",
                hint="Inspect it to see what it is.",
            )
        version = int(file.attrs["format_version"])
        if version > FORMAT_VERSION:
            raise LocalizationsError(
                f"{path} has the format version {version}, this program knows {FORMAT_VERSION}.",
                hint="Update the program.",
            )
        yield file


def write_header(
    file: Any, n_localizations: int, n_frames: int, frames_done: int, *, complete: bool
) -> None:
    """Write the root attributes."""
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["n_localizations"] = n_localizations
    file.attrs["n_frames"] = n_frames
    file.attrs["frames_done"] = frames_done
    file.attrs["complete"] = int(complete)


def create_column(group: Any, name: str, rows: int) -> Any:
    """Create an empty column with its unit and meaning."""
    spec = COLUMNS[name]
    dataset = group.create_dataset(
        name,
        shape=(rows,),
        maxshape=(None,),
        dtype=np.dtype(spec.dtype).newbyteorder("<"),
        chunks=(CHUNK_ROWS if rows >= CHUNK_ROWS else max(64, rows),),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    dataset.attrs["unit"] = spec.unit
    dataset.attrs["doc"] = spec.doc
    return dataset


def column_names(file: Any) -> tuple[str, ...]:
    """Return the names of the columns in a file, in our order."""
    return tuple(name for name in COLUMNS if name in file["localizations"])


def list_parts(folder: Path) -> list[Path]:
    """Return the parts of an unfinished result, in order."""
    if not (folder / METADATA_NAME).is_file():
        raise LocalizationsError(
            f"The folder {folder} is not an unfinished result.",
            hint="Give a localization file (.h5), or a folder that ends in .partial.",
        )
    return sorted(folder.glob("part-*.h5"))


def read_table(path: Path) -> Localizations:
    """Read all columns of one file."""
    with open_checked(path) as file:
        group = file["localizations"]
        missing = [n for n, spec in COLUMNS.items() if spec.required and n not in group]
        if missing:
            raise LocalizationsError(
                f"{path} lacks the column {missing[0]!r}.",
                hint="The file is damaged; make it again.",
            )
        return Localizations(**{name: group[name][:] for name in column_names(file)})
