"""Fit windows cut out of frames around candidates, whole also at the border."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from decode_engine.errors import ConfigError
from decode_engine.psf.detection import Candidates

__all__ = ["Windows", "cut_windows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Square windows of K candidates.

    Attributes
    ----------
    rois : (K, R, R) float, photons
    center_x_px, center_y_px : (K,) int64
        Central pixel of the window in the frame.
    offset_x_px, offset_y_px : (K,) float
        The candidate relative to the window's centre; 0 except at a border.
    shifted : (K,) bool
        The border of the frame pushed the window off its candidate.
    """

    rois: Tensor
    center_x_px: Tensor
    center_y_px: Tensor
    offset_x_px: Tensor
    offset_y_px: Tensor
    shifted: Tensor

    def cut_map(self, values: Tensor) -> Tensor:
        """Return the same pixels of a per-pixel map (H, W) of the camera, (K, R, R)."""
        rows, columns = self._pixels()
        return values[rows[:, :, None], columns[:, None, :]]

    def cut_frames(self, frames: Tensor, frame: Tensor) -> Tensor:
        """Return the same pixels of other frames (N, H, W), e.g. before conversion."""
        rows, columns = self._pixels()
        return frames[frame[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _pixels(self) -> tuple[Tensor, Tensor]:
        return _pixels(self.center_x_px, self.center_y_px, int(self.rois.shape[1]))


def cut_windows(frames: Tensor, candidates: Candidates, roi_px: int) -> Windows:
    """Cut a window around each candidate; at a border it is moved to lie inside the frame.

    Parameters
    ----------
    frames : (N, H, W) float, photons
    candidates : Candidates
        Of these frames.
    roi_px : int
        Width of the windows (odd).

    Raises
    ------
    ConfigError
        If the frame is smaller than a window.
    """
    height, width = frames.shape[1:]
    if roi_px % 2 == 0 or roi_px > min(height, width):
        raise ConfigError(
            f"A fit window of {roi_px} px does not suit frames of {width} x {height} px.",
            hint="Choose an odd width, not larger than the frame.",
        )
    half = roi_px // 2
    center_x = candidates.x_px.clamp(half, width - 1 - half)
    center_y = candidates.y_px.clamp(half, height - 1 - half)
    rows, columns = _pixels(center_x, center_y, roi_px)
    offset_x, offset_y = candidates.x_px - center_x, candidates.y_px - center_y
    return Windows(
        rois=frames[candidates.frame[:, None, None], rows[:, :, None], columns[:, None, :]],
        center_x_px=center_x,
        center_y_px=center_y,
        offset_x_px=offset_x.to(frames.dtype),
        offset_y_px=offset_y.to(frames.dtype),
        shifted=(offset_x != 0) | (offset_y != 0),
    )


def _pixels(center_x: Tensor, center_y: Tensor, roi_px: int) -> tuple[Tensor, Tensor]:
    """Return rows and columns of windows, both (K, R)."""
    steps = torch.arange(roi_px, device=center_x.device) - roi_px // 2
    return center_y[:, None] + steps, center_x[:, None] + steps
