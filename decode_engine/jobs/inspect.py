"""Say what a file is: movie, calibration, camera, model, localizations or truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from decode_engine.contract.jobs import InspectSpec
from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.errors import InputError, LocalizationsError
from decode_engine.io.calibrations import (
    describe_calibration,
    is_calibration_file,
    read_calibration,
)
from decode_engine.io.cameras import read_camera
from decode_engine.io.dialects.registry import Recognised, read_table, recognise
from decode_engine.io.filetypes import FileType, describe_file_type, file_type
from decode_engine.io.localizations import (
    LocalizationMetadata,
    is_ours,
    is_partial_result,
    read_localization_metadata,
    read_localizations,
)
from decode_engine.io.models import read_model
from decode_engine.io.movies import FrameSource, open_movie
from decode_engine.io.tables import read_emitters_csv, read_header, read_localizations_csv
from decode_engine.jobs.context import JobContext

__all__ = ["run"]

Facts = dict[str, Any]
_KINDS_OF_TABLES = ("text", "hdf5", "matlab", "spreadsheet", "unknown")  # what other programs write


def run(spec: InspectSpec, context: JobContext) -> Facts:
    """Describe ``spec.file``.

    Returns
    -------
    dict
        ``kind`` ("movie", "calibration", "camera", "model", "localizations", "emitters"),
        ``path``, ``lines`` (sentences for a reader) and facts by name, with units in the names.

    Raises
    ------
    InputError
        If the file does not exist or is none of these.
    """
    path = Path(spec.file)
    if not path.exists():
        raise InputError(f"{path} does not exist.", hint="Check the name.")
    context.stage("Reading")
    facts = _describer(path)(path)
    context.check()
    return {"path": str(path), **facts}


def _describer(path: Path) -> Callable[[Path], Facts]:
    kind = file_type(path)
    if kind == "folder":
        return _localizations if is_partial_result(path) else _movie
    if kind == "hdf5" and _is_ours(path):
        return _localizations
    if kind in _KINDS_OF_TABLES and _claim(path) is not None:
        return _foreign_table
    if kind == "hdf5":
        return _calibration
    if kind == "empty":
        raise InputError(
            f"{path} is empty (0 bytes).", hint="Copy the file again, or make it again."
        )
    known: Mapping[FileType, Callable[[Path], Facts]] = {
        "matlab": _calibration,
        "zip": _model,
        "json": _camera,
        "tiff": _movie,
        "raw": _movie,
        "npy": _movie,
        "microscope": _movie,
    }
    if kind == "text":
        return _table
    if kind in known:
        return known[kind]
    raise InputError(
        f"{path} is {describe_file_type(path)}; this program cannot use it.",
        hint="It reads movies, calibrations, cameras, models and tables of localizations.",
    )


def _claim(path: Path) -> Recognised | None:
    """Return which program's table it is; our own CSV has a description of its own."""
    claim = recognise(path)
    return None if claim is None or claim.dialect.name == "csv" else claim


def _foreign_table(path: Path) -> Facts:
    claim = _claim(path)
    assert claim is not None
    title = f"{claim.dialect.title}, to be imported: {claim.match.why}"
    try:
        found = read_table(path)
    except LocalizationsError as error:
        facts: Facts = {"kind": "localizations", "n_rows": None, "columns": []}
        lines = [title, f"note: {error.message} {error.hint}"]
    else:
        facts = _table_facts(found.table, "localizations")
        lines = [title, f"{found.n_rows_file} rows", *_range_lines(found.table)]
        lines += [f"guessed {guess}" for guess in found.guesses]
        lines += [f"note: {note}" for note in found.notes]
        lines += [f"note: {n} rows left out, {reason}" for reason, n in found.n_dropped.items()]
    return {**facts, "format": claim.dialect.name, "lines": lines}


def _is_ours(path: Path) -> bool:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return is_ours(file)
    except OSError as error:
        raise InputError(
            f"{path} is an HDF5 file that cannot be opened.",
            hint="It is cut off or damaged; copy it again or make it again.",
            detail=str(error),
        ) from error


def _movie(path: Path) -> Facts:
    with open_movie(path) as movie:
        return {**_movie_facts(movie), "lines": _movie_lines(movie)}


def _movie_facts(movie: FrameSource) -> Facts:
    m = movie.metadata
    return {
        "kind": "movie",
        "format": m.kind,
        "n_frames": movie.n_frames,
        "width_px": movie.width_px,
        "height_px": movie.height_px,
        "dtype": movie.dtype.name,
        "pixel_size_x_nm": m.pixel_size_x_nm,
        "pixel_size_y_nm": m.pixel_size_y_nm,
        "exposure_ms": m.exposure_ms,
        "frame_interval_ms": m.frame_interval_ms,
        "camera": m.camera,
        "fingerprint": movie.fingerprint(),
        "warnings": list(m.warnings),
    }


