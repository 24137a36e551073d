"""Text for SMAP's importer, with the preset that makes it keep all columns; SMAP's own exports.

SMAP's importer knows a table by a preset (``settings/csvloaderconversion/*.txt``): lines
``field=column``, the pixel size in nm (under the name ``cam_pixelsize_um``) and a factor. Without
ours it throws most columns away and makes others up. It also stops at a preset whose first
field, in the order of ASCII, is no column of the table; so ``ID`` is always there. Columns are
ordered such that its guess without a preset is right as well.

Positions, frames and names are those of `decode_engine.io.dialects.smap_reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.localizations import Localizations
from decode_engine.io.atomic import atomic_path, require_output
from decode_engine.io.dialects.assembly import Source, assemble
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    Guess,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.convention import Geometry
from decode_engine.io.dialects.smap_reading import (
    MIRRORED_BACK,
    SMAP,
    SMAP_MIRRORED,
    SMAP_NAMES,
)
from decode_engine.io.dialects.smap_sml import is_mirrored, mirror_remarks, smap_columns
from decode_engine.io.dialects.text import (
    choose,
    has_names,
    layout_guesses,
    missing_column,
    read_columns,
    require_layout,
    unused,
)
from decode_engine.io.dialects.uncertainty import uncertainty_or_guess
from decode_engine.io.fixed_point import text_blocks

__all__ = ["DIALECTS", "SmapCsv"]

_ORDER = (
    "frame", "xnm", "ynm", "znm", "phot", "bg", "locprecnm", "locprecznm", "xnmerr", "ynmerr",
    "phot_err", "bg_err", "prob", "LLrel", "logLikelihood", "iterations", "flags", "track_id",
)  # fmt: skip
_DECIMALS = {"prob": 6, "LLrel": 6}
_NM_DECIMALS = 4
_PRESET = "-csv_decode_desktop.txt"
_ORIGIN_KEY = "decode_desktop_region_px"
_MIRROR_KEY = "decode_desktop_mirrored_width_px"
_PIXEL_KEY = "cam_pixelsize_um"
# What SMAP calls columns when a site is exported by way of a MATLAB table.
_SHORT: Mapping[str, tuple[str, ...]] = {
    "x_nm": ("xnm", "x"),
    "y_nm": ("ynm", "y"),
    "z_nm": ("znm", "z"),
    "sigma_x_nm": (*SMAP_NAMES["sigma_x_nm"], "locprec"),
    "sigma_y_nm": (*SMAP_NAMES["sigma_y_nm"], "locprec"),
    "sigma_z_nm": (*SMAP_NAMES["sigma_z_nm"], "locprecz"),
}
_NAMES = {**SMAP_NAMES, **_SHORT}
_DERIVED = ("ID", "locprecnm", "locprecznm", "LLrel", "channel", "filenumber", "layer")


class SmapCsv:
    """``ID,frame,xnm,ynm,znm,phot,bg,locprecnm,...``."""

    name = "smap-csv"
    title = "SMAP table (CSV)"
    words = "Text for SMAP's importer, with its preset; smap-sml is the better way into SMAP."
    suffix = ".csv"
    can_read = True
    can_write = True
    needs_pixel_size = True

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim tables with SMAP's names."""
        if has_names(sample, ("frame",), ("xnm",), ("ynm",)) is not None:
            return Match(confidence=92, variant="exported", why="its columns are xnm and ynm")
        if has_names(sample, ("frame",), ("x",), ("y",), ("locprec",), ("phot",)) is not None:
            why = "its columns are x, y, phot and locprec"
            return Match(confidence=85, variant="short names", why=why)
        return None

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read a table; the pixel size comes from our preset beside it, or from the user."""
        layout = require_layout(path, "frame,xnm,ynm,znm,phot,bg,locprecnm")
        chosen = choose(layout, _NAMES)
        for name in ("frame", "x_nm", "y_nm"):
            if name not in chosen:
                raise missing_column(layout, name, _NAMES[name])
        is_short = layout.names[chosen["x_nm"]] == "x"
        geometry = _geometry_beside(path)
        mirrored = geometry.width_px is not None  # the preset tells the width only then
        guesses = list(layout_guesses(layout))
        if geometry.has_pixel_size:
            size = f"{geometry.pixel_size_x_nm:g} x {geometry.pixel_size_y_nm:g} nm"
            guesses.append(Guess("pixel size", size, "the importer preset beside the table"))
        if is_short:
            guesses.append(Guess("unit of x, y, z", "nm", "SMAP exports nm; the table has no unit"))
        if chosen.get("sigma_x_nm", -1) == chosen.get("sigma_y_nm", -2):
            one = layout.names[chosen["sigma_x_nm"]]
            why = "the table has one uncertainty for both"
            guesses.append(Guess("sigma_x_nm, sigma_y_nm", one, why))
        source = Source(
            dialect=self.name,
            variant="short names" if is_short else "exported",
            geometry=geometry,
            guesses=tuple(guesses),
            notes=(MIRRORED_BACK,) if mirrored else (),
            unused=[name for name in unused(layout, chosen) if name not in _DERIVED],
            n_header_lines=layout.n_header_lines,
        )
        convention = SMAP_MIRRORED if mirrored else SMAP
        return assemble(read_columns(layout, chosen), convention, options, source)

    def remarks(self, table: Localizations, context: ExportContext) -> tuple[str, ...]:
        """Say how SMAP is told about the columns, and what is made up."""
        said = [
            *mirror_remarks(context),
            f"Copy the file …{_PRESET} into SMAP's folder settings/csvloaderconversion once, "
            "and choose it as import; otherwise SMAP throws most columns away.",
        ]
        if not uncertainty_or_guess(table.columns())[1]:
            said.append(
                "The table has no uncertainties; locprecnm is 150 nm divided by the root of the "
                "photons, as SMAP's own importer assumes."
            )
        return tuple(said)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Write the table and the preset for SMAP's importer."""
        found = smap_columns(table, context.geometry, mirrored=is_mirrored(context))
        columns: dict[str, NDArray[Any]] = {"ID": np.arange(1, len(table) + 1)}
        columns |= {name: found[name] for name in _ORDER if name in found}
        for name in ("frame", "iterations", "flags", "track_id"):
            if name in columns:
                columns[name] = columns[name].astype(np.int64)
        decimals = {name: _DECIMALS.get(name, _NM_DECIMALS) for name in columns}
        preset = _preset_path(path)
        require_output(preset, overwrite=overwrite)
        with atomic_path(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
            file.write((",".join(columns) + "\n").encode("ascii"))
            file.writelines(text_blocks(columns, decimals))
        with atomic_path(preset, overwrite=overwrite) as temporary:
            temporary.write_text(_preset_text(context), encoding="ascii", newline="\n")
        return path, preset


def _preset_path(path: Path) -> Path:
    return path.with_name(path.stem + _PRESET)


def _preset_text(context: ExportContext) -> str:
    """Return a preset with all columns that our tables may have; SMAP skips those missing."""
    geometry = context.geometry
    x_nm, y_nm = geometry.pixel_size_nm("because SMAP keeps it")
    x_px, y_px = geometry.roi_origin_px
    lines = [f"{name}={name}" for name in ("ID", *_ORDER)]
    # SMAP reads numbers here; a field that is no column does not disturb it.
    if is_mirrored(context):
        lines.append(f"{_MIRROR_KEY}={geometry.width_px}")
    lines += [f"{_ORIGIN_KEY}={x_px} {y_px}", f"{_PIXEL_KEY}={x_nm:.10g} {y_nm:.10g}", "factor=1"]
    return "\n".join(lines) + "\n"


def _geometry_beside(path: Path) -> Geometry:
    """Return what our preset beside the table says about pixels."""
    preset = _preset_path(path)
    if not preset.is_file():
        return Geometry()
    lines = preset.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = dict(line.split("=", 1) for line in lines if "=" in line)
    try:
        sizes = [float(text) for text in entries.get(_PIXEL_KEY, "").split()]
        origin = [int(text) for text in entries.get(_ORIGIN_KEY, "0 0").split()]
        width = int(entries[_MIRROR_KEY]) if _MIRROR_KEY in entries else None
    except ValueError:
        return Geometry()
    if not sizes or not all(np.isfinite(sizes)) or min(sizes) <= 0 or len(origin) != 2:
        return Geometry()
    return Geometry(
        pixel_size_x_nm=sizes[0],
        pixel_size_y_nm=sizes[-1],
        width_px=width,
        roi_origin_px=(origin[0], origin[1]),
    )


DIALECTS = (SmapCsv(),)
