"""Read another program's table, say how it was understood, write it as our localization file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from decode_engine.contract.column_mapping import ColumnMapping
from decode_engine.contract.jobs import ImportSpec
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError, LocalizationsError
from decode_engine.io.atomic import require_output
from decode_engine.io.dialects.base import FileSample, ImportedTable, ReadOptions
from decode_engine.io.dialects.mapping import (
    is_table,
    read_mapping,
    suggest_mapping,
    write_mapping,
)
from decode_engine.io.dialects.registry import Recognised, read_table, recognise_all
from decode_engine.io.localizations import (
    LocalizationMetadata,
    software_versions,
    write_localizations,
)
from decode_engine.jobs.context import JobContext

__all__ = ["read_for", "run"]


def run(spec: ImportSpec, context: JobContext) -> dict[str, Any]:
    """Import ``spec.file``.

    Returns
    -------
    dict
        ``out`` (or None), ``format``, ``variant``, ``n_rows``, ``n_localizations``, ``guesses``,
        ``notes``, ``lines`` (sentences for a reader) and ``columns``.

    Raises
    ------
    EngineError
        If the file is no table that is known, or the pixel size is needed and unknown.
    """
    source = Path(spec.file)
    if spec.suggest_mapping is not None:
        return _suggest(source, Path(spec.suggest_mapping), spec.overwrite)
    if spec.out is None and not spec.explain:
        raise ConfigError(
            "The file to write is missing.", hint="Give --out RESULT.h5, or --explain to look only."
        )
    if spec.out is not None:
        require_output(Path(spec.out), overwrite=spec.overwrite)
    context.stage("Reading the table")
    imported = read_for(spec)
    context.check()
    for reason, count in imported.n_dropped.items():
        context.log(f"{count} rows were left out: {reason}.", "warning")
    if not len(imported.table):
        context.log(f"{source.name} holds no localizations.", "warning")
    if spec.out is not None:
        _write(Path(spec.out), source, imported, context, overwrite=spec.overwrite)
    return {
        "out": spec.out,
        "format": imported.dialect,
        "variant": imported.variant,
        "n_rows": imported.n_rows_file,
        "n_localizations": len(imported.table),
        "columns": list(imported.table.columns()),
        "guesses": [str(guess) for guess in imported.guesses],
        "notes": list(imported.notes),
        "lines": _lines(spec, imported),
    }


def _write(
    out: Path, source: Path, imported: ImportedTable, context: JobContext, *, overwrite: bool
) -> None:
    context.stage("Writing localizations")
    write_localizations(out, imported.table, _metadata(source, imported), overwrite=overwrite)
    context.artifact("localizations", str(out))


def read_for(spec: ImportSpec) -> ImportedTable:
    """Read the table that a specification names, with what the user says about it."""
    mapping = read_mapping(Path(spec.mapping)) if spec.mapping is not None else None
    options = ReadOptions(
        pixel_size_x_nm=spec.pixel_size_x_nm,
        pixel_size_y_nm=spec.pixel_size_y_nm,
        frame_size=spec.frame_size,
        mapping=mapping,
        keep_nan=spec.keep_nan,
    )
    name = "" if spec.format == "auto" else spec.format
    return read_table(Path(spec.file), options, name=name)


def _suggest(source: Path, out: Path, overwrite: bool) -> dict[str, Any]:
    layout = is_table(FileSample(source))
    if layout is None:
        raise LocalizationsError(
            f"{source} is not a table of numbers in text.", hint="Give a table (.csv, .txt)."
        )
    suggested: dict[str, str | int] = dict(suggest_mapping(layout.names))
    for number, name in enumerate(("frame", "x_nm", "y_nm"), start=1):
        suggested.setdefault(name, number)
    mapping = ColumnMapping(name=source.stem, columns=suggested)
    write_mapping(out, mapping, overwrite=overwrite)
    lines = [f"{ours} from {theirs!r}" for ours, theirs in suggested.items()]
    return {
        "out": str(out),
        "lines": [
            *lines,
            f"Check names, units, origin and first frame in {out}, then import with --mapping.",
        ],
    }


def _metadata(source: Path, imported: ImportedTable) -> LocalizationMetadata:
    """Return the provenance: the file's own where it carries ours, else what is known."""
    geometry = imported.geometry
    said = (
        *(f"guessed: {guess}" for guess in imported.guesses),
        *imported.notes,
        *(f"{n} rows were left out: {reason}" for reason, n in imported.n_dropped.items()),
    )
    changed: dict[str, Any] = {
        "pixel_size_x_nm": geometry.pixel_size_x_nm or 0.0,
        "pixel_size_y_nm": geometry.pixel_size_y_nm or 0.0,
        "width_px": geometry.width_px or 0,
        "height_px": geometry.height_px or 0,
    }
    if imported.metadata is not None:
        notes = (*imported.metadata.notes, *(n for n in said if n not in imported.metadata.notes))
        config = {**imported.metadata.config, "roi_origin_px": list(geometry.roi_origin_px)}
        if geometry.roi_origin_px == (0, 0):
            del config["roi_origin_px"]
        return dataclasses.replace(
            imported.metadata,
            notes=notes,
            config=MappingProxyType(config),
            **changed,
        )
    return _plain_metadata(source, imported, said, changed)


