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
from decode_engine.io.fast_columns import read_columns

__all__ = [
    "CHUNK_ROWS",
    "COLUMNS",
    "FORMAT",
    "FORMAT_VERSION",
    "METADATA_NAME",
    "column_names",
    "create_column",
    "create_file",
    "is_ours",
    "is_partial_result",
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
_DAMAGED = "The file is damaged; make it again."
COLUMNS: dict[str, ColumnSpec] = {spec.name: spec for spec in Localizations.specs()}


def partial_path(path: Path) -> Path:
    """Return the folder that holds an unfinished result ``path``."""
    return path.with_name(f"{path.name.removesuffix('.h5')}.partial")


@contextmanager
def create_file(path: Path) -> Iterator[Any]:
    """Create an HDF5 file that programs with older HDF5 libraries can read too.

    Raises the operating system's own `OSError` when the disk is full.
    """
    with path.open("w+b", buffering=0) as raw:
        guarded = _GuardedFile(raw)
        try:
            with h5py.File(guarded, "w", libver=("earliest", "v110")) as file:
                yield file
        finally:
            if guarded.error is not None:
                raise guarded.error


class _GuardedFile:
    """Keeps a failing disk from HDF5, which crashes the process when it cannot write (HDF5 2.0).

    The first error is remembered for whoever made the file, and everything after it is lost.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write everything, or remember why not."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self.error is None and done < len(view):
                done += self._raw.write(view[done:])
        except OSError as error:
            self.error = error
        return len(view)

    def readinto(self, target: Any) -> int:
        """Read; what could not be written reads as zeros."""
        view = memoryview(target).cast("B")
        done = 0
        while done < len(view) and (n := self._raw.readinto(view[done:])):
            done += n
        view[done:] = bytes(len(view) - done)
        return len(view)

    def read(self, n_bytes: int) -> bytes:
        """Read; h5py knows file objects by this method."""
        data = bytearray(n_bytes)
        self.readinto(data)
        return bytes(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move."""
        return int(self._raw.seek(offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return int(self._raw.tell())

    def truncate(self, size: int) -> int:
        """Set the size, or remember why not."""
        try:
            return int(self._raw.truncate(size))
        except OSError as error:
            self.error = self.error or error
            return size

    def flush(self) -> None:
        """Nothing is buffered here."""


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
        if not is_ours(file):
            raise LocalizationsError(
                f"{path} is an HDF5 file, but not one of localizations.",
                hint="Inspect it to see what it is.",
            )
        version = file.attrs.get("format_version")
        if not isinstance(version, (int, np.integer)):
            raise LocalizationsError(f"{path} has no format version.", hint=_DAMAGED)
        if version > FORMAT_VERSION:
            raise LocalizationsError(
                f"{path} has the format version {version}, this program knows {FORMAT_VERSION}.",
                hint="Update the program.",
            )
        if "localizations" not in file:
            raise LocalizationsError(f"{path} has no table.", hint=_DAMAGED)
        yield file


def is_ours(file: Any) -> bool:
    """Whether an open HDF5 file calls itself a localization file."""
    found = file.attrs.get("format")
    return isinstance(found, str) and found == FORMAT


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


def is_partial_result(folder: Path) -> bool:
    """Whether a folder holds an unfinished result (other programs write a metadata.json too)."""
    return folder.suffix == ".partial" and (folder / METADATA_NAME).is_file()


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
                hint=_DAMAGED,
            )
        try:
            return Localizations(**read_columns({n: group[n] for n in column_names(file)}))
        except (OSError, TypeError, AttributeError) as error:
            raise LocalizationsError(
                f"{path} has columns that cannot be read.", hint=_DAMAGED, detail=str(error)
            ) from error
