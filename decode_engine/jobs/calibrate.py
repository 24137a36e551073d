"""Turn bead stacks into a calibration file and a picture of its quality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.contract.jobs import CalibrateSpec
from decode_engine.domain.calibration import Calibration
from decode_engine.errors import CalibrationError, OutputError
from decode_engine.io.atomic import require_output, sha256_file
from decode_engine.io.bead_report import BeadReport, write_bead_report
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.movies import open_movie
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.movie_checks import pixel_size_warnings
from decode_engine.psf.beads.calibrate import BeadCalibrationResult, calibrate_beads

__all__ = ["run"]

# Slices read between two looks at the cancel button.
_READ_SLICES = 32


def run(spec: CalibrateSpec, context: JobContext) -> dict[str, Any]:
    """Make ``spec.out`` from the bead stacks ``spec.beads``.

    Returns
    -------
    dict
        ``out``, ``report`` (the picture beside it), ``beads_used``, ``beads_rejected`` (where
        each was and why), ``residual_rms`` of the spline against the average, ``z_slope`` and
        ``z_rms_nm`` of fitted z over the stage's, ``z_min_nm``, ``z_max_nm``, ``roi_px`` and
        ``warnings``.
    """
    out = Path(spec.out)
    if out.suffix.lower() not in (".h5", ".hdf5", ".mat"):
        raise OutputError(
            f"{out} is neither a .h5 nor a .mat file.",
            hint="End the name in .h5 (everything is kept) or _3dcal.mat (for SMAP and DECODE).",
        )
    report = out.with_name(f"{out.stem}_report.png")
    for path in (out, report):
        require_output(path, overwrite=spec.config.overwrite)
    beads = [Path(p) for p in spec.beads]
    result = calibrate_beads(
        _read_stacks(beads, spec, context),
        spec.config,
        names=[p.name for p in beads],
        step=_stage_follower(context),
    )
    for warning in result.warnings:
        context.log(warning, "warning")
    for bead in result.rejected:
        context.log(
            f"Not used: bead at x {bead.x_px:.1f}, y {bead.y_px:.1f} px of "
            f"{beads[bead.stack].name}: {bead.reason}."
        )
    context.check()
    context.stage("Writing")
    calibration = _with_checksums(result.calibration, beads)
    write_calibration(calibration, out, overwrite=spec.config.overwrite)
    context.artifact("calibration", str(out))
    write_bead_report(report, _report(result), overwrite=spec.config.overwrite)
    context.artifact("image", str(report))
    return {"out": str(out), "report": str(report), **_summary(result, beads)}


def _read_stacks(
    paths: Sequence[Path], spec: CalibrateSpec, context: JobContext
) -> Iterator[NDArray[Any]]:
    """Yield one stack after the other, so that only one is in memory."""
    config = spec.config
    size_nm = (config.pixel_size_x_nm, config.pixel_size_y_nm or config.pixel_size_x_nm)
    for number, path in enumerate(paths):
        context.progress(number, len(paths), "stack")
        with open_movie(path, channel=config.movie_channel) as movie:
            for warning in pixel_size_warnings(movie, size_nm, "the calibration's setting"):
                context.log(warning, "warning")
            stack = np.empty((movie.n_frames, movie.height_px, movie.width_px), movie.dtype)
            for start in range(0, movie.n_frames, _READ_SLICES):
                context.check()
                stop = min(start + _READ_SLICES, movie.n_frames)
                stack[start:stop] = movie.read(start, stop)
        if not stack.size:
            raise CalibrationError(
                f"{path.name} holds no image.", hint="Give a TIFF with one bead z-stack."
            )
        yield stack
    context.progress(len(paths), len(paths), "stack")


def _stage_follower(context: JobContext) -> Callable[[str], None]:
    """Return a step function that looks for a cancel and announces each change of stage."""
    stages = {
        "finding beads": "Finding beads",
        "aligning": "Registering beads",
        "averaging": "Registering beads",
        "judging": "Registering beads",
        "laying the spline": "Laying the spline",
        "checking beads": "Fitting the beads",
    }
    last = ""

    def step(name: str) -> None:
        nonlocal last
        context.check()
        stage = stages[name]
        if stage != last:
            context.stage(stage)
            last = stage

    return step


def _with_checksums(calibration: Calibration, beads: Sequence[Path]) -> Calibration:
    # A folder of single images has no checksum of its own.
    sums = {f"sha256 of {p.name}": sha256_file(p) for p in beads if p.is_file()}
    return replace(calibration, provenance={**calibration.provenance, **sums})


def _report(result: BeadCalibrationResult) -> BeadReport:
    return BeadReport(
        samples=result.average,
        calibration=result.calibration,
        stage_z_nm=tuple(c.stage_z_nm for c in result.checks),
        fitted_z_nm=tuple(c.fitted_z_nm for c in result.checks),
        z_slope=result.axial.slope,
        z_rms_nm=result.axial.rms_nm,
    )


def _summary(result: BeadCalibrationResult, beads: Sequence[Path]) -> dict[str, Any]:
    quality = result.calibration.quality
    low, high = result.calibration.z_range_nm
    return {
        "beads_used": len(result.beads),
        "beads_rejected": [
            f"{beads[b.stack].name}, x {b.x_px:.1f} y {b.y_px:.1f} px: {b.reason}"
            for b in result.rejected
        ],
        "residual_rms": quality.residual_rms if quality else None,
        "z_slope": result.axial.slope,
        "z_rms_nm": result.axial.rms_nm,
        "z_min_nm": low,
        "z_max_nm": high,
        "roi_px": int(result.average.shape[1]),
        "warnings": list(result.warnings),
    }
