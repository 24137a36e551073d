"""SMAP's own file, ``*_sml.mat``: what a double click in SMAP opens, with camera and provenance.

``saveloc.loc`` holds one column a quantity: ``xnm = (column + 1 + roi_x) * pixel size``, rows
likewise, frames from 1, z with our sign; ``locprecnm = sqrt((sx² + sy²) / 2)``, ``LLrel =
probability - 1`` (what SMAP itself makes of DECODE's results), ``xpix``, ``ypix`` count from 1
inside the frame. ``saveloc.file.info`` holds the camera, ``saveloc.file.savefit`` the place where
SMAP's DECODE plug-in looks for the bead calibration, ``saveloc.history`` what was done. The
variable ``decode_desktop`` beside them keeps our provenance; SMAP ignores it.

Of movies from an EM register SMAP turns the frames over, and so do we with x where the camera
says that its frames are mirrored (``EMmirror``).

SMAP removes rows when it opens a file: those whose ``locprecnm`` is above 250 nm or missing.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import EngineError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.dialects.assembly import export_columns
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.convention import Geometry
from decode_engine.io.dialects.smap_reading import (
    EXTRA_VARIABLE,
    SMAP,
    SMAP_MIRRORED,
    read_sml,
)
from decode_engine.io.dialects.uncertainty import uncertainty_or_guess
from decode_engine.io.matlab import variable_names
from decode_engine.io.matlab_writing import Cell, matlab_bytes, write_mat7, write_mat73

__all__ = ["DIALECTS", "SmapSml", "is_mirrored", "mirror_remarks", "smap_columns"]

_V7_BYTES = 2_000_000_000  # MATLAB's limit for a variable is 2^31 bytes
_LARGEST_LOCPREC_NM = 250.0
_SPLIT_PART = "_p"


class SmapSml:
    """``*_sml.mat``, versions 7 and 7.3, whole or in parts."""

    name = "smap-sml"
    title = "SMAP file"
    words = "SMAP's own file with camera and provenance; a double click in SMAP opens it."
    suffix = "_sml.mat"
    can_read = True
    can_write = True
    needs_pixel_size = True

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim MATLAB files with ``saveloc``, or the parts of one."""
        if sample.kind not in ("matlab", "hdf5"):
            return None
        if sample.kind == "hdf5" and sample.path.suffix.lower() != ".mat":
            return None
        try:
            names = set(variable_names(sample.path))
        except EngineError:
            return None
        if "saveloc" in names:
            return Match(confidence=95, variant="whole", why="it has the variable saveloc")
        if {"lds", "partnames"} <= names:
            return Match(confidence=95, variant="in parts", why="it has lds and partnames")
        if "ltemp" in names and _SPLIT_PART in sample.path.stem:
            return Match(
                confidence=90, variant="in parts", why="it is a part (ltemp) of a SMAP file"
            )
        return None

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read the localizations of all movies that the file joins."""
        return read_sml(path, options)

    def remarks(self, table: Localizations, context: ExportContext) -> tuple[str, ...]:
        """Say which rows SMAP will remove and which values are made up."""
        said = list(mirror_remarks(context))
        found, is_known = uncertainty_or_guess(table.columns())
        if not is_known:
            said.append(
                "The table has no uncertainties; locprecnm is 150 nm divided by the root of the "
                "photons, as SMAP's own importer assumes."
            )
        n_wide = int(np.count_nonzero(~(found <= _LARGEST_LOCPREC_NM)))
        if n_wide:
            said.append(
                f"SMAP will remove {n_wide} of {len(table)} rows when it opens the file: their "
                "uncertainty (locprecnm) is above 250 nm or missing."
            )
        return tuple(said)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Write version 7, or 7.3 where the table is too large for it."""
        tree = _tree(path, table, context)
        large = matlab_bytes(tree["saveloc"]) > _V7_BYTES
        with atomic_path(path, overwrite=overwrite) as temporary:
            (write_mat73 if large else write_mat7)(temporary, tree)
        return (path,)


def is_mirrored(context: ExportContext) -> bool:
    """Whether SMAP would turn the frames of this movie over, and x can be turned likewise."""
    return _has_mirrored_frames(context) and context.geometry.width_px is not None


