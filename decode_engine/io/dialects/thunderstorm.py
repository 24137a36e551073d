"""ThunderSTORM's CSV (and that of whoever imitates it), its protocol and a macro that opens it.

Positions are nm from the outer corner of the first pixel, frames count from 1. The header is
quoted names with units. Numbers are fixed-point: Java's parser takes ``1e-05`` for 1 and knows
only ``NaN`` and ``Infinity`` as words. The name of the lateral uncertainty is "uncertainty_xy"
in current builds and "uncertainty" up to 1.3; both are read.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import LocalizationsError
from decode_engine.io.atomic import atomic_path, require_output
from decode_engine.io.delimited import split_unit
from decode_engine.io.dialects.assembly import (
    Source,
    assemble,
    export_columns,
    lateral_uncertainty,
)
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    Guess,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.convention import Convention, Geometry
from decode_engine.io.dialects.text import (
    choose,
    has_names,
    layout_guesses,
    missing_column,
    read_columns,
    require_layout,
    unused,
)
from decode_engine.io.dialects.thunderstorm_protocol import (
    Protocol,
    macro_text,
    photons_per_adu,
    protocol_text,
    read_protocol,
)
from decode_engine.io.fixed_point import Words, text_blocks

__all__ = ["CONVENTION", "DIALECTS", "ThunderStorm"]

CONVENTION = Convention(origin="corner", first_frame=1)
# Picasso's export in this form keeps its own origin and first frame (0.10 and 0.11).
_OF_PICASSO = Convention()
_HEADER_OF_PICASSO = re.compile(
    r"id,frame,x \[nm\],y \[nm\],(z \[nm\],sigma1 \[nm\],sigma2 \[nm\]|sigma \[nm\]),intensity "
    r"\[photon\],offset \[photon\],bkgstd \[photon\],uncertainty_xy \[nm\]"
)

_NAMES: Mapping[str, tuple[str, ...]] = {
    "frame": ("frame",),
    "x_nm": ("x",),
    "y_nm": ("y",),
    "z_nm": ("z",),
    "photons": ("intensity",),
    "background": ("offset",),
    "sigma_x_nm": ("uncertainty_x", "uncertainty_xy", "uncertainty"),
    "sigma_y_nm": ("uncertainty_y", "uncertainty_xy", "uncertainty"),
    "sigma_z_nm": ("uncertainty_z",),
    # Columns of our own: ThunderSTORM shows and keeps what it does not know.
    "probability": ("probability",),
    "sigma_photons": ("intensity_std",),
    "sigma_background": ("offset_std",),
    "log_likelihood": ("log_likelihood",),
    "iterations": ("iterations",),
    "flags": ("flags",),
    "track_id": ("track_id",),
}
_EXTRA_TITLES = {
    "sigma_x_nm": "uncertainty_x [nm]",
    "sigma_y_nm": "uncertainty_y [nm]",
    "probability": "probability",
    "sigma_photons": "intensity_std [photon]",
    "sigma_background": "offset_std [photon]",
    "log_likelihood": "log_likelihood",
    "iterations": "iterations",
    "flags": "flags",
    "track_id": "track_id",
}
# Running number, or made from what is read.
_DERIVED = ("id", "bkgstd [photon]", "uncertainty_xy [nm]")
_LENGTHS = ("x_nm", "y_nm", "z_nm", "sigma_x_nm", "sigma_y_nm", "sigma_z_nm")
_PHOTONS = ("photons", "background", "sigma_photons", "sigma_background")
_NM = {"nm": 1.0, "um": 1000.0}
_DECIMALS = 5  # ThunderSTORM's own default
_PSF_WIDTH_PX = 1.3  # standard deviation that is written where the real one is unknown
_WORDS = Words(b"NaN", b"Infinity", b"-Infinity")


class ThunderStorm:
    """``"frame","x [nm]","y [nm]",...``."""

    name = "thunderstorm"
    title = "ThunderSTORM table"
    words = "For ThunderSTORM in Fiji, and all programs that read its tables (Picasso, SMAP, …)."
    suffix = ".csv"
    can_read = True
    can_write = True
    needs_pixel_size = True

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim tables with ThunderSTORM's names and units."""
        layout = has_names(sample, ("frame",), ("x",), ("y",))
        if layout is None:
            return None
        units = dict(split_unit(name) for name in layout.names)
        if not units.get("x") or "[" not in "".join(layout.names):
            return None
        named = {"intensity", "offset", "sigma", "sigma1", "uncertainty", "uncertainty_xy"}
        sure = named & set(units)
        return Match(
            confidence=90 if sure else 60,
            variant=_variant(units),
            why="its columns are named as ThunderSTORM names them, with units in brackets",
        )

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read a table of any version; the protocol beside it gives pixel size and camera."""
        layout = require_layout(path, '"frame","x [nm]","y [nm]"')
        chosen = choose(layout, _NAMES)
        for name in ("frame", "x_nm", "y_nm"):
            if name not in chosen:
                raise missing_column(layout, name, _NAMES[name])
        protocol = read_protocol(_protocol_path(path))
        geometry = options.over(protocol.geometry)
        units = {ours: split_unit(layout.names[i])[1] for ours, i in chosen.items()}
        found = _in_nm_and_photons(read_columns(layout, chosen), units, geometry, protocol)
        written = _writer(path, found.columns)
        guesses = (*layout_guesses(layout), *protocol.guesses, *written.guesses, *found.guesses)
        variant = _variant(dict(split_unit(name) for name in layout.names))
        source = Source(
            dialect=self.name,
            variant=f"{written.name}, {variant}" if written.name else variant,
            geometry=protocol.geometry,
            camera=protocol.camera,
            guesses=guesses,
            notes=found.notes,
            unused=[name for name in unused(layout, chosen) if name not in _DERIVED],
            n_header_lines=layout.n_header_lines,
        )
        return assemble(found.columns, written.convention, options, source)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Write the table, ``-protocol.txt`` (ThunderSTORM applies it) and an ``.ijm`` macro."""
        columns = _written(table, context)
        protocol, macro = _protocol_path(path), path.with_suffix(".ijm")
        for beside in (protocol, macro):
            require_output(beside, overwrite=overwrite)
        with atomic_path(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
            file.write((",".join(f'"{title}"' for title in columns) + "\n").encode())
            decimals = dict.fromkeys(columns, _DECIMALS)
            for block in text_blocks(columns, decimals, words=_WORDS):
                file.write(block)
        for beside, text in (
            (protocol, protocol_text(context)),
            (macro, macro_text(path.name, context)),
        ):
            with atomic_path(beside, overwrite=overwrite) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return path, protocol, macro

    def remarks(self, table: Localizations, context: ExportContext) -> tuple[str, ...]:
        """Say what is made up, and what ThunderSTORM cannot know."""
        said = [f"The width of the PSF (sigma) is unknown; it is written as {_PSF_WIDTH_PX:g} px."]
        size = context.geometry
        if size.pixel_size_x_nm != size.pixel_size_y_nm:
            said.append(
                "ThunderSTORM knows only square pixels: positions are right, but its camera "
                f"setup gets the pixel size along x, {size.pixel_size_x_nm:g} nm."
            )
        if table.sigma_x_nm is None or table.sigma_y_nm is None:
            said.append("The table has no uncertainties; uncertainty_xy is left out.")
        return tuple(said)


class _Converted(NamedTuple):
    columns: dict[str, NDArray[Any]]
    guesses: tuple[Guess, ...]
    notes: tuple[str, ...]


class _Writer(NamedTuple):
    name: str
    convention: Convention
    guesses: tuple[Guess, ...]


def _writer(path: Path, columns: Mapping[str, NDArray[Any]]) -> _Writer:
    """Tell who wrote the table: ThunderSTORM quotes its titles and counts frames from 1."""
    with path.open("rb") as file:
        header = file.readline(1 << 16).decode("utf-8", errors="replace").strip()
    if _HEADER_OF_PICASSO.fullmatch(header):
        why = "its first line is Picasso's; 0 is a pixel's centre and the first frame there"
        return _Writer("of Picasso", _OF_PICASSO, (Guess("written by", "Picasso", why),))
    if '"' not in header and bool(np.any(columns["frame"] == 0)):
        why = "there is a frame 0, and ThunderSTORM, which counts from 1, would quote its titles"
        from_zero = dataclasses.replace(CONVENTION, first_frame=0)
        return _Writer("of another program", from_zero, (Guess("first frame", "0", why),))
    return _Writer("", CONVENTION, ())


def _in_nm_and_photons(
    columns: dict[str, NDArray[Any]],
    units: Mapping[str, str],
    geometry: Geometry,
    protocol: Protocol,
) -> _Converted:
    """Convert each column by the unit in its own title (a table may mix them)."""
    guesses: list[Guess] = []
    notes: list[str] = []
    for name in list(columns):
        unit = units[name]
        if name in _LENGTHS:
            if not unit:
                guesses.append(Guess(f"unit of {name.removesuffix('_nm')}", "nm", "it states none"))
            columns[name] = columns[name] * _length_nm(name, unit or "nm", geometry)
        elif name in _PHOTONS and unit == "ADU":
            factor = photons_per_adu(protocol)
            if factor is None:
                del columns[name]
                notes.append(
                    f"{name} is in A/D counts and no protocol says the camera: it was left out."
                )
                continue
            columns[name] = columns[name] * factor
            guesses.append(Guess(name, f"x {factor:g}", "A/D counts; camera of the protocol"))
    if "z_nm" in columns:
        guesses.append(
            Guess("z sign", "as in the file", "it is that of ThunderSTORM's own calibration")
        )
    return _Converted(columns, tuple(guesses), tuple(notes))


def _length_nm(name: str, unit: str, geometry: Geometry) -> float:
    if unit in _NM:
        return _NM[unit]
    if unit == "px" and not name.endswith("z_nm"):
        sizes = geometry.pixel_size_nm(f"because {name.removesuffix('_nm')} is in pixels")
        return sizes[1 if "y_nm" in name else 0]
    raise LocalizationsError(
        f"The unit {unit!r} of {name.removesuffix('_nm')} is not a length that is known.",
        hint="Known are nm, um and (but for z) px; correct the title of that column.",
    )


def _variant(units: Mapping[str, str]) -> str:
    version = "1.3 or earlier" if "uncertainty" in units else "current"
    return f"{version}, {'3D' if 'z' in units else '2D'}"


def _protocol_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-protocol.txt")


def _written(table: Localizations, context: ExportContext) -> dict[str, NDArray[Any]]:
    """Return the columns by ThunderSTORM's titles, in its order, ours behind."""
    ours = export_columns(table, CONVENTION, context.geometry)
    size_x, size_y = context.geometry.pixel_size_nm("for the width of the PSF in nm")
    n, is_3d = len(table), bool(np.isfinite(table.z_nm).any())
    columns: dict[str, NDArray[Any]] = {"frame": ours["frame"]}
    columns["x [nm]"], columns["y [nm]"] = ours["x_nm"], ours["y_nm"]
    if is_3d:
        columns["z [nm]"] = ours["z_nm"]
        columns["sigma1 [nm]"] = np.full(n, _PSF_WIDTH_PX * size_x)
        columns["sigma2 [nm]"] = np.full(n, _PSF_WIDTH_PX * size_y)
    else:
        columns["sigma [nm]"] = np.full(n, _PSF_WIDTH_PX * (size_x + size_y) / 2)
    columns["intensity [photon]"] = ours["photons"]
    columns["offset [photon]"] = ours["background"]
    columns["bkgstd [photon]"] = np.sqrt(np.maximum(ours["background"], 0.0))
    lateral = lateral_uncertainty(ours)
    if lateral is not None:
        columns["uncertainty_xy [nm]"] = lateral
    if "sigma_z_nm" in ours:
        columns["uncertainty_z [nm]"] = ours["sigma_z_nm"]
    columns.update({title: ours[name] for name, title in _EXTRA_TITLES.items() if name in ours})
    return columns


DIALECTS = (ThunderStorm(),)