def _plain_metadata(
    source: Path, imported: ImportedTable, said: tuple[str, ...], known: dict[str, Any]
) -> LocalizationMetadata:
    table, geometry, camera = imported.table, imported.geometry, imported.camera_config()
    last = int(table.frame.max()) + 1 if len(table) else 0
    n_frames = max(geometry.n_frames or 0, last)
    config = {
        "imported_from": source.name,
        "format": imported.dialect,
        "variant": imported.variant,
        "roi_origin_px": list(geometry.roi_origin_px),
    }
    return LocalizationMetadata(
        **known,
        movie_frames=n_frames,
        frame_stop=n_frames,
        is_3d=bool(np.isfinite(table.z_nm).any()),
        method="import",
        camera=MappingProxyType({} if camera is None else camera.model_dump(mode="json")),
        config=MappingProxyType(config),
        versions=MappingProxyType(software_versions()),
        notes=said,
    )


def _lines(spec: ImportSpec, imported: ImportedTable) -> list[str]:
    """Say how the file was understood; with ``explain`` also why, and the ranges."""
    n, rows = len(imported.table), imported.n_rows_file
    variant = f" ({imported.variant})" if imported.variant else ""
    lines = [f"format: {imported.dialect}{variant}", f"rows: {rows}, localizations: {n}"]
    if spec.explain:
        lines += _reasons(spec)
        lines += _ranges(imported.table)
        geometry = imported.geometry
        if geometry.has_pixel_size:
            lines.append(
                f"pixel size: {geometry.pixel_size_x_nm:g} x {geometry.pixel_size_y_nm:g} nm"
            )
        if geometry.width_px and geometry.height_px:
            lines.append(f"frame: {geometry.width_px} x {geometry.height_px} px")
        if geometry.roi_origin_px != (0, 0):
            lines.append(f"frame's corner on the chip: {geometry.roi_origin_px} px")
        lines += [f"camera {key}: {value}" for key, value in imported.camera.items()]
    lines += [f"left out: {n} rows, {reason}" for reason, n in imported.n_dropped.items()]
    lines += [f"guessed {guess}" for guess in imported.guesses]
    lines += [f"note: {note}" for note in imported.notes]
    return lines


def _reasons(spec: ImportSpec) -> list[str]:
    if spec.format != "auto" or spec.mapping is not None:
        return ["recognised: not at all, you said what it is"]
    claims: list[Recognised] = recognise_all(Path(spec.file))
    lines = [f"recognised: {claims[0].match.why} ({claims[0].match.confidence} of 100)"]
    lines += [f"could also be: {c.dialect.name}, {c.match.why}" for c in claims[1:]]
    return lines


def _ranges(table: Localizations) -> list[str]:
    lines = []
    units = {spec.name: spec.unit for spec in table.specs()}
    for name, values in table.columns().items():
        finite = values[np.isfinite(values)]
        unit = f" {units[name]}" if units[name] not in ("", "frame") else ""
        if finite.size:
            lines.append(f"{name}: {finite.min():g} to {finite.max():g}{unit}")
        elif len(values):
            lines.append(f"{name}: unknown")
    return lines
