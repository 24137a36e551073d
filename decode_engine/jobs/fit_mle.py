"""Fit isolated emitters of a movie by maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from decode_engine.contract.jobs import FitMleSpec
from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import PixelGrid, Roi
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import CameraError, ConfigError, MismatchError
from decode_engine.inference.reader import FrameReader
from decode_engine.io.calibrations import read_calibration
from decode_engine.io.cameras import read_camera
from decode_engine.io.localizations import (
    LocalizationMetadata,
    LocalizationWriter,
    software_versions,
)
from decode_engine.io.movies import FrameSource, open_movie
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.localize_setup import camera_record
from decode_engine.network.device import choose_device
from decode_engine.psf.base import PsfModel
from decode_engine.psf.frame_fitting import FrameFitOptions, FrameFitter
from decode_engine.psf.models import psf_from_calibration

__all__ = ["run"]

# Pixels handled between two looks at the cancel button; about half a second on one core.
_PIXELS_PER_BLOCK = 4_000_000
_BLOCK_FRAMES = 250
_PIXEL_SIZE_TOLERANCE = 0.01  # relative; calibrations often carry rounded numbers
_OFFSET_FRAMES = 5


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    calibration: Calibration
    camera: CameraModel
    roi: Roi
    grid: PixelGrid
    start: int
    stop: int
    device: torch.device

    @property
    def grid_pixels(self) -> int:
        return self.grid.width_px * self.grid.height_px


def run(spec: FitMleSpec, context: JobContext) -> dict[str, Any]:
    """Detect, fit and write; a killed or cancelled job can be resumed.

    Returns
    -------
    dict
        ``out``, ``n_localizations``, ``n_frames``, ``elapsed_s``, ``frames_per_s``.
    """
    context.stage("Reading calibration and camera")
    with open_movie(Path(spec.movie)) as movie:
        inputs = _read(spec, movie, context)
        fitter = FrameFitter(
            _psf(spec, inputs, context),
            inputs.camera.crop(inputs.roi),
            inputs.grid,
            FrameFitOptions(
                fit_px=spec.config.fit_px,
                detection_sigma=spec.config.detection_sigma,
                max_iterations=spec.config.max_iterations,
                z_starts_nm=spec.config.z_starts_nm,
            ),
        )
        metadata = _metadata(spec, movie, inputs)
        begin = LocalizationWriter.resume if spec.config.resume else LocalizationWriter.create
        with begin(Path(spec.out), metadata, overwrite=spec.config.overwrite) as writer:
            context.stage("Fitting")
            started_s, first = context.clock(), writer.frames_done
            _fit_movie(
                movie, inputs, fitter, writer, context, chunk_frames=spec.config.chunk_frames
            )
            elapsed_s = context.clock() - started_s
            writer.finish()
    context.artifact("localizations", spec.out)
    n_frames = inputs.stop - inputs.start
    return {
        "out": spec.out,
        "n_localizations": writer.n_localizations,
        "n_frames": n_frames,
        "elapsed_s": elapsed_s,
        "frames_per_s": (n_frames - first) / max(elapsed_s, 1e-9),
    }


def _read(spec: FitMleSpec, movie: FrameSource, context: JobContext) -> _Inputs:
    calibration = read_calibration(Path(spec.calibration), region=spec.region, channel=spec.channel)
    camera = read_camera(Path(spec.camera))
    camera.require_frame_size(movie.height_px, movie.width_px)
    roi = _roi(spec, movie)
    start, stop = _frames(spec, movie)
    _require_match(calibration, camera, spec, context)
    _require_offset(movie, camera, start, stop)
    grid = PixelGrid(
        width_px=movie.width_px,
        height_px=movie.height_px,
        pixel_size_x_nm=camera.pixel_size_x_nm,
        pixel_size_y_nm=camera.pixel_size_y_nm,
    ).crop(roi)
    for warning in movie.metadata.warnings:
        context.log(warning, "warning")
    return _Inputs(
        calibration=calibration,
        camera=camera,
        roi=roi,
        grid=grid,
        start=start,
        stop=stop,
        device=choose_device(spec.device),
    )


def _roi(spec: FitMleSpec, movie: FrameSource) -> Roi:
    wanted = spec.config.roi
    x, y, width, height = wanted or (0, 0, movie.width_px, movie.height_px)
    roi = Roi(x_px=x, y_px=y, width_px=width, height_px=height)
    roi.require_inside(movie.width_px, movie.height_px)
    if spec.config.fit_px % 2 == 0 or spec.config.fit_px > min(width, height):
        raise ConfigError(
            f"A fit window of {spec.config.fit_px} px does not suit {width} x {height} px.",
            hint="Choose an odd width, not larger than the frame.",
        )
    return roi


def _frames(spec: FitMleSpec, movie: FrameSource) -> tuple[int, int]:
    start, stop = spec.config.frames or (0, movie.n_frames)
    if not 0 <= start < stop or start >= movie.n_frames:
        raise ConfigError(
            f"The frames {start}:{stop} are not in the movie, which has {movie.n_frames}.",
            hint="Give first and end (exclusive) between 0 and the number of frames.",
        )
    return start, min(stop, movie.n_frames)


def _require_match(
    calibration: Calibration, camera: CameraModel, spec: FitMleSpec, context: JobContext
) -> None:
    """Raise `MismatchError` if the PSF was measured on other pixels than the camera's."""
    problems: list[str] = []
    if isinstance(calibration.psf, SplinePsf):
        for axis in ("x", "y"):
            theirs = getattr(calibration, f"pixel_size_{axis}_nm")
            ours = getattr(camera, f"pixel_size_{axis}_nm")
            if theirs is not None and abs(theirs / ours - 1) > _PIXEL_SIZE_TOLERANCE:
                problems.append(
                    f"the pixel size in {axis} is {theirs:g} nm in the calibration and "
                    f"{ours:g} nm in the camera file"
                )
    if calibration.em_mirrored is not None and calibration.em_mirrored != camera.em_mirrored:
        mirrored, plain = ("calibration", "camera file")[:: 1 if calibration.em_mirrored else -1]
        problems.append(f"the {mirrored} is mirrored as EM frames are, the {plain} is not")
    if not problems:
        return
    message = "Calibration and camera do not belong together: " + "; ".join(problems) + "."
    if not spec.config.allow_mismatch:
        raise MismatchError(
            message, hint="Use the calibration of this camera, or allow the mismatch explicitly."
        )
    context.log(message, "warning")


