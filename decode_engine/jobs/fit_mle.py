"""Fit isolated emitters of a movie by maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from decode_engine.contract.jobs import FitMleSpec
from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import PixelGrid, Roi
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError
from decode_engine.inference.reader import FrameReader
from decode_engine.io.localizations import (
    LocalizationMetadata,
    LocalizationWriter,
    software_versions,
)
from decode_engine.io.movies import FrameSource
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.movie_checks import (
    check_movie,
    frame_range,
    open_chosen,
    recorded_settings,
    region_of,
)
from decode_engine.jobs.optics import camera_record, read_optics
from decode_engine.network.device import choose_device
from decode_engine.psf.base import PsfModel
from decode_engine.psf.frame_fitting import FrameFitOptions, FrameFitter
from decode_engine.psf.models import psf_from_calibration

__all__ = ["run"]

# Pixels handled between two looks at the cancel button; about half a second on one core.
_PIXELS_PER_BLOCK = 4_000_000
_BLOCK_FRAMES = 250


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
    with open_chosen(spec.movie, spec.config) as movie:
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
    config = spec.config
    optics = read_optics(spec, context, allow_mismatch=config.allow_mismatch)
    camera = optics.camera
    for warning in check_movie(movie, camera, config):
        context.log(warning, "warning")
    if config.z_starts_nm:
        optics.calibration.require_z_range(min(config.z_starts_nm), max(config.z_starts_nm))
    start, stop = frame_range(movie, config)
    roi = region_of(config) or Roi(
        x_px=0, y_px=0, width_px=movie.width_px, height_px=movie.height_px
    )
    _require_window(config.fit_px, roi)
    grid = PixelGrid(
        width_px=movie.width_px,
        height_px=movie.height_px,
        pixel_size_x_nm=camera.pixel_size_x_nm,
        pixel_size_y_nm=camera.pixel_size_y_nm,
    ).crop(roi)
    return _Inputs(
        calibration=optics.calibration,
        camera=camera,
        roi=roi,
        grid=grid,
        start=start,
        stop=stop,
        device=choose_device(spec.device),
    )


def _require_window(fit_px: int, roi: Roi) -> None:
    if fit_px % 2 == 0 or fit_px > min(roi.width_px, roi.height_px):
        raise ConfigError(
            f"A fit window of {fit_px} px does not suit {roi.width_px} x {roi.height_px} px.",
            hint="Choose an odd width, not larger than the frame.",
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
        refractive_index_factor=inputs.calibration.refractive_index_factor,
        method="fit-mle",
        calibration_id=inputs.calibration.fingerprint(),
        camera=camera_record(inputs.camera),
        config=recorded_settings(movie, spec.config),
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
