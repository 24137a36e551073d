"""How the Explore page draws: what is coloured, between which values, how bright; without Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.models.explore_view import ColorScale
from decode_engine.analysis.view_style import BRIGHTNESS_MAPS, Z_MAPS, Style, color_bar
from decode_engine.contract.configs import RenderConfig
from decode_engine.domain.localizations import Localizations

__all__ = [
    "COLOR_SOURCES",
    "ColorBy",
    "ColorSource",
    "Drawing",
    "Look",
    "available_sources",
    "color_scale",
    "look_from_config",
    "look_to_config",
    "maps_for",
    "robust_range",
    "style_of",
]

ColorBy = Literal["z", "photons", "sigma", "frame", "none"]
_SAMPLE = 200_000
Drawing = Literal["auto", "histogram", "gaussian"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorSource:
    """A quantity that can be the colour: names for people, renderer and table, tooltip."""

    title: str
    label: str
    style: str
    column: str
    tip: str


COLOR_SOURCES: dict[ColorBy, ColorSource] = {
    "z": ColorSource(
        title="Height z",
        label="z (nm)",
        style="z",
        column="z_nm",
        tip="Height above the focus, in nm.",
    ),
    "photons": ColorSource(
        title="Photons",
        label="photons",
        style="photons",
        column="photons",
        tip="How many photons were seen of the molecule.",
    ),
    "sigma": ColorSource(
        title="Precision of x",
        label="precision of x (nm)",
        style="sigma_x_nm",
        column="sigma_x_nm",
        tip="How well x is known (standard deviation), in nm; y is usually alike.",
    ),
    "frame": ColorSource(
        title="Time",
        label="frame",
        style="frame",
        column="frame",
        tip="Frame of the movie; drift shows as a shift of colours.",
    ),
    "none": ColorSource(
        title="Density only",
        label="",
        style="none",
        column="",
        tip="Brightness alone says how many molecules there are.",
    ),
}


def maps_for(color_by: ColorBy) -> tuple[str, ...]:
    """Return the colour maps to offer; the renderer makes each legible for every eye."""
    return BRIGHTNESS_MAPS if color_by == "none" else Z_MAPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All choices about the picture.

    Parameters
    ----------
    color_by : ColorBy
        What the colour says.
    colormap : str
        Name of the map.
    low, high : float or None, unit of the quantity
        Values of the first and last colour; None = chosen from the data.
    drawing : Drawing
        "auto": quick dots while moving, then Gaussians as wide as the uncertainty.
    sigma_min_nm : float, nm
        Smallest width of a drawn Gaussian.
    brightness : float
        Factor on top of the contrast that was chosen.
    gamma : float
        Exponent of the brightness; below 1 lifts what is dim.
    """

    color_by: ColorBy = "z"
    colormap: str = "viridis"
    low: float | None = None
    high: float | None = None
    drawing: Drawing = "auto"
    sigma_min_nm: float = 3.0
    brightness: float = 1.0
    gamma: float = 0.7

    def colored_by(self, color_by: ColorBy) -> Look:
        """Return the look with another quantity, its range open and a map that suits it."""
        maps = maps_for(color_by)
        suits = (self.color_by == "none") == (color_by == "none") and self.colormap in maps
        name = self.colormap if suits else maps[0]
        return replace(self, color_by=color_by, colormap=name, low=None, high=None)


def available_sources(table: Localizations) -> tuple[ColorBy, ...]:
    """Return the quantities that the table has, and "none"."""
    columns = table.columns()
    found = [
        key
        for key, source in COLOR_SOURCES.items()
        if not source.column
        or (source.column in columns and bool(np.isfinite(columns[source.column]).any()))
    ]
    return tuple(found)


def style_of(look: Look, auto_range: tuple[float, float]) -> Style:
    """Return the renderer's style; the range from the data fills the ends that are open."""
    low = auto_range[0] if look.low is None else look.low
    high = auto_range[1] if look.high is None else look.high
    if low >= high:  # one end was typed beyond the other, which came from the data
        low, high = (high - 1.0, high) if look.low is None else (low, low + 1.0)
    return Style(
        color=COLOR_SOURCES[look.color_by].style,
        z_min_nm=low,
        z_max_nm=high,
        colormap=look.colormap,
        mode="histogram" if look.drawing == "histogram" else "gaussian",
        sigma_min_nm=look.sigma_min_nm,
    )


def color_scale(style: Style) -> ColorScale | None:
    """Return what the colours mean, to be drawn as a bar; None where they mean brightness."""
    source = next((s for s in COLOR_SOURCES.values() if s.style == style.color), None)
    if source is None or not source.label:
        return None
    colors = tuple((int(r), int(g), int(b)) for r, g, b in color_bar(style, 64))
    return ColorScale(colors=colors, low=style.z_min_nm, high=style.z_max_nm, label=source.label)


def robust_range(values: NDArray[np.generic]) -> tuple[float, float]:
    """Return round limits around the middle 98 % of the values, from an even sample."""
    sample = values[:: max(1, values.size // _SAMPLE)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(sample, [1.0, 99.0]))
    if high <= low:
        return low - 0.5, low + 0.5
    unit = 10.0 ** math.floor(math.log10((high - low) / 10.0))
    return math.floor(low / unit) * unit, math.ceil(high / unit) * unit


def look_from_config(config: RenderConfig, look: Look) -> Look:
    """Return the look with what the project remembers of it."""
    color_by: ColorBy = look.color_by
    if config.color == "z":
        color_by = "z"
    maps = maps_for(color_by)
    changed = look.colored_by(color_by) if color_by != look.color_by else look
    return replace(
        changed,
        colormap=config.colormap if config.colormap in maps else changed.colormap,
        low=config.z_min_nm if color_by == "z" else changed.low,
        high=config.z_max_nm if color_by == "z" else changed.high,
        sigma_min_nm=config.sigma_min_nm,
        gamma=config.gamma,
    )


def look_to_config(look: Look, config: RenderConfig) -> RenderConfig:
    """Return the project's settings of drawing with this look.

    They know colour by z or none; other quantities only live as long as the window.
    """
    by_z = look.color_by == "z"
    return config.model_copy(
        update={
            "color": "z" if by_z else "none",
            "mode": "histogram" if look.drawing == "histogram" else "gaussian",
            "colormap": look.colormap if look.color_by in ("z", "none") else None,
            "z_min_nm": look.low if by_z else config.z_min_nm,
            "z_max_nm": look.high if by_z else config.z_max_nm,
            "sigma_min_nm": look.sigma_min_nm,
            "gamma": look.gamma,
        }
    )