def _movie_lines(movie: FrameSource) -> list[str]:
    m = movie.metadata
    first = movie.read(0, 1)
    lines = [
        f"movie ({m.kind}): {_counted(movie.n_frames, 'frame')} of {movie.width_px} x "
        f"{movie.height_px} pixels, {movie.dtype.name}",
        f"first frame: darkest {first.min():g}, median {np.median(first):g}, brightest "
        f"{first.max():g} ADU",
    ]
    if m.pixel_size_x_nm is None:
        lines.append("pixel size: not stated; give the one of your microscope")
    else:
        lines.append(f"pixel size: {m.pixel_size_x_nm:g} x {m.pixel_size_y_nm:g} nm")
    if m.exposure_ms is not None:
        lines.append(f"exposure: {m.exposure_ms:g} ms")
    if m.frame_interval_ms is not None:
        lines.append(f"time between frames: {m.frame_interval_ms:g} ms")
    if m.camera:
        lines.append(f"camera: {m.camera}")
    if m.roi_origin_px is not None:
        lines.append(f"first pixel on the chip: column {m.roi_origin_px[0]}, row "
                     f"{m.roi_origin_px[1]}")  # fmt: skip
    if m.software or m.acquired:
        lines.append(f"recorded: {', '.join(t for t in (m.acquired, m.software) if t)}")
    return lines + [f"note: {warning}" for warning in m.warnings]


