"""A bead with its surroundings, cut out so that the field need not stay in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decode_engine.psf.beads.detection import BeadCandidate
from decode_engine.psf.beads.stacks import BeadStack

__all__ = ["BeadCrop", "cut_bead"]

# Registration may move a window by some pixels and a spline needs samples around them.
_CUT_MARGIN_PX = 4
# Furthest that the field's last sample may be repeated.
_REPEATED_EDGE_PX = 0.5
_CLIPPED_VOXELS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BeadCrop:
    """A bead and what surrounds it in its stack.

    Attributes
    ----------
    stack : int
        Index of the stack.
    x_px, y_px : float
        Where it was found in the field.
    height : float
        Brightness in the detection's projection, photons.
    photons : (Z, h, w) float32, photons
    y0, x0 : int
        Row and column of the field at which ``photons`` begins.
    half_room_px : int
        Half-width of the widest square window around the bead inside its field.
    clipped : bool
        Whether its top is flat from saturation.
    """

    stack: int
    x_px: float
    y_px: float
    height: float
    photons: NDArray[np.float32]
    y0: int
    x0: int
    half_room_px: int
    clipped: bool


def cut_bead(stack: BeadStack, bead: BeadCandidate, roi_px: int) -> BeadCrop:
    """Cut a bead out of its stack, with a margin where the field has one."""
    reach = roi_px // 2 + _CUT_MARGIN_PX
    row, col = round(bead.y_px), round(bead.x_px)
    y0, x0 = max(row - reach, 0), max(col - reach, 0)
    photons = stack.photons[:, y0 : row + reach + 1, x0 : col + reach + 1].copy()
    height, width = stack.photons.shape[1:]
    room = min(bead.x_px, bead.y_px, width - 1 - bead.x_px, height - 1 - bead.y_px)
    limit = stack.clip_photons
    return BeadCrop(
        stack=stack.index,
        x_px=bead.x_px,
        y_px=bead.y_px,
        height=bead.height,
        photons=photons,
        y0=y0,
        x0=x0,
        half_room_px=int(np.floor(room + _REPEATED_EDGE_PX)),
        clipped=limit is not None and int((photons >= limit).sum()) >= _CLIPPED_VOXELS,
    )
