"""Colour maps as scales of hue that every eye can read on black.

When brightness says how many localizations there are, the colour may only say where they are in
z. A map of the `cmap` library becomes such a scale in three steps: each colour is made as bright
as it can be; colours that still drown in black are mixed with white; and the scale is re-spaced
so that equal steps of z are equal steps of chroma (CIELAB a*, b*) for the eye that tells them
apart least: normal, without M cones (deuteranopia) or without L cones (protanopia).
"""

from __future__ import annotations

from typing import TypeAlias

import cmap
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from decode_engine.errors import ConfigError

__all__ = ["color_table", "hue_scale"]

Real: TypeAlias = NDArray[np.float64]

_LOWEST_LIGHTNESS = 38.0  # CIE L*; lighter blue is whiter, and then looks like magenta to some
_SMOOTHING = 8.0  # entries of 256: an edge in the colours would look like an edge in z
_LEAST_STEP = 0.02  # CIELAB; keeps apart entries that some eye cannot tell apart at all

# Linear sRGB as dichromats see it: Viénot, Brettel & Mollon 1999, Color Res. Appl. 24, 243.
_EYES = (
    np.eye(3),
    np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]),
    np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]),
)
# Linear sRGB to CIE XYZ relative to its white point D65: IEC 61966-2-1.
_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.array([[0.9505], [1.0], [1.089]])


def color_table(name: str) -> Real:
    """Return a colour map as it is: (256, 3) float64 sRGB, 0 to 1.

    Raises
    ------
    ConfigError
        If there is no such map.
    """
    try:
        map_ = cmap.Colormap(name)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"There is no colour map called {name!r}.",
            hint="Choose for example viridis, inferno, plasma, cividis or turbo.",
            detail=str(error),
        ) from error
    return np.asarray(map_.lut(256)[:, :3], np.float64)


def hue_scale(name: str) -> Real:
    """Return a colour map as a scale of bright hues: (256, 3) float64 sRGB, 0 to 1."""
    table = color_table(name)
    full = table / np.maximum(table.max(axis=1, keepdims=True), 1e-6)
    linear = np.where(full <= 0.04045, full / 12.92, ((full + 0.055) / 1.055) ** 2.4)
    luminance = linear @ _TO_XYZ[1]
    lowest = ((_LOWEST_LIGHTNESS + 16.0) / 116.0) ** 3
    white = np.clip((lowest - luminance) / (1.0 - luminance + 1e-9), 0.0, 1.0)
    linear = linear + white[:, None] * (1.0 - linear)
    linear = gaussian_filter1d(linear, _SMOOTHING, axis=0, mode="nearest")
    linear = _evenly_spaced(linear)
    low = linear <= 0.0031308
    encoded = np.where(low, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.clip(encoded, 0.0, 1.0))


def _evenly_spaced(linear: Real) -> Real:
    """Resample colours (256, 3) at equal steps of the chroma that the least able eye sees."""
    steps = [np.linalg.norm(np.diff(_chroma(linear @ eye.T), axis=0), axis=1) for eye in _EYES]
    length = np.cumsum(np.concatenate([[0.0], np.min(steps, axis=0) + _LEAST_STEP]))
    entry = np.arange(linear.shape[0])
    position = np.interp(np.linspace(0.0, length[-1], linear.shape[0]), length, entry)
    return np.stack([np.interp(position, entry, channel) for channel in linear.T], axis=1)


def _chroma(linear: Real) -> Real:
    """Return CIELAB (a*, b*) of linear sRGB colours, (n, 2)."""
    xyz = np.clip(linear, 0.0, 1.0) @ _TO_XYZ.T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16.0 / 116.0)
    return np.stack([500.0 * (f[:, 0] - f[:, 1]), 200.0 * (f[:, 1] - f[:, 2])], axis=1)