def _counted(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _calibration(path: Path) -> Facts:
    if file_type(path) == "hdf5" and not is_calibration_file(path):
        raise InputError(
            f"{path} is an HDF5 file, but neither localizations nor a calibration.",
            hint="It may be the result of another program; export it from there as CSV.",
        )
    report = describe_calibration(path)
    if len(report.entries) == 1 and report.entries[0].shape is not None:
        read_calibration(path)  # a spline with NaN must not pass for a good one
    ranges = [entry.z_range_nm for entry in report.entries if entry.z_range_nm is not None]
    return {
        "kind": "calibration",
        "format": report.variant,
        "n_regions": report.n_regions,
        "n_channels": report.n_channels,
        "pixel_size_x_nm": report.pixel_size_x_nm,
        "pixel_size_y_nm": report.pixel_size_y_nm,
        "z_range_nm": [float(z) for z in ranges[0]] if ranges else [],
        "dz_nm": report.entries[0].dz_nm if report.entries else None,
        "warnings": list(report.notes),
        "lines": report.lines(),
    }


def _camera(path: Path) -> Facts:
    camera = read_camera(path)
    return {
        "kind": "camera",
        "format": camera.kind,
        "name": camera.name,
        "pixel_size_x_nm": camera.pixel_size_x_nm,
        "pixel_size_y_nm": camera.pixel_size_y_nm,
        "offset_adu": float(np.mean(camera.offset_adu)),
        "e_per_adu": float(np.mean(camera.e_per_adu)),
        "em_gain": camera.em_gain,
        "read_noise_e": float(np.mean(camera.read_noise_e)),
        "quantum_efficiency": camera.quantum_efficiency,
        "map_shape": [float(n) for n in camera.map_shape or ()],
        "lines": [f"camera file: {camera.name or 'no name'}", *_camera_lines(camera)],
    }


def _camera_lines(camera: CameraModel) -> list[str]:
    maps = "" if camera.map_shape is None else (
        f", per-pixel maps of {camera.map_shape[1]} x {camera.map_shape[0]} pixels (means shown)"
    )  # fmt: skip
    gain = f", EM gain {camera.em_gain:g}" if camera.kind == "emccd" else ""
    return [
        f"camera: {camera.kind}{gain}, offset {np.mean(camera.offset_adu):.4g} ADU, "
        f"{np.mean(camera.e_per_adu):.4g} e-/ADU, read noise "
        f"{np.mean(camera.read_noise_e):.3g} e-, quantum efficiency "
        f"{camera.quantum_efficiency:g}{maps}",
        f"pixel size: {camera.pixel_size_x_nm:g} x {camera.pixel_size_y_nm:g} nm",
    ]


def _model(path: Path) -> Facts:
    bundle = read_model(path)
    n_parameters = sum(values.size for values in bundle.weights.values())
    z_low, z_high = bundle.calibration.z_range_nm
    config, record = bundle.training_config, bundle.training_record
    options = ", ".join(f"{k}={v}" for k, v in bundle.network_options.items())
    lines = [
        f"model: network {bundle.network}{f' ({options})' if options else ''}, "
        f"{n_parameters / 1e6:.2f} million parameters, {config.context_frames} frame(s) at once",
        f"calibrated z range: {z_low:g} to {z_high:g} nm",
        *_camera_lines(bundle.camera),
    ]
    lines += [f"training: {key} {value:g}" for key, value in _numbers(record).items()]
    return {
        "kind": "model",
        "format": "model bundle",
        "model_id": bundle.model_id,
        "network": bundle.network,
        "n_parameters": n_parameters,
        "context_frames": config.context_frames,
        "pixel_size_x_nm": bundle.camera.pixel_size_x_nm,
        "pixel_size_y_nm": bundle.camera.pixel_size_y_nm,
        "z_range_nm": [z_low, z_high],
        "calibration_id": _calibration_id(bundle.calibration),
        "lines": lines,
    }


def _calibration_id(calibration: Calibration) -> str:
    return calibration.fingerprint()


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the plain numbers of a training record (steps, time, scores)."""
    return {
        key: float(value)
        for key, value in record.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _localizations(path: Path) -> Facts:
    metadata = read_localization_metadata(path)
    table = read_localizations(path)
    state = "finished" if metadata.complete else (
        f"unfinished, {metadata.frames_done} of {metadata.n_frames} frames done"
    )  # fmt: skip
    return {
        **_table_facts(table, "localizations"),
        "format": "HDF5",
        "complete": metadata.complete,
        "frames_done": metadata.frames_done,
        "movie_paths": list(metadata.movie_paths),
        "model_id": metadata.model_id,
        "pixel_size_x_nm": metadata.pixel_size_x_nm,
        "pixel_size_y_nm": metadata.pixel_size_y_nm,
        "warnings": list(metadata.notes),
        "lines": [
            f"localizations ({state}): {len(table)} in {metadata.n_frames} frames",
            *_range_lines(table),
            *_provenance_lines(metadata),
        ],
    }


def _provenance_lines(metadata: LocalizationMetadata) -> list[str]:
    lines = [
        f"frame of {metadata.width_px} x {metadata.height_px} pixels of "
        f"{metadata.pixel_size_x_nm:g} x {metadata.pixel_size_y_nm:g} nm"
    ]
    if metadata.movie_paths:
        lines.append(f"movie: {', '.join(metadata.movie_paths)}")
    made = [metadata.method, metadata.device, metadata.created]
    if any(made):
        lines.append(f"made by: {', '.join(text for text in made if text)}")
    if metadata.model_id:
        lines.append(f"model: {metadata.model_id[:16]}")
    return lines + [f"note: {note}" for note in metadata.notes]


def _table(path: Path) -> Facts:
    """Describe a CSV table; sigmas or probabilities mark estimates, their absence truth."""
    header, _ = read_header(path)
    required = [spec.name for spec in Emitters.specs() if spec.required]
    if not any(name in header for name in required[1:]):
        raise InputError(
            f"{path} is a text file without the columns of a table of localizations; its first "
            f"line reads {', '.join(header)[:80]!r}.",
            hint=f"Ours has the columns {', '.join(required)}; tables of unknown programs are read "
            "by a column mapping: decode-engine import FILE --suggest-mapping MAP.json.",
        )
    estimates = {s.name for s in Localizations.specs()} - {s.name for s in Emitters.specs()}
    table: Emitters | Localizations
    if estimates.intersection(header):
        table, kind, word = read_localizations_csv(path), "localizations", "localizations"
    else:
        table, kind, word = read_emitters_csv(path), "emitters", "true emitters"
    known = {spec.name for spec in type(table).specs()}
    unknown = [name for name in header if name not in known]
    note = [f"note: columns that are not used: {', '.join(unknown)}"] if unknown else []
    return {
        **_table_facts(table, kind),
        "format": "CSV",
        "lines": [f"table of {word} (CSV): {len(table)} rows", *_range_lines(table), *note],
    }


def _table_facts(table: Emitters | Localizations, kind: str) -> Facts:
    empty = len(table) == 0
    return {
        "kind": kind,
        "n_rows": len(table),
        "columns": list(table.columns()),
        "first_frame": None if empty else int(table.frame.min()),
        "last_frame": None if empty else int(table.frame.max()),
    }


def _range_lines(table: Emitters | Localizations) -> list[str]:
    lines = [f"columns: {', '.join(table.columns())}"]
    if len(table) == 0:
        return lines
    lines.append(f"frames {int(table.frame.min())} to {int(table.frame.max())}")
    for name in ("x_nm", "y_nm", "z_nm", "photons"):
        values = getattr(table, name)
        finite = values[np.isfinite(values)]
        if finite.size:
            lines.append(
                f"{name}: {finite.min():.6g} to {finite.max():.6g}, median {np.median(finite):.6g}"
            )
        else:
            lines.append(f"{name}: not estimated")
    return lines