def _require_offset(movie: FrameSource, camera: CameraModel, start: int, stop: int) -> None:
    """Raise `CameraError` if the offset lies above the movie: all photons would be negative."""
    first = movie.read(start, min(stop, start + _OFFSET_FRAMES))
    above = float(np.median(first - np.asarray(camera.offset_adu, np.float32)))
    read_noise_adu = float(np.mean(np.asarray(camera.read_noise_e) / camera.e_per_adu))
    if above < -(1 + read_noise_adu):  # a dark movie's median lies about the offset
        raise CameraError(
            f"The camera offset ({float(np.mean(camera.offset_adu)):g} ADU) lies above the "
            f"movie's median ({float(np.median(first)):g} ADU).",
            hint="Use the offset of this camera, in ADU; it is what a dark frame shows.",
        )


def _psf(spec: FitMleSpec, inputs: _Inputs, context: JobContext) -> PsfModel:
    psf = psf_from_calibration(
        inputs.calibration,
        pixel_size_x_nm=inputs.camera.pixel_size_x_nm,
        pixel_size_y_nm=inputs.camera.pixel_size_y_nm,
        device=inputs.device,
    )
    # Half a pixel of shift and one of drift must not move the window beyond the calibration.
    largest_px = psf.support_px - 4
    if isinstance(inputs.calibration.psf, SplinePsf) and spec.config.fit_px > largest_px:
        context.log(
            f"The fit window of {spec.config.fit_px} px is as large as the calibration; "
            f"{largest_px} px or less avoid errors at its edge.",
            "warning",
        )
    return psf


def _metadata(spec: FitMleSpec, movie: FrameSource, inputs: _Inputs) -> LocalizationMetadata:
    return LocalizationMetadata(
        movie_paths=(spec.movie,),
        movie_fingerprint=movie.fingerprint(inputs.stop),
        movie_frames=movie.n_frames,
        width_px=movie.width_px,
        height_px=movie.height_px,
        pixel_size_x_nm=inputs.camera.pixel_size_x_nm,
        pixel_size_y_nm=inputs.camera.pixel_size_y_nm,
        roi=spec.config.roi,
        frame_start=inputs.start,
        frame_stop=inputs.stop,
        is_3d=inputs.calibration.is_3d,
        method="fit-mle",
        calibration_id=inputs.calibration.fingerprint(),
        camera=camera_record(inputs.camera),
        config=spec.config.model_dump(mode="json"),
        versions=software_versions(),
        device=str(inputs.device),
        notes=movie.metadata.warnings,
    )


def _fit_movie(
    movie: FrameSource,
    inputs: _Inputs,
    fitter: FrameFitter,
    writer: LocalizationWriter,
    context: JobContext,
    *,
    chunk_frames: int,
) -> None:
    """Fit block by block; blocks do not depend on where an earlier run stopped."""
    first = inputs.start + writer.frames_done
    started_s = context.clock()
    block_frames = max(1, min(_BLOCK_FRAMES, _PIXELS_PER_BLOCK // inputs.grid_pixels))
    pending: list[Localizations] = []
    done = writer.frames_done
    reader = FrameReader(movie, (first, inputs.stop), block_frames, inputs.roi, check=context.check)
    try:
        with reader:
            for block in reader:
                context.check()
                pending.append(fitter.fit(block.adu, block.start))
                done = block.start + len(block.adu) - inputs.start
                seconds_per_frame = (context.clock() - started_s) / (done + inputs.start - first)
                total = inputs.stop - inputs.start
                context.progress(done, total, "frames", (total - done) * seconds_per_frame)
                if done - writer.frames_done >= chunk_frames:
                    writer.append(Localizations.concatenate(pending), frames_done=done)
                    pending = []
    finally:
        # Also after a cancel, or when the movie vanished: what is done stays done.
        if pending:
            writer.append(Localizations.concatenate(pending), frames_done=done)
