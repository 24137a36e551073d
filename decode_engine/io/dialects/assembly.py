"""From a program's columns to an `ImportedTable`: convert, drop rows by rule, count, say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import LocalizationsError
from decode_engine.io.dialects.base import Guess, ImportedTable, ReadOptions
from decode_engine.io.dialects.convention import Columns, Convention, Geometry, from_ours, to_ours
from decode_engine.io.localization_metadata import LocalizationMetadata

__all__ = ["Source", "assemble", "export_columns", "lateral_uncertainty"]

_POSITION = ("frame", "x_nm", "y_nm")
_FILLED = ("z_nm", "photons", "background")
_MISSING_WORDS = {
    "z_nm": "the file has no z; it is two-dimensional",
    "photons": "the file does not say how bright",
    "background": "the file does not say the background",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a reader knows about the file besides its columns (fields as in `ImportedTable`)."""

    dialect: str
    variant: str = ""
    geometry: Geometry = field(default_factory=Geometry)
    camera: Mapping[str, object] = field(default_factory=dict)
    guesses: tuple[Guess, ...] = ()
    notes: tuple[str, ...] = ()
    unused: Sequence[str] = ()  # columns that are not taken over, by the file's own names
    n_dropped: Mapping[str, int] = field(default_factory=dict)  # by the reader already
    metadata: LocalizationMetadata | None = None
    n_header_lines: int = 0  # of a text; 0 = rows are not lines


def assemble(
    columns: Columns, convention: Convention, options: ReadOptions, source: Source
) -> ImportedTable:
    """Convert a program's columns and build the table.

    Parameters
    ----------
    columns : mapping of str to (N,) array
        Under our names, with the program's values (see `Convention`).

    Returns
    -------
    ImportedTable
        Rows without a frame or a position are left out and counted (`keep_nan` keeps those
        that lack only a position). Missing z, photons or background become NaN.

    Raises
    ------
    LocalizationsError
        If frames are not whole numbers from the program's first frame on, or the pixel size is
        needed and unknown.
    """
    geometry = options.over(source.geometry)
    _require_position(columns, source)
    convention, origin = _usable(convention, geometry)
    plain = to_ours(columns, convention, geometry)
    n_rows = len(plain["frame"])
    _require_frames(plain["frame"], convention, source)
    plain, dropped = _without_gaps(plain, options, dict(source.n_dropped))
    notes = list(source.notes)
    guesses = (*source.guesses, *origin, *_fill(plain))
    if source.unused:
        notes.append("Columns that were not taken over: " + ", ".join(source.unused) + ".")
    table = Localizations(**_typed(plain))
    notes += _outside(table, geometry)
    return ImportedTable(
        table=table,
        geometry=geometry,
        camera=source.camera,
        guesses=guesses,
        n_rows_file=n_rows + sum(source.n_dropped.values()),
        n_dropped=dropped,
        dialect=source.dialect,
        variant=source.variant,
        notes=tuple(notes),
        metadata=source.metadata,
    )


def export_columns(
    table: Localizations, convention: Convention, geometry: Geometry
) -> dict[str, NDArray[Any]]:
    """Return all columns of a table with a program's values, under our names."""
    return from_ours(table.columns(), convention, geometry)


def lateral_uncertainty(columns: Columns) -> NDArray[np.float64] | None:
    """Return one uncertainty for x and y, sqrt((sx² + sy²) / 2), or None without both."""
    if "sigma_x_nm" not in columns or "sigma_y_nm" not in columns:
        return None
    x = np.asarray(columns["sigma_x_nm"], np.float64)
    y = np.asarray(columns["sigma_y_nm"], np.float64)
    return np.asarray(np.sqrt((x * x + y * y) / 2.0))


def _fill(columns: dict[str, NDArray[Any]]) -> list[Guess]:
    """Put NaN where a column that we need is missing, and say so."""
    missing = [name for name in _FILLED if name not in columns]
    for name in missing:
        columns[name] = np.full(len(columns["frame"]), np.nan, np.float32)
    return [Guess(name, "NaN", _MISSING_WORDS[name]) for name in missing]


