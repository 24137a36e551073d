"""Bead stacks in, spline calibration with its quality out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.contract.configs import CalibrateConfig
from decode_engine.domain.calibration import Calibration
from decode_engine.errors import CalibrationError, ConfigError
from decode_engine.psf.beads.assembly import AssembledPsf, assemble_psf
from decode_engine.psf.beads.crops import BeadCrop, cut_bead
from decode_engine.psf.beads.detection import BeadDetection, RejectedBead, detect_beads
from decode_engine.psf.beads.quality import (
    AxialAgreement,
    BeadCheck,
    axial_agreement,
    check_beads,
    quality_numbers,
)
from decode_engine.psf.beads.registration import (
    RegisteredBead,
    register_beads,
    structural_residual,
)
from decode_engine.psf.beads.selection import BeadSelection, select_beads
from decode_engine.psf.beads.stacks import prepare_stack

__all__ = ["BeadCalibrationResult", "calibrate_beads"]

# Fitting every slice of this many beads says enough about fitted z.
_CHECKED_BEADS = 30
_SUSPICIOUS_RESIDUAL = 0.02
_SUSPICIOUS_SLOPE = 0.03
_SUSPICIOUS_SCATTER_NM = 20.0


@dataclass(frozen=True, kw_only=True)
class BeadCalibrationResult:
    """A calibration with everything that says how it came about.

    Attributes
    ----------
    calibration : Calibration
        Spline PSF with its `CalibrationQuality`.
    average : (Z, Y, X) float32
        The registered, normalised average before smoothing, on the calibration's samples.
    beads : tuple of RegisteredBead
        Beads that were averaged; photons are those of the normalisation, slices those of the
        stack in the order of a rising stage.
    rejected : tuple of RejectedBead
    checks : tuple of BeadCheck
        Up to 30 beads compared with the finished model.
    axial : AxialAgreement
    warnings : tuple of str
        Sentences for the user.
    """

    calibration: Calibration
    average: NDArray[np.float32]
    beads: tuple[RegisteredBead, ...]
    rejected: tuple[RejectedBead, ...]
    checks: tuple[BeadCheck, ...]
    axial: AxialAgreement
    warnings: tuple[str, ...]


def _no_step(_name: str) -> None:
    return


def calibrate_beads(
    stacks_adu: Iterable[NDArray[Any]],
    config: CalibrateConfig,
    *,
    names: Sequence[str] = (),
    step: Callable[[str], None] = _no_step,
) -> BeadCalibrationResult:
    """Make a calibration from bead z-stacks.

    Parameters
    ----------
    stacks_adu : iterable of (Z, H, W) arrays, ADU
        Crops of single beads or fields of many, slices in the order of recording. Only cut-out
        beads are kept of each, so a generator needs the memory of one stack.
    config : CalibrateConfig
    names : sequence of str
        What messages call the stacks.
    step : callable
        Called with the name of what comes next, several times a second; may raise to cancel.

    Raises
    ------
    CalibrationError
        If a stack is unusable, no bead is found, or all are rejected.
    ConfigError
        If ``roi_px`` is even or ``dz_nm`` is zero.
    """
    if config.roi_px % 2 == 0:
        raise ConfigError(
            f"The window roi_px = {config.roi_px} is even, so it has no central pixel.",
            hint=f"Choose {config.roi_px - 1} or {config.roi_px + 1}.",
        )
    found = _find(stacks_adu, config, names, step)
    selection = select_beads(found.crops, found.detections, config)
    registration = register_beads(
        selection.beads, roi_px=selection.roi_px, dz_nm=abs(config.dz_nm), step=step
    )
    step("laying the spline")
    assembled = assemble_psf(registration.average, registration.focus, config)
    beads = tuple(_on_samples(b, assembled) for b in registration.beads)
    rejected = (*selection.rejected, *registration.rejected)
    checks = check_beads(
        beads[:_CHECKED_BEADS], registration.crops[:_CHECKED_BEADS], assembled, step=step
    )
    axial = axial_agreement(checks)
    calibration = _calibration(config, found, assembled, checks, (len(beads), len(rejected)))
    return BeadCalibrationResult(
        calibration=calibration,
        average=assembled.samples,
        beads=beads,
        rejected=rejected,
        checks=checks,
        axial=axial,
        warnings=(*selection.warnings, *_doubts(selection, beads, axial)),
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What is kept of the stacks once their beads are cut out."""

    names: tuple[str, ...]
    offsets_adu: tuple[float, ...]
    detections: tuple[BeadDetection, ...]
    crops: tuple[BeadCrop, ...]


