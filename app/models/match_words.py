"""How much simulated frames look like the own ones, quantity by quantity, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.models.verdict import Level, Verdict, worst
from decode_engine.analysis.frame_statistics import FrameStatistics
from decode_engine.analysis.simulation_match import Typical, background_levels, refine
from decode_engine.contract.configs import SimulationConfig

__all__ = [
    "QUANTITIES",
    "Change",
    "Histograms",
    "Quantity",
    "changes",
    "histogram",
    "histograms",
    "match",
    "summary",
]

Histograms: TypeAlias = dict[
    str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Something that is compared by histograms."""

    name: str
    title: str
    label: str
    unit: str


QUANTITIES = (
    Quantity(name="pixels", title="Pixel brightness", label="pixel", unit="photons"),
    Quantity(name="background", title="Background", label="background", unit="photons/px"),
    Quantity(name="brightness", title="Spot brightness", label="light of a spot", unit="photons"),
    Quantity(name="number", title="Spots in a frame", label="spots in a frame", unit="per µm²"),
    Quantity(name="width", title="Spot width", label="root mean square radius", unit="nm"),
)  # fmt: skip

_BINS = 40
_FEW_SPOTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A proposed change of a setting."""

    field: str
    before: float
    after: float


def match(
    own: FrameStatistics, simulated: FrameStatistics, typical: Typical, config: SimulationConfig
) -> list[Verdict]:
    """Compare quantity by quantity.

    Parameters
    ----------
    own, simulated : FrameStatistics
    typical : Typical
        What ``simulated`` was made with: the middle of the ranges of ``config``.
    config : SimulationConfig
    """
    if len(own.spot_photons) < _FEW_SPOTS:
        few = Verdict(
            level="doubt",
            title="Spots",
            text=f"Only {len(own.spot_photons)} spots stand out in the frames looked at, too few "
            "to compare. Choose another region or other frames on the Movie page, and check the "
            "camera's values.",
        )
        return [few, _background(own, simulated, typical, config)]
    estimate = refine(own, simulated, typical)
    return [
        _background(own, simulated, typical, config),
        _number(own, simulated, typical, config),
        _brightness(own, simulated, typical),
        _width(own, simulated),
        _duration(own, simulated, typical, estimate),
        _pixels(own, simulated),
    ]


def histogram(
    name: str, own: FrameStatistics, simulated: FrameStatistics | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return common edges and the counts of both; the simulated ones add up to as many."""
    mine = _values(name, own)
    other = _values(name, simulated) if simulated is not None else np.empty(0)
    both = np.concatenate([mine, other])
    if not len(both):
        return np.array([0.0, 1.0]), np.zeros(1), np.zeros(1)
    low, high = np.quantile(both, [0.001, 0.995])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    counts = np.histogram(mine, edges)[0].astype(float)
    others = np.histogram(other, edges)[0].astype(float)
    if len(other) and len(mine):
        others *= len(mine) / len(other)
    return edges, counts, others


def histograms(own: FrameStatistics, simulated: FrameStatistics | None) -> Histograms:
    """Return the `histogram` of each quantity, by its name."""
    return {quantity.name: histogram(quantity.name, own, simulated) for quantity in QUANTITIES}


def changes(before: SimulationConfig, after: SimulationConfig) -> list[Change]:
    """List the numbers that differ."""
    found = []
    for field in type(before).model_fields:
        a, b = getattr(before, field), getattr(after, field)
        if isinstance(a, float) and isinstance(b, float) and a != b:
            found.append(Change(field=field, before=a, after=b))
    return found


def _values(name: str, statistics: FrameStatistics) -> NDArray[np.float64]:
    values = {
        "pixels": statistics.pixel_photons,
        "background": statistics.background,
        "brightness": statistics.spot_photons,
        "number": statistics.spots_per_um2,
        "width": statistics.spot_width_nm,
    }[name].astype(np.float64)
    return values[np.isfinite(values)]


def _compared(ratio: float, words: tuple[str, str, str]) -> str:
    """Say a ratio: "about 30 % brighter than", "2.5 times as bright as"."""
    plain, more, less = words
    if ratio >= 2:
        return f"{ratio:.1f} times as {plain} as"
    return f"about {abs(ratio - 1) * 100:.0f} % {more if ratio > 1 else less} than"


def _number_words(value: float) -> str:
    """Return a number with two digits that count, never as 4e+03."""
    digits = 1 - math.floor(math.log10(max(value, 1e-9)))
    return f"{round(value, digits):,g}"


def _level(ratio: float, fine: float, doubtful: float) -> Level:
    """Judge a ratio by its distance from 1 on a logarithmic scale."""
    if not (ratio > 0 and math.isfinite(ratio)):
        return "none"
    distance = abs(math.log(ratio))
    if distance <= math.log(1 + fine):
        return "ok"
    return "doubt" if distance <= math.log(1 + doubtful) else "bad"


