"""Write a calibration in another program's format, or with facts put right."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from decode_engine.contract.jobs import ConvertCalibrationSpec
from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.errors import ConfigError
from decode_engine.io.atomic import require_output
from decode_engine.io.calibrations import (
    PixelSize,
    describe_calibration,
    read_calibration,
    write_calibration,
)
from decode_engine.jobs.context import JobContext

__all__ = ["run"]

_SMAP_NO_FACTOR = (
    "SMAP keeps no refractive-index factor in a calibration: heights in the .mat are the "
    "stage's. Set {factor:g} as 'RI mismatch' when you fit in SMAP."
)
_SMAP_NO_MIRROR = (
    "It is not known whether the beads were mirrored as EM frames are; the .mat says no, which is "
    "SMAP's default."
)
_FIT3D_SIGN = (
    "fit3Dcspline's own examples report z = +(slice - z0) dz, SMAP and this program the "
    "opposite sign."
)


def run(spec: ConvertCalibrationSpec, context: JobContext) -> dict[str, Any]:
    """Read ``spec.file`` and write ``spec.out``.

    Returns
    -------
    dict
        ``out``, ``variant`` (what was read), ``model``, ``z_min_nm``, ``z_max_nm`` (in the
        sample), ``pixel_size_x_nm``, ``pixel_size_y_nm``, ``em_mirrored``,
        ``refractive_index_factor``, ``fingerprint``, ``notes`` and ``lines`` (for a reader).
    """
    source, out = Path(spec.file), Path(spec.out)
    require_output(out, overwrite=spec.overwrite)
    context.stage("Reading the calibration")
    pixel = _pixel_size(spec)
    report = describe_calibration(source)
    calibration = _put_right(
        read_calibration(source, region=spec.region, channel=spec.channel, pixel_size=pixel),
        spec,
        pixel,
    )
    context.check()
    context.stage("Writing")
    write_calibration(calibration, out, overwrite=spec.overwrite, layout=spec.layout)
    context.artifact("calibration", str(out))
    notes = [*report.notes, *_notes(calibration, out, spec)]
    for note in notes:
        context.log(note, "warning")
    return {"out": str(out), "variant": report.variant, **_facts(calibration), "notes": notes}


def _pixel_size(spec: ConvertCalibrationSpec) -> PixelSize | None:
    x_nm, y_nm = spec.pixel_size_x_nm, spec.pixel_size_y_nm
    if x_nm is None and y_nm is not None:
        raise ConfigError(
            f"The pixel size along rows is {y_nm:g} nm, along columns it is missing.",
            hint="Give both (--pixel-size-nm X,Y).",
        )
    return None if x_nm is None else PixelSize(x_nm=x_nm, y_nm=x_nm if y_nm is None else y_nm)


def _put_right(
    calibration: Calibration, spec: ConvertCalibrationSpec, pixel: PixelSize | None
) -> Calibration:
    changes: dict[str, Any] = {}
    if pixel is not None:
        changes.update(pixel_size_x_nm=pixel.x_nm, pixel_size_y_nm=pixel.y_nm)
    if spec.em_mirrored is not None:
        changes["em_mirrored"] = spec.em_mirrored
    if spec.refractive_index_factor is not None:
        changes["refractive_index_factor"] = spec.refractive_index_factor
    return dataclasses.replace(calibration, **changes)


def _notes(calibration: Calibration, out: Path, spec: ConvertCalibrationSpec) -> list[str]:
    if out.suffix.lower() != ".mat":
        return []
    notes = []
    if calibration.refractive_index_factor != 1.0:
        notes.append(_SMAP_NO_FACTOR.format(factor=calibration.refractive_index_factor))
    if calibration.em_mirrored is None:
        notes.append(_SMAP_NO_MIRROR)
    if spec.layout == "fit3dcspline":
        notes.append(_FIT3D_SIGN)
    return notes


def _facts(calibration: Calibration) -> dict[str, Any]:
    low, high = calibration.z_range_nm
    return {
        "model": "spline" if isinstance(calibration.psf, SplinePsf) else "gaussian",
        "z_min_nm": low,
        "z_max_nm": high,
        "pixel_size_x_nm": calibration.pixel_size_x_nm,
        "pixel_size_y_nm": calibration.pixel_size_y_nm,
        "em_mirrored": calibration.em_mirrored,
        "refractive_index_factor": calibration.refractive_index_factor,
        "fingerprint": calibration.fingerprint(),
    }