def mirror_remarks(context: ExportContext) -> tuple[str, ...]:
    """Say what happens to x where the frames of the movie are mirrored."""
    if not _has_mirrored_frames(context):
        return ()
    if is_mirrored(context):
        return (
            "The movie's frames are mirrored (EM read-out). SMAP turns such frames over, so x is "
            "turned over too.",
        )
    return (
        "The camera says that frames are mirrored (EM read-out), but the table does not say how "
        "wide they are: x stays as on the recorded frames, not turned over as SMAP has it.",
    )


def _has_mirrored_frames(context: ExportContext) -> bool:
    camera = context.camera
    return camera is not None and camera.kind == "emccd" and camera.em_mirrored


def smap_columns(
    table: Localizations, geometry: Geometry, *, mirrored: bool
) -> dict[str, NDArray[Any]]:
    """Return the columns of a table under SMAP's names and with SMAP's values.

    Columns that the table does not have (z in two dimensions) are not there.
    """
    columns = export_columns(table, SMAP_MIRRORED if mirrored else SMAP, geometry)
    lateral, _ = uncertainty_or_guess(table.columns())
    found: dict[str, Any] = {
        "frame": columns["frame"],
        "xnm": columns["x_nm"],
        "ynm": columns["y_nm"],
        "znm": columns["z_nm"] if _has_numbers(table.z_nm) else None,
        "phot": columns["photons"],
        "bg": columns["background"],
        "locprecnm": lateral,
        "locprecznm": columns.get("sigma_z_nm"),
        "xnmerr": columns.get("sigma_x_nm"),
        "ynmerr": columns.get("sigma_y_nm"),
        "phot_err": columns.get("sigma_photons"),
        "bg_err": columns.get("sigma_background"),
        "prob": columns.get("probability"),
        "LLrel": None,
        "logLikelihood": columns.get("log_likelihood"),
        "iterations": columns.get("iterations"),
        "flags": columns.get("flags"),
        "track_id": columns.get("track_id"),
    }
    if table.probability is not None:
        found["LLrel"] = columns["probability"] - np.float32(1.0)
    return {name: values for name, values in found.items() if values is not None}


def _has_numbers(values: NDArray[Any]) -> bool:
    return not values.size or bool(np.isfinite(values).any())


def _as_stored(values: NDArray[Any]) -> NDArray[Any]:
    """Return single, as SMAP's own files; whole numbers (frames, flags, tracks) need double."""
    return values.astype(np.float64 if values.dtype.kind in "iu" else np.float32)


def _tree(path: Path, table: Localizations, context: ExportContext) -> dict[str, Any]:
    geometry = _complete(table, context.geometry)
    pixel_x, pixel_y = geometry.pixel_size_nm("because SMAP counts from one pixel beside ours")
    found = smap_columns(table, geometry, mirrored=is_mirrored(context))
    loc = {name: _as_stored(values) for name, values in found.items()}
    # Pixels inside the frame, from 1: what SMAP uses to go back to the raw images.
    for name, positions, pixel_nm, start in zip(
        ("xpix", "ypix"), ("xnm", "ynm"), (pixel_x, pixel_y), geometry.roi_origin_px, strict=True
    ):
        loc[name] = (found[positions] / pixel_nm - start).astype(np.float32)
    loc["filenumber"] = np.ones(len(table), np.float32)
    loc["channel"] = np.zeros(len(table), np.float32)
    _, is_known = uncertainty_or_guess(table.columns())
    about = _provenance(context, geometry, [] if is_known else ["locprecnm"])
    fit = _fit_parameters(context, about)
    empty = np.zeros((0, 0))
    file = {
        "info": _info(context, geometry),
        "average": empty,
        "name": str(path.absolute()),
        "number": 1.0,
        "numberOfTif": 0.0,
        "tif": {"image": empty, "info": empty},
        "raw": {"image": empty, "frame": empty},
        "savefit": {"fitparameters": fit},
        "imagetags": empty,
    }
    history = {"name": "Decode Desktop", "classname": "decode_desktop", "children": {}}
    saveloc = {
        "loc": loc,
        "file": file,
        "history": Cell([{**history, "provenance": about}]),
        "fitparameters": fit,
    }
    return {
        "saveloc": saveloc,
        "fileformat": {"name": "sml"},
        "parameters": empty,
        EXTRA_VARIABLE: about,
    }