def _find(
    stacks_adu: Iterable[NDArray[Any]],
    config: CalibrateConfig,
    names: Sequence[str],
    step: Callable[[str], None],
) -> _Found:
    """Find and cut out the beads, one stack after the other."""
    labels: list[str] = []
    offsets: list[float] = []
    detections: list[BeadDetection] = []
    crops: list[BeadCrop] = []
    for index, stack_adu in enumerate(stacks_adu):
        step("finding beads")
        name = names[index] if index < len(names) else ""
        stack = prepare_stack(stack_adu, config, index=index, name=name)
        detection = detect_beads(stack, config)
        labels.append(stack.name)
        offsets.append(stack.offset_adu)
        detections.append(detection)
        crops += [cut_bead(stack, bead, config.roi_px) for bead in detection.candidates]
    if not labels:
        raise CalibrationError("No bead stack was given.", hint="Name at least one TIFF.")
    return _Found(
        names=tuple(labels),
        offsets_adu=tuple(offsets),
        detections=tuple(detections),
        crops=tuple(crops),
    )


def _on_samples(bead: RegisteredBead, assembled: AssembledPsf) -> RegisteredBead:
    """Express a bead in the units of the normalised samples."""
    return replace(
        bead,
        z_slice=bead.z_slice + assembled.first_slice,
        amplitude=bead.amplitude * assembled.scale,
        background=bead.background + bead.amplitude * assembled.background,
    )


def _calibration(
    config: CalibrateConfig,
    found: _Found,
    assembled: AssembledPsf,
    checks: Sequence[BeadCheck],
    counts: tuple[int, int],
) -> Calibration:
    pixel_y_nm = config.pixel_size_y_nm or config.pixel_size_x_nm
    quality = quality_numbers(
        assembled,
        checks,
        beads_used=counts[0],
        beads_rejected=counts[1],
        pixel_size_nm=(config.pixel_size_x_nm, pixel_y_nm),
    )
    return Calibration(
        psf=assembled.psf,
        pixel_size_x_nm=config.pixel_size_x_nm,
        pixel_size_y_nm=pixel_y_nm,
        em_mirrored=config.em_mirrored,
        refractive_index_factor=config.refractive_index_factor,
        source="bead stacks: " + ", ".join(found.names),
        provenance={
            "config": config.model_dump_json(),
            "offset_adu": ", ".join(f"{offset:g}" for offset in found.offsets_adu),
        },
        quality=quality,
    )


def _doubts(
    selection: BeadSelection,
    beads: Sequence[RegisteredBead],
    axial: AxialAgreement,
) -> list[str]:
    """Say in words what about the result deserves a second look."""
    doubts = []
    if len(beads) == 1:
        doubts.append(
            "Made from a single bead: that it fits itself does not show that others look alike."
        )
    if len(beads) < 3 <= len(selection.beads):
        doubts.append(f"Only {len(beads)} of {len(selection.beads)} beads agree with each other.")
    structure = float(np.median([structural_residual(b) for b in beads]))
    if structure > _SUSPICIOUS_RESIDUAL:
        doubts.append(
            f"The beads differ from each other by {100 * structure:.1f} % of the peak (RMS, noise "
            "not counted); below 1 % is usual. Are they single beads, all of one kind?"
        )
    if abs(axial.slope - 1) > _SUSPICIOUS_SLOPE or not np.isfinite(axial.slope):
        doubts.append(
            f"Fitted z follows the stage with the slope {axial.slope:.3f} instead of 1: this PSF "
            "says little about z, or the beads bleached or moved."
        )
    elif axial.rms_nm > _SUSPICIOUS_SCATTER_NM:
        doubts.append(
            f"Fitted z scatters by {axial.rms_nm:.0f} nm about the stage: this PSF says little "
            "about z, or the beads are dim."
        )
    return doubts
