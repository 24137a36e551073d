"""What a network's sigmas and probabilities really mean, as measured on held-out simulation.

A network's own sigma is honest on average over its training, not under each condition: it knows
little of how crowded the place is, and wrong neighbours make errors larger than it says. The
correction is log-linear in what is known of a localization, so that it needs a handful of
numbers, extrapolates gently, and never changes an order by much:

    log(true sigma / sigma) = theta . features,    logit(true probability) = theta . features

See `training.recalibration` for how theta is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from decode_engine.errors import ModelError

__all__ = [
    "LOWEST_PROBABILITY",
    "Peaks",
    "Surroundings",
    "Uncertainty",
    "features",
    "surroundings",
]

AXES = ("x", "y", "z", "photons")
N_FEATURES = 7
# Peaks that the network finds less probable are left out, whatever the correction would say.
LOWEST_PROBABILITY = 0.15
CELL_PX = 4  # neighbours are counted in 3 x 3 cells of this size
_SCALE_LIMITS = (0.5, 3.0)
_LOGIT_LIMIT = 8.0


class Peaks(NamedTuple):
    """What the correction needs of localizations, (P,) each.

    Attributes
    ----------
    image, row, column : int64
        Place of the peak's pixel in the batch and in the whole frame.
    photons, background, probability : float
        In photons, photons per pixel, and 0..1.
    sigma_x, sigma_y : float, px
    sigma_z : float, nm
        NaN in two dimensions.
    sigma_photons : float
    """

    image: Tensor
    row: Tensor
    column: Tensor
    photons: Tensor
    background: Tensor
    probability: Tensor
    sigma_x: Tensor
    sigma_y: Tensor
    sigma_z: Tensor
    sigma_photons: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """Coefficients of the corrections; an empty tuple corrects nothing.

    Parameters
    ----------
    scales : mapping
        For x, y, z and photons: `N_FEATURES` coefficients each.
    detection : tuple of float
        `N_FEATURES` coefficients of the logit.
    """

    scales: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    detection: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, values in {**self.scales, "detection": self.detection}.items():
            if len(values) not in (0, N_FEATURES) or name not in (*AXES, "detection"):
                raise ModelError(
                    f"The model's correction of {name!r} has {len(values)} numbers.",
                    hint="The model was written by another version; train it again or update.",
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, list[float]]) -> Uncertainty:
        """Build from `to_dict`."""
        rows = {name: tuple(map(float, row)) for name, row in values.items()}
        return cls(detection=rows.pop("detection", ()), scales=rows)

    def to_dict(self) -> dict[str, list[float]]:
        """Return the coefficients by name, for JSON."""
        rows = {**self.scales, "detection": self.detection}
        return {name: list(row) for name, row in rows.items() if row}

    def correct(self, peaks: Peaks) -> Peaks:
        """Return the localizations with corrected sigmas and probability."""
        if not len(peaks.image):
            return peaks
        around = surroundings(peaks)
        corrected: dict[str, Tensor] = {}
        for axis, theta in self.scales.items():
            if theta:
                sigma = getattr(peaks, f"sigma_{axis}")
                log_scale = features(peaks, axis, around) @ sigma.new_tensor(theta)
                corrected[f"sigma_{axis}"] = sigma * log_scale.exp().clamp(*_SCALE_LIMITS)
        if self.detection:
            logit = features(peaks, "x", around) @ peaks.probability.new_tensor(self.detection)
            corrected["probability"] = logit.sigmoid()
        return peaks._replace(**corrected)


class Surroundings(NamedTuple):
    """What lies around each peak, (P,) float.

    Attributes
    ----------
    crowd
        Number of other peaks in the 3 x 3 cells around.
    prominence
        Photons relative to the brightest peak there, itself included: at most 1. One emitter
        that is found twice has a dim shadow next to it.
    """

    crowd: Tensor
    prominence: Tensor


def features(peaks: Peaks, axis: str, around: Surroundings) -> Tensor:
    """Return the (P, `N_FEATURES`) numbers that a correction is linear in.

    Parameters
    ----------
    axis : str
        Whose sigma is one of them.
    around : Surroundings
    """
    size = {"x": 0.2, "y": 0.2, "z": 50.0, "photons": 500.0}[axis]  # numbers near 0 are good
    logit = torch.logit(peaks.probability, eps=1e-6).clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
    return torch.stack(
        (
            torch.ones_like(peaks.photons),
            (getattr(peaks, f"sigma_{axis}") / size).clamp_min(1e-6).log(),
            (peaks.photons / 1000.0).clamp_min(1e-3).log(),
            logit / 4.0,
            torch.log1p(around.crowd),
            ((peaks.background + 1.0) / 30.0).clamp_min(1e-3).log(),
            around.prominence.clamp_min(0.02).log(),
        ),
        dim=1,
    )


def surroundings(peaks: Peaks) -> Surroundings:
    """Look around each peak.

    Cells lie at fixed places of the frame, so that tiles see what the whole frame shows.
    """
    row, column = peaks.row // CELL_PX, peaks.column // CELL_PX
    row, column = row - row.min() + 1, column - column.min() + 1
    shape = (int(peaks.image.max()) + 1, int(row.max()) + 2, int(column.max()) + 2)
    cell = (peaks.image * shape[1] + row) * shape[2] + column
    n_cells = shape[0] * shape[1] * shape[2]
    number = torch.bincount(cell, minlength=n_cells).to(peaks.photons.dtype).view(shape)
    photons = peaks.photons.clamp_min(1e-3)
    brightest = photons.new_zeros(n_cells).scatter_reduce(0, cell, photons, "amax").view(shape)
    place = (peaks.image, row, column)
    near = functional.avg_pool2d(number[:, None], 3, stride=1, padding=1)[:, 0] * 9.0
    top = functional.max_pool2d(brightest[:, None], 3, stride=1, padding=1)[:, 0]
    return Surroundings(crowd=near[place].round() - 1.0, prominence=photons / top[place])