def _fit_parameters(context: ExportContext, about: str) -> dict[str, Any]:
    """Return the settings under the name of SMAP's own fitter, where its plug-ins look for them."""
    metadata = context.metadata
    factor = 1.0 if metadata is None else float(metadata.refractive_index_factor)
    return {
        "MLE_GPU_Yiming": {
            "cal_3Dfile": context.calibration_path,
            "userefractive_index_mismatch": float(factor != 1.0),
            "refractive_index_mismatch": factor,
        },
        "decode_desktop": {"provenance": about},
    }


def _complete(table: Localizations, geometry: Geometry) -> Geometry:
    """Fill in the frame's size and length, which SMAP cannot do without, from the rows."""
    size_x, size_y = geometry.pixel_size_nm("because SMAP counts from one pixel beside ours")

    def extent(values: NDArray[Any], pixel_nm: float) -> int:
        finite = values[np.isfinite(values)]
        return int(np.ceil(finite.max(initial=0.0) / pixel_nm)) + 1

    last = int(table.frame.max(initial=0))
    return dataclasses.replace(
        geometry,
        width_px=geometry.width_px or extent(table.x_nm, size_x),
        height_px=geometry.height_px or extent(table.y_nm, size_y),
        n_frames=geometry.n_frames or last + 1,
    )


def _provenance(context: ExportContext, geometry: Geometry, made_up: list[str]) -> str:
    metadata = context.metadata
    content = {
        "format_version": 1,
        "roi_origin_px": geometry.roi_origin_px,
        "made_up": made_up,
        "versions": dict(context.versions),
        "metadata": None if metadata is None else json.loads(metadata.to_json()),
    }
    return json.dumps(content)


def _info(context: ExportContext, geometry: Geometry) -> dict[str, Any]:
    """Return ``file.info``; what is unknown has SMAP's neutral value and ``assigned`` false."""
    pixel_x, pixel_y = geometry.pixel_size_nm("because SMAP keeps it")
    x_px, y_px = geometry.roi_origin_px
    width, height = geometry.width_px or 0, geometry.height_px or 0
    paths = context.metadata.movie_paths if context.metadata is not None else ()
    movie = paths[0] if paths else ""
    known = {
        "Width": float(width),
        "Height": float(height),
        "roi": np.array([[x_px, y_px, width, height]], np.float64),
        "cam_pixelsize_um": np.array([[pixel_x / 1e3, pixel_y / 1e3]]),
        "numberOfFrames": float(geometry.n_frames or 0),
        "imagefile": movie,
        "basefile": movie,
        **_camera(context),
    }
    neutral = {
        "EMon": False, "EMmirror": False, "emgain": 1.0, "conversion": 1.0, "offset": 0.0,
        "pix2phot": 1.0, "exposure": 1.0, "timediff": 1.0, "comment": "", "correctionfile": "none",
        "imagemetadata": "",
    }  # fmt: skip
    empty = np.zeros((0, 0))
    version = context.versions.get("decode-desktop", "")
    tags = ["Format", "Decode Desktop version", "Decode Desktop", version]
    info = {**neutral, **known, "camerainfo": empty, "allmetadata": Cell(tags, (2, 2))}
    info["assigned"] = {name: name in known for name in info}
    return info


def _camera(context: ExportContext) -> dict[str, Any]:
    """Return what SMAP knows of a camera; a per-pixel map is not a number and stays unassigned."""
    camera = context.camera
    if camera is None:
        return {}
    has_em = camera.kind == "emccd"
    found: dict[str, Any] = {
        "EMon": has_em,
        "EMmirror": is_mirrored(context),
        "emgain": float(camera.em_gain),
        "comment": camera.name or f"{camera.kind} camera",
    }
    if isinstance(camera.offset_adu, int | float):
        found["offset"] = float(camera.offset_adu)
    if isinstance(camera.e_per_adu, int | float):
        found["conversion"] = camera.e_per_adu
        found["pix2phot"] = camera.e_per_adu / (camera.em_gain if has_em else 1.0)
    return found


DIALECTS = (SmapSml(),)
