"""Read another program's cameras, or per-pixel maps, into files of this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from decode_engine.contract.jobs import ImportCamerasSpec
from decode_engine.domain.camera import CameraModel, PixelMap
from decode_engine.errors import CameraError, ConfigError
from decode_engine.io.atomic import require_output
from decode_engine.io.camera_database import save_preset
from decode_engine.io.camera_import_picasso import read_picasso_cameras
from decode_engine.io.camera_import_smap import CameraImport, read_smap_cameras
from decode_engine.io.camera_maps import read_camera_maps
from decode_engine.io.cameras import write_camera
from decode_engine.io.matlab import is_matlab_file, variable_names
from decode_engine.jobs.context import JobContext

__all__ = ["run"]


def run(spec: ImportCamerasSpec, context: JobContext) -> dict[str, Any]:
    """Import ``spec.file`` to ``spec.out``.

    Returns
    -------
    dict
        ``kind`` ("smap", "picasso" or "maps"), ``out``, ``cameras`` (names), ``outputs`` (files)
        and ``notes`` (what was assumed and left out).
    """
    source = Path(spec.file)
    if not source.is_file():
        what = "is a folder" if source.is_dir() else "does not exist"
        raise CameraError(f"The file {source} {what}.", hint="Give the file to import.")
    context.stage("Reading cameras")
    if source.suffix.lower() in (".yaml", ".yml"):
        return _save("picasso", read_picasso_cameras(source), spec, context)
    if is_matlab_file(source) and "cameras" in variable_names(source):
        return _save("smap", read_smap_cameras(source), spec, context)
    return _import_maps(source, spec, context)


def _save(
    kind: str, found: CameraImport, spec: ImportCamerasSpec, context: JobContext
) -> dict[str, Any]:
    folder = Path(spec.out)
    if folder.is_file() or folder.suffix.lower() == ".json":
        raise ConfigError(
            f"{folder} is the name of a file, but {len(found.presets)} cameras need a folder.",
            hint="Give a folder; the program's own is 'cameras' beside its settings.",
        )
    if not found.presets:
        raise CameraError(
            f"{Path(spec.file).name} has no camera that can be read: {' '.join(found.notes)}",
            hint="Make sure that it is the right file.",
        )
    for preset in found.presets:  # all or none
        require_output(folder / f"{preset.id}.json", overwrite=spec.overwrite)
    context.stage("Writing cameras")
    outputs = [save_preset(p, folder, overwrite=spec.overwrite) for p in found.presets]
    for note in found.notes:
        context.log(note, "warning")
    return {
        "kind": kind,
        "out": spec.out,
        "cameras": [preset.model for preset in found.presets],
        "outputs": [str(path) for path in outputs],
        "notes": list(found.notes),
    }


def _import_maps(source: Path, spec: ImportCamerasSpec, context: JobContext) -> dict[str, Any]:
    if spec.pixel_size_x_nm is None:
        raise ConfigError(
            "Maps do not say the pixel size in the sample, and none was given.",
            hint="Give it (--pixel-size-nm), usually 80-160 nm.",
        )
    if Path(spec.out).suffix.lower() != ".json":
        raise ConfigError(f"{spec.out} is not the name of a camera file.", hint="End it in .json.")
    maps = read_camera_maps(
        source, gain_means=spec.gain_means, kind=spec.map_kind, transposed=spec.transposed
    )
    camera = CameraModel(
        kind="scmos",
        name=spec.name or source.stem,
        pixel_size_x_nm=spec.pixel_size_x_nm,
        pixel_size_y_nm=spec.pixel_size_y_nm or spec.pixel_size_x_nm,
        offset_adu=_or(maps.offset_adu, 100.0),
        e_per_adu=_or(maps.e_per_adu, 1.0),
        read_noise_e=_or(maps.read_noise_e, 0.0),
    )
    missing = [
        f"{word} is not in the file: {value} was written, put the true one in its place."
        for word, value, found in (
            ("The offset", "100 ADU", maps.offset_adu),
            ("The conversion", "1 e-/ADU", maps.e_per_adu),
            ("The read noise", "0 e-", maps.read_noise_e),
        )
        if found is None
    ]
    notes = [*maps.notes, *missing]
    context.stage("Writing the camera")
    write_camera(camera, Path(spec.out), overwrite=spec.overwrite)
    for note in notes:
        context.log(note, "warning")
    return {
        "kind": "maps",
        "out": spec.out,
        "cameras": [camera.name],
        "outputs": [spec.out],
        "notes": notes,
    }


def _or(found: np.ndarray[Any, np.dtype[np.float32]] | None, number: float) -> PixelMap:
    return number if found is None else found
