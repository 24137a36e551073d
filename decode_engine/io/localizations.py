"""The native localization file: HDF5, version 1; readable without this code.

Layout
------
``/`` attributes
    ``format`` = "decode-desktop localizations", ``format_version`` = 1, ``n_localizations``,
    ``n_frames``: frames that were looked at, ``frames_done``: how many of them are finished,
    ``complete``: 1 when the job ran to its end.
``/localizations/<column>``
    One 1-D data set for each column, all of the same length, little endian, chunked,
    resizable, shuffled and deflated (level 1). Attributes ``unit`` (nm, photon, frame or empty)
    and ``doc``. Always there: ``frame`` (int32), ``x_nm``, ``y_nm``, ``z_nm``, ``photons``,
    ``background`` (float32); the others as the job knew them (``sigma_x_nm``, ...). Rows are in
    the order of frames.
``/provenance``
    A scalar string with a JSON object: `LocalizationMetadata` field by field (movies and their
    checksum, pixel size, frame size, region, frame range, model, configuration, versions,
    seed, device, time).

x runs along columns to the right and y along rows downwards, in nm; (0, 0) is the centre of
the full camera frame's top-left pixel, also when only a region was localized. Frames count
from 0. z has SMAP's sign and is NaN in 2D. Python: ``h5py.File(f)["localizations/x_nm"][:]``,
MATLAB: ``h5read(f, '/localizations/x_nm')``.

While a job runs
----------------
`LocalizationWriter` collects its chunks beside the result in the folder ``<name>.partial``:
``metadata.json`` and one small file of the same layout per chunk, ``part-00000000.h5``. Each
is written under another name, flushed to the disk and renamed, so after a crash or a kill at
any moment every part that is there is whole, and the job goes on behind the last one. (HDF5
alone does not promise that: a process killed while it updates a file's index leaves a file
that cannot be opened.) `LocalizationWriter.finish` joins the parts into the result, again
under another name until it is complete. Parts never change, so they may be read meanwhile.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import LocalizationsError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.localization_layout import (
    FORMAT,
    FORMAT_VERSION,
    create_file,
    is_ours,
    is_partial_result,
    list_parts,
    open_checked,
    partial_path,
    read_table,
    write_header,
    write_table,
)
from decode_engine.io.localization_metadata import (
    LocalizationMetadata,
    software_versions,
    utc_now,
)
from decode_engine.io.localization_writer import LocalizationWriter, read_partial_metadata

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "LocalizationMetadata",
    "LocalizationWriter",
    "is_ours",
    "is_partial_result",
    "partial_path",
    "read_localization_metadata",
    "read_localizations",
    "software_versions",
    "write_localizations",
]


def write_localizations(
    path: Path, table: Localizations, metadata: LocalizationMetadata, *, overwrite: bool = False
) -> None:
    """Write a whole table at once."""
    n_frames = metadata.n_frames
    final = dataclasses.replace(
        metadata, created=metadata.created or utc_now(), frames_done=n_frames, complete=True
    )
    with atomic_path(path, overwrite=overwrite) as temporary, create_file(temporary) as file:
        write_header(file, len(table), n_frames, n_frames, complete=True)
        write_table(file, table)
        file.create_dataset("provenance", data=final.to_json())


def read_localizations(path: Path) -> Localizations:
    """Read a finished result, or what an unfinished one (``<name>.partial``) has so far.

    Raises
    ------
    LocalizationsError
        If it is not a localization file, or of a later version.
    """
    if path.is_dir():
        tables = [read_table(part) for part in list_parts(path)]
        filled = [table for table in tables if len(table)]
        return Localizations.concatenate(filled or tables)
    return read_table(path)


def read_localization_metadata(path: Path) -> LocalizationMetadata:
    """Read the provenance of a finished or unfinished result."""
    if path.is_dir():
        return read_partial_metadata(path)
    with open_checked(path) as file:
        provenance = file.get("provenance")
        if provenance is None or h5py.check_string_dtype(provenance.dtype) is None:
            raise LocalizationsError(
                f"{path} has no provenance; it is a part of an unfinished result.",
                hint=f"Give the folder {path.parent} instead.",
            )
        return LocalizationMetadata.from_json(provenance.asstr()[()])