def _in_range(value: float, low: float, high: float) -> Level:
    # What is measured is not surer than this.
    if 0.85 * low <= value <= 1.15 * high:
        return "ok"
    return "doubt" if 0.6 * low <= value <= 1.6 * high else "bad"


def _background(
    own: FrameStatistics, simulated: FrameStatistics, typical: Typical, config: SimulationConfig
) -> Verdict:
    dark, middle, bright = background_levels(own, simulated, typical)
    low, high = config.background_min, config.background_max
    levels = {_in_range(value, low, high) for value in (dark, middle, bright)}
    level = worst(levels)
    text = (
        f"Your frames have about {middle:.3g} photons per pixel ({dark:.3g} to "
        f"{bright:.3g}); simulated are {low:g} to {high:g}."
    )
    if level != "ok":
        text += ' Raise "Background, highest".' if bright > high else ' Lower "Background, lowest".'
    return Verdict(level=level, title="Background", text=text)


def _number(
    own: FrameStatistics, simulated: FrameStatistics, typical: Typical, config: SimulationConfig
) -> Verdict:
    theirs = float(simulated.spots_per_um2.mean())
    if theirs <= 0:
        text = "No spots stand out in the simulated frames: they are too dim or too few."
        return Verdict(level="bad", title="Number", text=text)
    density = typical.density_per_um2 * float(own.spots_per_um2.mean()) / theirs
    low, high = config.density_min_per_um2, config.density_max_per_um2
    level = _in_range(density, low, high)
    text = (
        f"About {density:.2g} molecules per µm² are on in your frames; simulated are {low:g} to "
        f"{high:g}."
    )
    if level != "ok":
        text += ' Raise "Density, highest".' if density > high else ' Lower "Density, lowest".'
    return Verdict(level=level, title="Number", text=text)


def _brightness(own: FrameStatistics, simulated: FrameStatistics, typical: Typical) -> Verdict:
    if not len(simulated.spot_photons):
        return Verdict(level="none", title="Brightness", text="No simulated spot stands out.")
    ratio = float(np.median(own.spot_photons) / np.median(simulated.spot_photons))
    level = _level(ratio, 0.15, 0.5)
    if level == "ok":
        text = "Your molecules are as bright as the simulated ones."
    else:
        verb = "raise" if ratio > 1 else "lower"
        words = _compared(ratio, ("bright", "brighter", "dimmer"))
        text = (
            f"Your molecules are {words} the simulated ones: {verb} "
            f'"Photons, mean" to about {_number_words(typical.flux_mean * ratio)}.'
        )
    return Verdict(level=level, title="Brightness", text=text)


def _width(own: FrameStatistics, simulated: FrameStatistics) -> Verdict:
    mine, theirs = _values("width", own), _values("width", simulated)
    if not len(mine) or not len(theirs):
        return Verdict(level="none", title="Width", text="Too few bright spots to compare widths.")
    ratio = float(np.median(mine) / np.median(theirs))
    level = _level(ratio, 0.08, 0.2)
    if level == "ok":
        text = "Your spots are as wide as the simulated ones."
    else:
        words = _compared(ratio, ("wide", "wider", "narrower"))
        text = (
            f"Your spots are {words} the simulated ones: check the calibration, the pixel size "
            "and the height range."
        )
    return Verdict(level=level, title="Width", text=text)


def _duration(
    own: FrameStatistics, simulated: FrameStatistics, typical: Typical, estimate: Typical
) -> Verdict:
    if not (math.isfinite(own.persistence) and math.isfinite(simulated.persistence)):
        return Verdict(level="none", title="On-time", text="Too few spots to tell the on-time.")
    ratio = estimate.lifetime_frames / typical.lifetime_frames
    level = _level(ratio, 0.3, 1.0)
    if level == "ok":
        text = "Your molecules stay on as long as the simulated ones."
    else:
        text = (
            f"Your molecules stay on for about {estimate.lifetime_frames:.2g} frames, the "
            f"simulated ones for {typical.lifetime_frames:g}."
        )
    return Verdict(level=level, title="On-time", text=text)


def _pixels(own: FrameStatistics, simulated: FrameStatistics) -> Verdict:
    """Compare the brightest hundredth of the pixels, above the median."""
    mine, theirs = (
        float(np.quantile(s.pixel_photons, 0.99) - np.median(s.pixel_photons))
        for s in (own, simulated)
    )
    ratio = mine / theirs if theirs > 0 else math.inf
    level = _level(ratio, 0.25, 0.8)
    if level == "ok":
        text = "The brightest pixels are alike."
    else:
        side = "brighter" if ratio > 1 else "darker"
        text = f"Your brightest pixels are {side} ({mine:.3g} above the middle, not {theirs:.3g})."
    return Verdict(level=level, title="Pixels", text=text)


def summary(matches: Sequence[Verdict]) -> str:
    """Say in one line how many quantities agree."""
    good = sum(m.level == "ok" for m in matches)
    judged = sum(m.level != "none" for m in matches)
    return f"{good} of {judged} quantities agree." if judged else ""