def _usable(convention: Convention, geometry: Geometry) -> tuple[Convention, tuple[Guess, ...]]:
    """Leave the origin where it is if only it needs the pixel size, and say so.

    A table in nm is complete but for this shift of a pixel or less, which matters only beside
    the movie; positions in pixels, and mirrored ones, mean nothing without the pixel size.
    """
    alone = convention.xy_unit != "px" and not convention.mirrored_x
    if geometry.has_pixel_size or not convention.needs_pixel_size or not alone:
        return convention, ()
    shift = {"corner": "half a pixel", "one_based_centre": "one pixel"}.get(convention.origin, "")
    kept = dataclasses.replace(
        convention, origin="centre", with_roi_origin=False, extra_shift_px=(0.0, 0.0)
    )
    why = (
        f"the pixel size is unknown, so x and y stay {shift} larger than ours; give it "
        "(--pixel-size-nm) to lay the table on its movie"
    )
    return kept, (Guess("origin", "left as in the file", why),)


def _require_position(columns: Columns, source: Source) -> None:
    for name in _POSITION:
        if name not in columns:
            raise LocalizationsError(
                f"The {source.dialect} table has no {name.removesuffix('_nm')}.",
                hint="Frame, x and y are needed.",
            )


def _without_gaps(
    columns: dict[str, NDArray[Any]], options: ReadOptions, dropped: dict[str, int]
) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """Leave out rows without a frame or a position; count them by reason."""
    kept = np.ones(len(columns["frame"]), bool)
    for name in _POSITION:
        if name != "frame" and options.keep_nan:
            continue
        bad = kept & ~np.isfinite(np.asarray(columns[name], np.float64))
        if bad.any():
            kept &= ~bad
            reason = f"{name.removesuffix('_nm')} is not a number"
            dropped[reason] = dropped.get(reason, 0) + int(np.count_nonzero(bad))
    if kept.all():
        return columns, dropped
    return {name: np.asarray(values)[kept] for name, values in columns.items()}, dropped


def _require_frames(frame: NDArray[Any], convention: Convention, source: Source) -> None:
    bad = np.flatnonzero((frame < 0) | ((frame != np.round(frame)) & np.isfinite(frame)))
    if not bad.size:
        return
    value = float(frame[bad[0]]) + convention.first_frame
    line = f" in line {int(bad[0]) + source.n_header_lines + 1}" if source.n_header_lines else ""
    raise LocalizationsError(
        f"The frame {value:g}{line} is not a whole number from {convention.first_frame} on "
        f"({source.dialect} counts frames from {convention.first_frame}).",
        hint="Correct or remove such rows; where the table counts differently, read it with a "
        "column mapping that says so (--mapping).",
    )


def _typed(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Convert to the declared types; drop unknown columns and optional ones of NaN alone."""
    typed: dict[str, NDArray[Any]] = {}
    for spec in Localizations.specs():
        values = columns.get(spec.name)
        if values is None:
            continue
        is_float = spec.dtype.startswith("float")
        if not spec.required and values.dtype.kind == "f" and values.size:
            finite = np.isfinite(values)
            if not finite.any() or (not is_float and not finite.all()):
                continue
        if is_float:
            limit = np.finfo(spec.dtype).max
            huge = np.flatnonzero(np.isfinite(values) & (np.abs(values) > limit))
            if huge.size:
                raise LocalizationsError(
                    f"The {spec.name} of {values[huge[0]]:g} is beyond what a number can be here.",
                    hint="Correct or remove that row.",
                )
        typed[spec.name] = values.astype(spec.dtype) if is_float else values
    return typed


def _outside(table: Localizations, geometry: Geometry) -> list[str]:
    """Say how many rows lie outside the frame, where its size is known; none is left out."""
    if geometry.width_px is None or geometry.height_px is None or not geometry.has_pixel_size:
        return []
    size_x, size_y = geometry.pixel_size_nm("to know the field")
    x, y = table.x_nm / np.float32(size_x), table.y_nm / np.float32(size_y)
    inside = (x >= -0.5) & (x <= geometry.width_px - 0.5)
    inside &= (y >= -0.5) & (y <= geometry.height_px - 0.5)
    n_outside = int(np.count_nonzero(~inside))
    if not n_outside:
        return []
    return [
        f"{n_outside} of {len(table)} rows lie outside the frame of {geometry.width_px} x "
        f"{geometry.height_px} px; they are kept. Is the pixel size of {size_x:g} nm right?"
    ]
