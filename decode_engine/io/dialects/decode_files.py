"""DECODE's tables of emitters: HDF5 and CSV as version 0.10 writes them, and as SMAP reads them.

DECODE's x runs along rows and its y along columns, in pixels from the centre of the first one
(or in nm), ``px_size`` is in that order too; z in nm with our sign, frames from 0, ``*_sig`` are
standard deviations, ``*_cr`` variances. HDF5: ``/data/xyz`` (N, 3) and one data set a quantity,
an empty data space where all are NaN; ``/meta`` and ``/decode`` hold attributes only, in an
order that SMAP counts on. CSV: three comment lines, the last two of JSON, then the header.

SMAP (since August 2023) takes one-dimensional ``phot``, ``phot_sig`` and ``bg`` for a single
row and loses them; two columns a row, as of two channels, it reads right. From the CSV it expects
a fourth comment line (since October 2023), and loses photons and background all the same. It
takes positions as they are, although its own count one pixel (and the chip's region) more; so
the variant for SMAP has them added (and x turned over where SMAP turns the frames over), and says
so in its version: ``0.10.2+smap(region x,y)`` or ``+smap(region x,y,mirrored width)``.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import LocalizationsError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.delimited import Delimited
from decode_engine.io.dialects.assembly import Source, assemble, export_columns
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    Guess,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.convention import Convention, Geometry
from decode_engine.io.dialects.smap_sml import is_mirrored, mirror_remarks
from decode_engine.io.dialects.text import choose, missing_column, read_columns, require_layout
from decode_engine.io.dialects.uncertainty import uncertainty_or_guess
from decode_engine.io.fixed_point import Words, text_blocks

__all__ = ["DECODE", "DIALECTS", "DecodeCsv", "DecodeH5"]

Variant: TypeAlias = Literal["", "smap"]

DECODE = Convention(xy_unit="px", origin="centre", first_frame=0, swapped_xy=True)
_DECODE_NM = Convention(xy_unit="nm", origin="centre", first_frame=0, swapped_xy=True)
_FOR_SMAP = dataclasses.replace(DECODE, origin="one_based_centre", with_roi_origin=True)
_VERSION = "0.10.2"
_FOR_SMAP_MIRRORED = dataclasses.replace(_FOR_SMAP, mirrored_x=True)
_SMAP_MARK = re.compile(r"\+smap\((-?\d+),(-?\d+)(?:,(\d+))?\)$")
_TITLE = "# DECODE EmitterSet"
_HEADER = (
    "x", "y", "z", "phot", "frame_ix", "id", "prob", "bg", "phot_cr", "bg_cr", "phot_sig",
    "bg_sig", "x_cr", "y_cr", "z_cr", "x_sig", "y_sig", "z_sig",
)  # fmt: skip
_DECIMALS = {"z": 4, "phot": 4, "bg": 4, "phot_sig": 4, "bg_sig": 4, "z_sig": 5}
_PIXEL_DECIMALS = 7
_AXIAL_RATIO = 3.0  # of the axial to the lateral uncertainty, as SMAP assumes without one
# DECODE's name of what we call ...; x and y change places in the convention.
_SCALARS = {
    "phot": "photons",
    "frame_ix": "frame",
    "prob": "probability",
    "bg": "background",
    "phot_sig": "sigma_photons",
    "bg_sig": "sigma_background",
}
_AXES = {"x": "x_nm", "y": "y_nm", "z": "z_nm"}
_SIGMAS = {"x_sig": "sigma_x_nm", "y_sig": "sigma_y_nm", "z_sig": "sigma_z_nm"}


class DecodeH5:
    """DECODE's HDF5; ``variant="smap"`` writes what current SMAP reads right."""

    suffix = ".h5"
    can_write = True
    needs_pixel_size = True

    def __init__(self, variant: Variant = "") -> None:
        self.variant = variant
        self.name = "decode-h5-smap" if variant else "decode-h5"
        self.title = f"DECODE table (HDF5{', for SMAP' if variant else ''})"
        self.words = (
            "DECODE's HDF5 with two columns of photons, which current SMAP needs."
            if variant
            else "What DECODE 0.10 itself saves, for its Python package."
        )
        self.can_read = not variant

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim HDF5 files with ``/data/xyz`` and ``/meta``."""
        if sample.kind != "hdf5":
            return None
        try:
            with h5py.File(sample.path, "r") as file:
                if "data/xyz" not in file or "meta" not in file:
                    return None
                return Match(
                    confidence=95, variant=_version(file), why="it has /data/xyz and /meta"
                )
        except OSError:
            return None

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read a table; one without rows too."""
        try:
            with h5py.File(path, "r") as file:
                if "data/xyz" not in file:
                    raise LocalizationsError(
                        f"{path.name} is an HDF5 file of another kind (no /data/xyz).",
                        hint="Give a file that DECODE saved.",
                    )
                data = {name: _array(file["data"][name]) for name in file["data"]}
                unit, geometry = _meta(dict(file["meta"].attrs) if "meta" in file else {})
                version = _version(file)
        except OSError as error:
            raise LocalizationsError(
                f"{path.name} cannot be read as HDF5.",
                hint="It may be incomplete; copy it again.",
                detail=str(error),
            ) from error
        fields, notes = _flat(path, data)
        return _assembled(fields, unit, options, _source(self.name, version, geometry, notes))

    def remarks(self, table: Localizations, context: ExportContext) -> tuple[str, ...]:
        """Say what is made up, and what current SMAP makes of the file."""
        said = [*_made_up(table, self.variant), *(mirror_remarks(context) if self.variant else ())]
        if not self.variant:
            said.append(
                "Current SMAP loses photons and background of this format; for SMAP choose "
                "smap-sml (or decode-h5-smap)."
            )
        return tuple(said)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Write the table."""
        fields = _fields(table, context, self.variant)
        with (
            atomic_path(path, overwrite=overwrite) as temporary,
            h5py.File(temporary, "w") as file,
        ):
            # The order of creation is part of the format: SMAP counts attributes.
            meta = file.create_group("meta")
            meta.attrs["xy_unit"] = "px"
            meta.attrs["px_size"] = np.asarray(_px_size(context.geometry), np.float32)
            file.create_group("decode").attrs["version"] = _version_for(context, self.variant)
            data = file.create_group("data")
            for name, values in _datasets(fields, self.variant).items():
                missing = name.endswith(("_sig", "_cr")) and bool(np.isnan(values).all())
                # DECODE's rule; of no rows at all too (all of nothing is NaN).
                data.create_dataset(name, data=h5py.Empty("f") if missing else values)
        return (path,)


class DecodeCsv:
    """DECODE's CSV; ``variant="smap"`` has the fourth comment line that SMAP skips."""

    suffix = ".csv"
    can_write = True
    needs_pixel_size = True

    def __init__(self, variant: Variant = "") -> None:
        self.variant = variant
        self.name = "decode-csv-smap" if variant else "decode-csv"
        self.title = f"DECODE table (CSV{', for SMAP' if variant else ''})"
        self.words = "What DECODE 0.10 itself saves as text."
        self.can_read = not variant

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim tables that begin with DECODE's comment."""
        if not sample.lines or not sample.lines[0].startswith(_TITLE):
            return None
        return Match(confidence=98, why=f"it begins with {_TITLE!r}")

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read a table; empty fields are NaN."""
        layout = require_layout(path, ",".join(_HEADER[:5]))
        sample = FileSample(path)
        meta = _comment(sample, "xy_unit")
        version = str(_comment(sample, "version").get("version", ""))
        unit, geometry = _meta(meta)
        wanted = [*_AXES, *_SIGMAS, *_SCALARS, "id", "x_cr", "y_cr", "z_cr", "phot_cr", "bg_cr"]
        chosen = choose(layout, {name: (name,) for name in wanted})
        for name in ("x", "y", "frame_ix"):
            if name not in chosen:
                raise missing_column(layout, name, (name,))
        empty = _empty_columns(layout) - {chosen[name] for name in ("x", "y", "frame_ix")}
        fields = read_columns(layout, {n: p for n, p in chosen.items() if p not in empty})
        unused = [n for i, n in enumerate(layout.names) if i not in chosen.values()]
        source = _source(self.name, version, geometry, [], unused, layout.n_header_lines)
        return _assembled(fields, unit, options, source)

    def remarks(self, table: Localizations, context: ExportContext) -> tuple[str, ...]:
        """Say what is made up, and what current SMAP makes of the file."""
        lost = "Current SMAP loses photons and background of DECODE's CSV; choose smap-sml for it."
        turned = mirror_remarks(context) if self.variant else ()
        return (*_made_up(table, self.variant), *turned, lost)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Write the table; numbers in fixed-point notation, missing ones empty."""
        fields = _fields(table, context, self.variant)
        columns = {name: fields[name] for name in _HEADER}
        decimals = {name: _DECIMALS.get(name, _PIXEL_DECIMALS) for name in _HEADER}
        meta = {"xy_unit": "px", "px_size": list(_px_size(context.geometry))}
        version = _version_for(context, self.variant)
        lines = [_TITLE, "# " + json.dumps({"version": version}), "# " + json.dumps(meta)]
        if self.variant:
            lines.append("# written for SMAP, which skips four lines")
        words = Words(nan=b"", inf=b"inf", minus_inf=b"-inf")
        with atomic_path(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
            file.write(("\n".join([*lines, ",".join(_HEADER)]) + "\n").encode("ascii"))
            file.writelines(text_blocks(columns, decimals, words=words))
        return (path,)


# ---------------------------------------------------------------- reading


def _version(file: h5py.File) -> str:
    version = file["decode"].attrs.get("version", "") if "decode" in file else ""
    return version.decode() if isinstance(version, bytes) else str(version)


def _array(dataset: Any) -> NDArray[Any] | None:
    """Return the values, or None for an empty data space."""
    return None if dataset.shape is None else np.asarray(dataset[()])


def _meta(meta: Mapping[str, Any]) -> tuple[str, Geometry]:
    unit = meta.get("xy_unit", "")
    unit = unit.decode() if isinstance(unit, bytes) else str(unit)
    try:
        sizes = np.asarray(meta.get("px_size", ()), np.float64).ravel()
    except (TypeError, ValueError):
        sizes = np.empty(0)
    if sizes.size != 2 or not np.all(np.isfinite(sizes) & (sizes > 0)):
        return unit, Geometry()
    # DECODE's first axis is our y.
    return unit, Geometry(pixel_size_x_nm=float(sizes[1]), pixel_size_y_nm=float(sizes[0]))


def _flat(
    path: Path, data: Mapping[str, NDArray[Any] | None]
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return one column a quantity, under the names of the CSV."""
    fields: dict[str, NDArray[Any]] = {}
    notes: list[str] = []
    for name, values in data.items():
        if values is None or (not values.size and name != "xyz" and values.ndim != 1):
            continue
        if name.startswith("xyz"):
            if values.ndim != 2 or values.shape[1] != 3:
                raise LocalizationsError(
                    f"The data set {name} of {path.name} has the shape {values.shape}, not (N, 3).",
                    hint="The file is damaged or of a later version of DECODE.",
                )
            for axis, letter in enumerate("xyz"):
                fields[letter + name[3:]] = values[:, axis]
        elif values.ndim == 2:  # one column a channel
            fields[name] = values[:, 0]
            if np.any(values[:, 1:]):
                notes.append(f"{name} has {values.shape[1]} channels; the first was taken.")
        elif values.ndim == 1:
            fields[name] = values
    lengths = {name: values.size for name, values in fields.items()}
    if len(set(lengths.values())) > 1 or "frame_ix" not in fields:
        raise LocalizationsError(
            f"The data sets of {path.name} do not belong together: {lengths}.",
            hint="The file is damaged; make it again with DECODE.",
        )
    return fields, notes


def _comment(sample: FileSample, key: str) -> dict[str, Any]:
    for line in sample.lines[:8]:
        if not line.startswith("#"):
            break
        try:
            content = json.loads(line.lstrip("# "))
        except ValueError:
            continue
        if isinstance(content, dict) and key in content:
            return content
    return {}


def _empty_columns(layout: Delimited) -> set[int]:
    """Return the positions of columns without any number (DECODE's uncertainties, mostly)."""
    empty = set(range(layout.n_columns))
    with layout.path.open("r", encoding=layout.encoding, errors="replace") as file:
        for _ in range(layout.n_header_lines):
            file.readline()
        for line in file:
            if not empty:
                break
            fields = line.rstrip("\r\n").split(layout.delimiter)
            empty = {i for i in empty if i >= len(fields) or not fields[i]}
    return empty


def _source(
    dialect: str,
    version: str,
    geometry: Geometry,
    notes: list[str],
    unused: list[str] | None = None,
    n_header_lines: int = 0,
) -> Source:
    camera: dict[str, object] = {}
    if geometry.has_pixel_size:
        camera["pixel_size_x_nm"] = geometry.pixel_size_x_nm
        camera["pixel_size_y_nm"] = geometry.pixel_size_y_nm
    return Source(
        dialect=dialect,
        variant=version,
        geometry=geometry,
        camera=camera,
        notes=tuple(notes),
        unused=unused or [],
        n_header_lines=n_header_lines,
    )


def _assembled(
    fields: Mapping[str, NDArray[Any]], unit: str, options: ReadOptions, source: Source
) -> ImportedTable:
    columns = {ours: fields[n] for n, ours in (_AXES | _SCALARS).items() if n in fields}
    guesses: list[Guess] = []
    for name, ours in (
        _SIGMAS | {"phot_sig": "sigma_photons", "bg_sig": "sigma_background"}
    ).items():
        variance = name.replace("_sig", "_cr")
        if name in fields and not np.isnan(fields[name]).all():
            columns[ours] = fields[name]
        elif variance in fields and not np.isnan(fields[variance]).all():
            columns[ours] = np.sqrt(np.maximum(fields[variance], 0.0))
            guesses.append(Guess(ours, f"root of {variance}", "the table has no " + name))
    identity = fields.get("id")
    if identity is not None and np.any(identity >= 0):
        columns["track_id"] = identity
    if unit not in ("px", "nm"):
        guesses.append(Guess("unit of x and y", "px", "the file does not say it"))
    convention = _DECODE_NM if unit == "nm" else DECODE
    if mark := _SMAP_MARK.search(source.variant):
        if not np.any(columns.get("sigma_photons", 0)):
            columns.pop("sigma_photons", None)  # zeros that SMAP needs; nothing was known
        convention = _FOR_SMAP_MIRRORED if mark[3] else _FOR_SMAP
        geometry = dataclasses.replace(
            source.geometry,
            roi_origin_px=(int(mark[1]), int(mark[2])),
            width_px=int(mark[3]) if mark[3] else None,
        )
        source = dataclasses.replace(source, geometry=geometry)
    told = dataclasses.replace(source, guesses=tuple(guesses))
    return assemble(columns, convention, options, told)


# ---------------------------------------------------------------- writing


def _version_for(context: ExportContext, variant: Variant) -> str:
    x_px, y_px = context.geometry.roi_origin_px
    width = f",{context.geometry.width_px}" if is_mirrored(context) else ""
    return f"{_VERSION}+smap({x_px},{y_px}{width})" if variant else _VERSION


def _px_size(geometry: Geometry) -> tuple[float, float]:
    """Return the pixel size in DECODE's order: along its x (our y) first."""
    x_nm, y_nm = geometry.pixel_size_nm("because DECODE counts in pixels")
    return y_nm, x_nm


def _fields(
    table: Localizations, context: ExportContext, variant: Variant
) -> dict[str, NDArray[Any]]:
    """Return all columns of the CSV; what the table does not have is NaN."""
    geometry = context.geometry
    for_smap = _FOR_SMAP_MIRRORED if is_mirrored(context) else _FOR_SMAP
    values = export_columns(table, for_smap if variant else DECODE, geometry)
    missing = np.full(len(table), np.nan, np.float32)
    fields: dict[str, NDArray[Any]] = {name: missing for name in _HEADER}
    for name, ours in (_AXES | _SIGMAS | _SCALARS).items():
        if ours in values:
            kind = np.int64 if ours == "frame" else np.float32
            fields[name] = np.asarray(values[ours], kind)
    if table.probability is None:
        fields["prob"] = np.ones(len(table), np.float32)
    if variant:
        _fill_for_smap(fields, table, geometry)
    track = table.track_id
    fields["id"] = np.full(len(table), -1, np.int64) if track is None else track.astype(np.int64)
    return fields


def _fill_for_smap(
    fields: dict[str, NDArray[Any]], table: Localizations, geometry: Geometry
) -> None:
    """Make up what SMAP needs: z (its filter hides rows without) and uncertainties."""
    if np.isnan(fields["z"]).all():
        fields["z"] = np.zeros(len(table), np.float32)
    lateral_nm, is_known = uncertainty_or_guess(table.columns())
    if not is_known:
        along_x, along_y = _px_size(geometry)
        fields["x_sig"] = (lateral_nm / along_x).astype(np.float32)
        fields["y_sig"] = (lateral_nm / along_y).astype(np.float32)
    if np.isnan(fields["z_sig"]).all():
        fields["z_sig"] = (_AXIAL_RATIO * lateral_nm).astype(np.float32)


def _datasets(fields: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, NDArray[Any]]:
    """Return the data sets of the HDF5 in the order in which DECODE creates them."""

    def triple(ending: str) -> NDArray[Any]:
        return np.stack([fields[letter + ending] for letter in "xyz"], axis=1)

    found = {
        "xyz": triple(""), "xyz_sig": triple("_sig"), "xyz_cr": triple("_cr"),
        "phot": fields["phot"], "phot_cr": fields["phot_cr"], "phot_sig": fields["phot_sig"],
        "frame_ix": fields["frame_ix"], "id": fields["id"], "prob": fields["prob"],
        "bg": fields["bg"], "bg_cr": fields["bg_cr"], "bg_sig": fields["bg_sig"],
    }  # fmt: skip
    if variant:
        for name in ("phot", "phot_sig", "bg"):
            second = np.zeros_like(found[name])  # a second channel without light
            found[name] = np.stack([found[name], second], axis=1)
        found["phot_sig"][np.isnan(found["phot_sig"])] = 0.0  # an empty one makes SMAP stop
    return found


def _made_up(table: Localizations, variant: Variant) -> list[str]:
    said = []
    if table.probability is None:
        said.append("The table has no probabilities; DECODE's default of 1 is written.")
    if variant:
        said.append(
            "Positions count as SMAP's do, a pixel (and the place of the region) more than "
            "DECODE's; for DECODE itself choose the format without -smap."
        )
    if variant and len(table) and np.isnan(table.z_nm).all():
        said.append("The table has no z; 0 is written, for SMAP hides rows without one.")
    if variant and (table.sigma_x_nm is None or table.sigma_y_nm is None):
        said.append("The table has no uncertainties; 150 nm by the root of the photons is written.")
    return said


DIALECTS = (DecodeH5(), DecodeCsv(), DecodeH5("smap"), DecodeCsv("smap"))
