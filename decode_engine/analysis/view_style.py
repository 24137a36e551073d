"""How a view is coloured, the sums it consists of, and how they become pixels to look at.

Each pixel is the mean colour of its localizations, as bright as their density. Brightness is
density *per area*, times a gain that the caller keeps, so that neither panning nor zooming nor a
filter changes the contrast of what stays the same: ``min(density * gain, 1) ** gamma``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decode_engine.analysis import render_kernels as kernels
from decode_engine.analysis.drawing import Palette, n_threads, run_ordered
from decode_engine.analysis.hues import color_table, hue_scale
from decode_engine.analysis.image_grid import ImageGrid
from decode_engine.domain.table import FloatArray

__all__ = [
    "BRIGHTNESS_MAPS",
    "Z_MAPS",
    "Rendered",
    "Style",
    "color_bar",
    "suggest_gain",
    "tone",
]

Rgb: TypeAlias = NDArray[np.uint8]

# Names to offer; ``hue_scale`` makes each as legible on black for colour-blind eyes as it can be.
Z_MAPS: tuple[str, ...] = ("viridis", "cividis", "plasma", "turbo", "cool")
BRIGHTNESS_MAPS: tuple[str, ...] = ("inferno", "gray", "magma", "viridis", "cividis")

_NO_VALUE = 0.6  # grey of localizations whose colour column is NaN
_FAINT = 0.1  # of the mean of the filled pixels: below is the tail of a Gaussian, not signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How localizations are drawn.

    Parameters
    ----------
    color : str
        ``"z"``, ``"none"`` (brightness only) or the name of a column, such as ``"frame"``.
    z_min_nm, z_max_nm : float, unit of the column (nm for z)
        Values of the first and the last colour.
    colormap : str
        One of `Z_MAPS`, or of `BRIGHTNESS_MAPS` where the colour is ``"none"``; any name known
        to the `cmap` library works.
    mode : {"gaussian", "histogram"}
        Gaussians as wide as sigma, or counts.
    sigma_min_nm, sigma_max_nm : float, nm
        Narrower and wider Gaussians are drawn that wide.
    """

    color: str = "z"
    z_min_nm: float = -500.0
    z_max_nm: float = 500.0
    colormap: str = "viridis"
    mode: Literal["gaussian", "histogram"] = "gaussian"
    sigma_min_nm: float = 3.0
    sigma_max_nm: float = 100.0

    @property
    def column(self) -> str:
        """Return the name of the column that gives the colour; empty for none."""
        return {"none": "", "z": "z_nm"}.get(self.color, self.color)

    def palette(self) -> Palette:
        """Return what a localization adds to weight, red, green and blue (or to weight alone)."""
        if not self.column:
            return Palette.plain()
        table = np.ones((257, 4))
        table[:256, 1:] = hue_scale(self.colormap)
        table[256, 1:] = _NO_VALUE
        return Palette(
            table=table,
            low=self.z_min_nm,
            high=max(self.z_max_nm, self.z_min_nm),
            column=self.column,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Sums of a view.

    Attributes
    ----------
    view : ImageGrid
        Where the pixels lie.
    style : Style
        How it was drawn.
    sums : (height, width, 4 or 1) float32
        Weight and, with colour, red, green and blue.
    n_drawn : int
        Localizations in the view; from the pyramid, rounded.
    exact : bool
        Whether the exact pass would give the same.
    """

    view: ImageGrid
    style: Style
    sums: FloatArray
    n_drawn: int
    exact: bool

    @property
    def weight(self) -> FloatArray:
        """Return localizations in each pixel, (height, width) float32."""
        return self.sums[..., 0]

    @property
    def rgb(self) -> FloatArray:
        """Return sums of the colours, (height, width, 3) float32; white without colour."""
        if self.sums.shape[2] == 4:
            return self.sums[..., 1:]
        return np.broadcast_to(self.sums, (*self.sums.shape[:2], 3))


def suggest_gain(rendered: Rendered, quantile: float = 0.99) -> float:
    """Return the gain that draws a quantile of the filled pixels brightest (nm²).

    Empty pixels, which are most, do not count; neither do pixels that only the tail of a
    Gaussian reaches.
    """
    weight = rendered.weight
    positive = weight[weight > 0]
    area = rendered.view.pixel_size_nm**2
    if not positive.size:
        return area
    filled = positive[positive >= _FAINT * float(positive.mean(dtype=np.float64))]
    return area / float(np.quantile(filled, quantile))


def tone(rendered: Rendered, gain: float, gamma: float = 0.7) -> Rgb:
    """Make pixels to look at.

    Parameters
    ----------
    rendered : Rendered
        A view.
    gain : float, nm²
        One over the density (localizations per nm²) that is drawn brightest.
    gamma : float
        Exponent of the brightness; below 1 lifts what is faint.

    Returns
    -------
    (height, width, 3) uint8
    """
    height, width, n_channels = rendered.sums.shape
    out = np.empty((height, width, 3), np.uint8)
    scale = gain / rendered.view.pixel_size_nm**2
    flat = rendered.sums.reshape(height, width * n_channels)
    table = np.rint(255 * color_table(rendered.style.colormap)).astype(np.uint8)
    step = max(1, -(-height // n_threads()))

    def strip(first: int) -> None:
        last = min(first + step, height)
        if n_channels == 4:
            kernels.tone_colors(flat, scale, gamma, first, last, out)
        else:
            kernels.tone_brightness(flat, scale, gamma, table, first, last, out)

    jobs = (partial(strip, first) for first in range(0, height, step))
    run_ordered(jobs, lambda _: None, lambda: None)
    return out


def color_bar(style: Style, n: int = 256) -> Rgb:
    """Return the colours from ``z_min_nm`` to ``z_max_nm`` (or of brightness), (n, 3) uint8."""
    table = hue_scale(style.colormap) if style.column else color_table(style.colormap)
    entry = np.linspace(0, 255, n).round().astype(int)
    return np.asarray(np.rint(255 * table[entry]), np.uint8)
