"""Which of the beads that were found can be used, and how large their window may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decode_engine.contract.configs import CalibrateConfig
from decode_engine.errors import CalibrationError
from decode_engine.psf.beads.crops import BeadCrop
from decode_engine.psf.beads.detection import BeadDetection, RejectedBead

__all__ = ["BeadSelection", "select_beads"]

_SMALLEST_ROI_PX = 7


@dataclass(frozen=True, kw_only=True)
class BeadSelection:
    """Beads to register, with the window that all of them have.

    ``warnings`` are sentences for the user.
    """

    beads: tuple[BeadCrop, ...]
    rejected: tuple[RejectedBead, ...]
    roi_px: int
    warnings: tuple[str, ...]


def select_beads(
    crops: Sequence[BeadCrop], detections: Sequence[BeadDetection], config: CalibrateConfig
) -> BeadSelection:
    """Keep the beads that can be averaged.

    Parameters
    ----------
    crops : sequence of BeadCrop
        All candidates of all stacks.
    detections : sequence of BeadDetection
        What was found in each stack, for the account of what was not used.
    config : CalibrateConfig

    Raises
    ------
    CalibrationError
        If no stack shows a usable bead; the message says what was tried.
    """
    rejected = [bead for d in detections for bead in d.rejected]
    if not crops:
        raise _nothing_found(detections, rejected, config)
    warnings: list[str] = []
    beads, roi_px = _fit_windows(crops, config.roi_px, rejected, warnings)
    beads = _without_clipped(beads, rejected, warnings)
    beads = sorted(beads, key=lambda b: -b.height)
    for bead in beads[config.max_beads :]:
        rejected.append(_reject(bead, f"only the {config.max_beads} brightest beads are used"))
    return BeadSelection(
        beads=tuple(beads[: config.max_beads]),
        rejected=tuple(rejected),
        roi_px=roi_px,
        warnings=tuple(warnings),
    )


def _reject(bead: BeadCrop, reason: str) -> RejectedBead:
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
            hint="Lower min_distance_px, raise filter_px if the PSF has several lobes, or record a "
            "sparser sample.",
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
    beads: Sequence[BeadCrop],
    roi_px: int,
    rejected: list[RejectedBead],
    warnings: list[str],
) -> tuple[list[BeadCrop], int]:
    """Reject beads whose window leaves the field; shrink the window if that were all."""
    halves = [bead.half_room_px for bead in beads]
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
    beads: Sequence[BeadCrop], rejected: list[RejectedBead], warnings: list[str]
) -> list[BeadCrop]:
    """Reject saturated beads, unless all are."""
    if all(bead.clipped for bead in beads):
        warnings.append(
            f"All {len(beads)} beads are saturated (flat tops): the PSF will be too wide in "
            "focus. Record them again with less light."
        )
        return list(beads)
    for bead in beads:
        if bead.clipped:
            rejected.append(_reject(bead, "it is saturated (flat top)"))
    return [bead for bead in beads if not bead.clipped]
