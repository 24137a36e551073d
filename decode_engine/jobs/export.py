"""Write localizations in another program's format."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from decode_engine.analysis.filtering import FilterSpec, lacking_words
from decode_engine.contract.configs import CameraConfig
from decode_engine.contract.jobs import ExportSpec
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError
from decode_engine.io.atomic import require_output
from decode_engine.io.cameras import read_camera_config
from decode_engine.io.dialects.base import ExportContext, ImportedTable, ReadOptions
from decode_engine.io.dialects.registry import export_remarks, read_table, write_table
from decode_engine.jobs.context import JobContext

__all__ = ["run"]


def run(spec: ExportSpec, context: JobContext) -> dict[str, Any]:
    """Write ``spec.localizations`` to ``spec.out``.

    Returns
    -------
    dict
        ``out``, ``outputs`` (all files written), ``format``, ``n_localizations`` (written),
        ``n_left_out`` (by the filters), ``columns`` and ``remarks`` (what the format cannot
        hold or was made up).
    """
    source, out = Path(spec.localizations), Path(spec.out)
    require_output(out, overwrite=spec.overwrite)
    context.stage("Reading localizations")
    options = ReadOptions(
        pixel_size_x_nm=spec.pixel_size_x_nm, pixel_size_y_nm=spec.pixel_size_y_nm
    )
    imported = read_table(source, options)
    _report_source(imported, source, context)
    context.check()
    table = _filtered(imported.table, spec, context)
    context.stage("Writing the table")
    about = _context(spec, imported, _calibration_path(spec, context))
    remarks = export_remarks(spec.format, table, about)
    files = write_table(spec.format, out, table, about, overwrite=spec.overwrite)
    for remark in remarks:
        context.log(remark)
    for file in files:
        context.artifact("table", str(file))
    return {
        "out": str(out),
        "outputs": [str(file) for file in files],
        "format": spec.format,
        "n_localizations": len(table),
        "n_left_out": len(imported.table) - len(table),
        "columns": list(table.columns()),
        "remarks": list(remarks),
    }


def _filtered(table: Localizations, spec: ExportSpec, context: JobContext) -> Localizations:
    if not spec.filters.ranges:
        return table
    context.stage("Filtering")
    filters = FilterSpec.from_config(spec.filters)
    if words := lacking_words(filters.lacking(table)):
        context.log(words, "warning")
    kept = table.take(filters.mask(table))
    if not len(kept):
        context.log("No localization passes the filters; the table is empty.", "warning")
    return kept


def _report_source(imported: ImportedTable, source: Path, context: JobContext) -> None:
    metadata = imported.metadata
    if source.is_dir() and metadata is not None:
        context.log(
            f"{source.name} is unfinished: {metadata.frames_done} of {metadata.n_frames} frames "
            "are in the table.",
            "warning",
        )
    if imported.dialect != "native":
        for text in (*map(str, imported.guesses), *imported.notes):
            context.log(f"{source.name}: {text}")
    for reason, count in imported.n_dropped.items():
        context.log(f"{count} rows of {source.name} were left out: {reason}.", "warning")


def _context(spec: ExportSpec, imported: ImportedTable, calibration_path: str) -> ExportContext:
    """Return what the writer may say: the result's own provenance, with the user's in front."""
    camera = _camera(spec, imported)
    geometry = imported.geometry
    if not geometry.has_pixel_size and camera is not None:
        geometry = dataclasses.replace(
            geometry,
            pixel_size_x_nm=camera.pixel_size_x_nm,
            pixel_size_y_nm=camera.pixel_size_y_nm or camera.pixel_size_x_nm,
        )
    if spec.roi_origin_px is not None:
        geometry = dataclasses.replace(geometry, roi_origin_px=spec.roi_origin_px)
    return ExportContext(
        metadata=imported.metadata,
        geometry=geometry,
        camera=camera,
        calibration_path=calibration_path,
    )


def _calibration_path(spec: ExportSpec, context: JobContext) -> str:
    """Return the whole path of the calibration, for SMAP looks from a folder of its own."""
    if not spec.calibration_file:
        return ""
    path = Path(spec.calibration_file)
    if path.suffix.lower() != ".mat":
        context.log(
            f"SMAP reads calibrations as .mat; {path.name} is named in the file all the same "
            "(convert-calibration writes one).",
            "warning",
        )
    if path.exists():
        return str(path.absolute())
    context.log(f"The calibration {path} is not there; its path is written as given.", "warning")
    return spec.calibration_file


def _camera(spec: ExportSpec, imported: ImportedTable) -> CameraConfig | None:
    if spec.camera is not None:
        config = read_camera_config(Path(spec.camera))
        if not isinstance(config, CameraConfig):  # a file of several cameras, for example
            raise ConfigError(f"{spec.camera} is not a camera file.", hint="Give a camera (.json).")
        return config
    return imported.camera_config()
