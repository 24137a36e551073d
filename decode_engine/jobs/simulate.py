"""Simulate a movie and its truth."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from decode_engine import __version__
from decode_engine.contract.configs import SimulationConfig
from decode_engine.contract.jobs import SimulateSpec
from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import PixelGrid
from decode_engine.domain.localizations import Emitters
from decode_engine.errors import CameraError
from decode_engine.io.atomic import atomic_path, require_output, sha256_file
from decode_engine.io.cameras import MAP_FIELDS, write_camera
from decode_engine.io.movies import MovieWriter
from decode_engine.io.tables import write_emitter_chunks_csv
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.optics import read_optics
from decode_engine.psf.models import psf_from_calibration
from decode_engine.simulation.simulator import MovieChunk, Simulator

__all__ = ["run"]

_ADU_LIMIT = 65535  # of the 16-bit movie


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    calibration: Calibration
    camera: CameraModel
    grid: PixelGrid
    config: SimulationConfig


def run(spec: SimulateSpec, context: JobContext) -> dict[str, Any]:
    """Simulate ``spec.frames`` frames into the folder ``spec.out``.

    Writes ``movie.tif``, ``truth.csv``, ``camera.json`` (with the camera's maps, if any) and
    ``job.json`` (what was asked, from which files, with which versions). ``movie.tif`` appears
    last: where it is, the rest is complete. Memory does not grow with the number of frames.

    Returns
    -------
    dict
        Paths ``movie`` and ``truth``, ``frames``, ``n_emitters`` (rows of the truth) and
        ``density_per_um2`` (rows per frame and area).
    """
    out = Path(spec.out)
    context.stage("Reading calibration and camera")
    inputs = _read(spec, context)
    simulator = _simulator(inputs)
    is_new = not out.exists()
    for name in _file_names():
        require_output(out / name, overwrite=spec.overwrite)
    try:
        n_emitters = _write(spec, inputs, simulator, context)
    except BaseException:
        if is_new and not any(out.iterdir()):
            out.rmdir()
        raise
    movie, truth = str(out / "movie.tif"), str(out / "truth.csv")
    context.artifact("movie", movie)
    context.artifact("emitters", truth)
    return {
        "movie": movie,
        "truth": truth,
        "frames": spec.frames,
        "n_emitters": n_emitters,
        "density_per_um2": n_emitters / (spec.frames * inputs.grid.area_um2),
    }


def _file_names() -> list[str]:
    maps = [f"camera.{field}.npy" for field in MAP_FIELDS]
    return ["movie.tif", "truth.csv", "camera.json", "job.json", *maps]


def _read(spec: SimulateSpec, context: JobContext) -> _Inputs:
    optics = read_optics(spec, context, allow_mismatch=spec.allow_mismatch)
    camera = optics.camera
    _require_sixteen_bits(camera)
    config = spec.simulation
    if spec.density_per_um2 is not None:
        density = spec.density_per_um2
        config = config.model_copy(
            update={"density_min_per_um2": density, "density_max_per_um2": density}
        )
    width_px, height_px = spec.size_px
    grid = PixelGrid(
        width_px=width_px,
        height_px=height_px,
        pixel_size_x_nm=camera.pixel_size_x_nm,
        pixel_size_y_nm=camera.pixel_size_y_nm,
    )
    camera.require_frame_size(height_px, width_px)
    return _Inputs(calibration=optics.calibration, camera=camera, grid=grid, config=config)


def _require_sixteen_bits(camera: CameraModel) -> None:
    offset_adu = float(np.max(camera.offset_adu))
    if offset_adu >= _ADU_LIMIT:
        raise CameraError(
            f"The offset of {offset_adu:g} ADU leaves no room in a 16-bit movie.",
            hint="Check the offset; usual values are 90-2000 ADU.",
        )


def _simulator(inputs: _Inputs) -> Simulator:
    psf = psf_from_calibration(
        inputs.calibration,
        pixel_size_x_nm=inputs.grid.pixel_size_x_nm,
        pixel_size_y_nm=inputs.grid.pixel_size_y_nm,
    )
    # The CPU everywhere, so that a seed means the same movie on every computer.
    return Simulator(psf, inputs.camera, inputs.config, device="cpu")


def _write(spec: SimulateSpec, inputs: _Inputs, simulator: Simulator, context: JobContext) -> int:
    """Write all files; return the number of rows of the truth."""
    out, grid = Path(spec.out), inputs.grid
    shape = (spec.frames, grid.height_px, grid.width_px)
    generator = torch.Generator().manual_seed(spec.seed)
    chunks = simulator.movie_chunks(
        spec.frames, grid.width_px, grid.height_px, generator, drift_nm=spec.drift_nm
    )
    context.stage("Simulating")
    with (
        tempfile.TemporaryFile(dir=out) as spool,
        atomic_path(out / "movie.tif", overwrite=spec.overwrite) as temporary,
    ):
        truth = _Spool(spool)
        writer = MovieWriter(
            temporary,
            shape,
            pixel_size_x_nm=grid.pixel_size_x_nm,
            pixel_size_y_nm=grid.pixel_size_y_nm,
        )
        try:
            writer.write(_frames(chunks, truth, spec.frames, context))
        finally:
            writer.close()
        context.stage("Writing the truth")
        write_emitter_chunks_csv(out / "truth.csv", truth.replay(), overwrite=spec.overwrite)
        write_camera(inputs.camera, out / "camera.json", overwrite=spec.overwrite)
        with atomic_path(out / "job.json", overwrite=spec.overwrite) as path:
            path.write_text(json.dumps(_record(spec, inputs), indent=2) + "\n", encoding="utf-8")
    return truth.n_rows


def _frames(
    chunks: Iterator[MovieChunk], truth: _Spool, n_frames: int, context: JobContext
) -> Iterator[NDArray[np.uint16]]:
    """Pass frames on one at a time and set the truth aside."""
    done = 0
    context.check()
    for chunk in chunks:
        truth.add(chunk.emitters)
        for frame in chunk.frames_adu:
            yield frame
            done += 1
            context.check()
        context.progress(done, n_frames, "frame")


class _Spool:
    """Emitters set aside in a file while the movie is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._n_chunks = 0
        self.n_rows = 0

    def add(self, emitters: Emitters) -> None:
        """Append a table (all columns)."""
        for values in emitters.columns().values():
            np.save(self._file, values, allow_pickle=False)
        self._n_chunks += 1
        self.n_rows += len(emitters)

    def replay(self) -> Iterator[Emitters]:
        """Yield the tables again, in order."""
        self._file.seek(0)
        names = [spec.name for spec in Emitters.specs()]
        for _ in range(self._n_chunks):
            yield Emitters(**{n: np.load(self._file, allow_pickle=False) for n in names})


def _record(spec: SimulateSpec, inputs: _Inputs) -> dict[str, Any]:
    return {
        "spec": spec.model_dump(mode="json"),
        "simulation": inputs.config.model_dump(mode="json"),
        "calibration_sha256": inputs.calibration.fingerprint(),
        "calibration_file_sha256": sha256_file(Path(spec.calibration)),
        "camera_sha256": inputs.camera.fingerprint(),
        "engine_version": __version__,
        "torch_version": torch.__version__,
    }
