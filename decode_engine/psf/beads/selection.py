"""Which of the beads that were found can be used, and how large their window may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decode_engine.contract.configs import CalibrateConfig
from decode_engine.errors import CalibrationError
from decode_engine.psf.beads.detection import (
    BeadCandidate,
    BeadDetection,
    RejectedBead,
    detect_beads,
    half_width_px,
)
from decode_engine.psf.beads.stacks import BeadStack

__all__ = ["BeadSelection", "select_beads"]

_SMALLEST_ROI_PX = 7
_CLIPPED_VOXELS = 3


@dataclass(frozen=True, kw_only=True)
class BeadSelection:
    """Beads to register, with the window that all of them have.

    ``warnings`` are sentences for the user.
    """

    beads: tuple[BeadCandidate, ...]
    rejected: tuple[RejectedBead, ...]
    roi_px: int
    warnings: tuple[str, ...]


def select_beads(stacks: Sequence[BeadStack], config: CalibrateConfig) -> BeadSelection:
    """Find beads in all stacks and keep those that can be averaged.

    Raises
    ------
    CalibrationError
        If no stack shows a usable bead; the message says what was tried.
    """
    detections = [detect_beads(stack, config) for stack in stacks]
    rejected = [bead for d in detections for bead in d.rejected]
    beads = [bead for d in detections for bead in d.candidates]
    if not beads:
        raise _nothing_found(detections, rejected, config)
    warnings: list[str] = []
    fields = {s.index: (s.photons.shape[1], s.photons.shape[2]) for s in stacks}
    beads, roi_px = _fit_windows(beads, fields, config.roi_px, rejected, warnings)
    beads = _without_clipped(beads, stacks, roi_px, rejected, warnings)
    beads = sorted(beads, key=lambda b: -b.height)
    for bead in beads[config.max_beads :]:
        rejected.append(_reject(bead, f"only the {config.max_beads} brightest beads are used"))
    return BeadSelection(
        beads=tuple(beads[: config.max_beads]),
        rejected=tuple(rejected),
        roi_px=roi_px,
        warnings=tuple(warnings),
    )


def _reject(bead: BeadCandidate, reason: str) -> RejectedBead:
    return RejectedBead(stack=bead.stack, x_px=bead.x_px, y_px=bead.y_px, reason=reason)


def _nothing_found(
    detections: Sequence[BeadDetection],
    rejected: Sequence[RejectedBead],
    config: CalibrateConfig,
) -> CalibrationError:
    if rejected:
        return CalibrationError(
            f"{len(rejected)} beads were found, but each has another one within "
            f"{config.min_distance_px:g} px.",
            hint="Lower min_distance_px, or record a sparser bead sample.",
        )
    brightest = max(d.brightest for d in detections)
    cutoff = min(d.cutoff for d in detections)
    return CalibrationError(
        f"No bead was found: with detection_cutoff = {config.detection_cutoff:g} and filter_px = "
        f"{config.filter_px:g} a maximum must rise {cutoff:.4g} photons above its surroundings; "
        f"the highest rises {brightest:.4g}.",
        hint="Lower detection_cutoff, raise filter_px for a spread-out PSF, or check that the "
        "stack shows beads.",
    )


def _fit_windows(
    beads: Sequence[BeadCandidate],
    fields: dict[int, tuple[int, int]],
    roi_px: int,
    rejected: list[RejectedBead],
    warnings: list[str],
) -> tuple[list[BeadCandidate], int]:
    """Reject beads whose window leaves the field; shrink the window if that were all."""
    halves = [half_width_px(bead, fields[bead.stack]) for bead in beads]
    half = roi_px // 2
    if max(halves) < half:
        # Crops of single beads: take the window that at least half of them can fill.
        half = sorted(halves, reverse=True)[(len(halves) - 1) // 2]
        if 2 * half + 1 < _SMALLEST_ROI_PX:
            raise CalibrationError(
                f"The beads lie at the border: the widest window inside the field has "
                f"{2 * half + 1} px, {_SMALLEST_ROI_PX} are needed.",
                hint="Give stacks with more surroundings around the beads.",
            )
        warnings.append(
            f"No bead has room for a window of {roi_px} px; {2 * half + 1} px are used instead."
        )
    kept = []
    for bead, own in zip(beads, halves, strict=True):
        if own >= half:
            kept.append(bead)
        else:
            rejected.append(
                _reject(
                    bead,
                    f"the border leaves room for {2 * own + 1} px, the window has "
                    f"{2 * half + 1} px",
                )
            )
    return kept, 2 * half + 1


def _without_clipped(
    beads: Sequence[BeadCandidate],
    stacks: Sequence[BeadStack],
    roi_px: int,
    rejected: list[RejectedBead],
    warnings: list[str],
) -> list[BeadCandidate]:
    """Reject saturated beads, unless all are."""
    by_index = {s.index: s for s in stacks}
    clipped = [_is_clipped(bead, by_index[bead.stack], roi_px // 2) for bead in beads]
    if all(clipped):
        warnings.append(
            f"All {len(beads)} beads are saturated (flat tops): the PSF will be too wide in "
            "focus. Record them again with less light."
        )
        return list(beads)
    for bead, bad in zip(beads, clipped, strict=True):
        if bad:
            rejected.append(_reject(bead, "it is saturated (flat top)"))
    return [bead for bead, bad in zip(beads, clipped, strict=True) if not bad]


def _is_clipped(bead: BeadCandidate, stack: BeadStack, half: int) -> bool:
    if stack.clip_photons is None:
        return False
    row, col = round(bead.y_px), round(bead.x_px)
    window = stack.photons[
        :, max(row - half, 0) : row + half + 1, max(col - half, 0) : col + half + 1
    ]
    return int((window >= stack.clip_photons).sum()) >= _CLIPPED_VOXELS
