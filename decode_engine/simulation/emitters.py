"""Blinking emitters: molecules that light up once, for an exponential time, anywhere.

The process is stationary by construction. Molecules light up as a Poisson process of rate
``r`` per frame and area and stay on for an exponential time of mean ``tau`` frames. The
exponential has no memory, so the molecules that are already on when a simulation begins are
Poisson distributed with the mean ``r * tau`` and their remaining on-time has the same
exponential distribution: no warm-up window is simulated, and nothing is truncated.

A frame of length 1 is touched by ``r * (tau + 1)`` molecules on average (those that were on
before plus those that start in it). The density of the configuration counts exactly these,
however short the overlap, hence ``r = density / (tau + 1)``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from decode_engine.contract.configs import SimulationConfig
from decode_engine.simulation import draws
from decode_engine.simulation.priors import PositionPrior

__all__ = [
    "BlinkingProcess",
    "EmitterBatch",
    "Molecules",
    "sample_flux",
    "start_rate",
]


class EmitterBatch(NamedTuple):
    """Emitters to draw, one row for each molecule and frame in which it is on.

    Attributes
    ----------
    image : (M,) int64
        Index of the image the row is drawn in.
    x_px, y_px : (M,) float32, px
        Position; (0, 0) is the centre of the image's top-left pixel.
    z_nm : (M,) float32, nm
    photons : (M,) float32, photons in this frame
    emitter_id : (M,) int64
        Number of the molecule, the same in all its frames.
    """

    image: Tensor
    x_px: Tensor
    y_px: Tensor
    z_nm: Tensor
    photons: Tensor
    emitter_id: Tensor

    def select(self, rows: Tensor | slice) -> EmitterBatch:
        """Return some rows, by a bool mask, by index or by range."""
        return EmitterBatch(*(column[rows] for column in self))

    @property
    def n_rows(self) -> int:
        """Number of rows (`len` of a named tuple is its number of columns)."""
        return int(self.image.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Molecules:
    """Molecules that are on at some time of a window, one row each, sorted by sample.

    Attributes
    ----------
    group : (K,) int64
        Sample the molecule belongs to.
    x_px, y_px : (K,) float32, px
    z_nm : (K,) float32, nm
    flux : (K,) float32, photons per full frame
    start, end : (K,) float32, frames
        On-interval, counted from the window's beginning; `end` may lie behind the window.
    emitter_id : (K,) int64
    """

    group: Tensor
    x_px: Tensor
    y_px: Tensor
    z_nm: Tensor
    flux: Tensor
    start: Tensor
    end: Tensor
    emitter_id: Tensor

    def __len__(self) -> int:
        return int(self.group.shape[0])

    def columns(self) -> dict[str, Tensor]:
        """Return the columns by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def select(self, rows: Tensor) -> Molecules:
        """Return some rows, by a bool mask or by index."""
        return Molecules(**{name: column[rows] for name, column in self.columns().items()})

    def emitters(self, n_frames: int) -> tuple[EmitterBatch, Tensor]:
        """List every frame in which each molecule is on.

        Returns
        -------
        emitters : EmitterBatch
            Image ``group * n_frames + frame``; photons are the flux times the overlap of the
            on-interval with the frame.
        molecule : (M,) int64
            Row of this table, in non-decreasing order.
        """
        first = self.start.floor().clamp(0, n_frames).long()
        behind = self.end.ceil().clamp(max=n_frames).long()
        count = (behind - first).clamp_min(0)
        molecule = torch.repeat_interleave(count)
        before = count.cumsum(0) - count
        step = torch.arange(molecule.shape[0], device=molecule.device) - before[molecule]
        frame = first[molecule] + step
        opened = torch.maximum(self.start[molecule], frame)
        closed = torch.minimum(self.end[molecule], frame + 1)
        rows = EmitterBatch(
            image=self.group[molecule] * n_frames + frame,
            x_px=self.x_px[molecule],
            y_px=self.y_px[molecule],
            z_nm=self.z_nm[molecule],
            photons=self.flux[molecule] * (closed - opened).clamp_min(0),
            emitter_id=self.emitter_id[molecule],
        )
        return rows, molecule


def start_rate(density: Tensor, lifetime_frames: float) -> Tensor:
    """Return how many molecules start per frame and area for a density of on-emitters."""
    return density / (lifetime_frames + 1.0)


def sample_flux(config: SimulationConfig, n: int, generator: torch.Generator) -> Tensor:
    """Draw photon fluxes (photons per full frame) of ``n`` molecules.

    Every distribution has the mean ``flux_mean`` and the standard deviation ``flux_std``
    before fluxes below ``flux_min`` are raised to it; the exponential one is shifted by
    ``mean - std`` for that.

    Returns
    -------
    (n,) float32 on the generator's device
    """
    mean, std, device = config.flux_mean, config.flux_std, generator.device
    kind = config.flux_distribution
    if std == 0:
        flux = torch.full((n,), mean, device=device)
    elif kind == "normal":
        flux = mean + std * draws.normal((n,), generator, device)
    elif kind == "lognormal":
        variance = math.log1p((std / mean) ** 2)
        unit = draws.normal((n,), generator, device)
        flux = torch.exp(math.log(mean) - variance / 2 + math.sqrt(variance) * unit)
    elif kind == "gamma":
        shape = torch.full((n,), (mean / std) ** 2, device=device)
        flux = draws.gamma(shape, generator) * (std**2 / mean)
    elif kind == "exponential":
        flux = mean - std + std * draws.exponential((n,), generator, device)
    else:
        half_width = math.sqrt(3.0) * std
        flux = mean + half_width * (2.0 * draws.uniform((n,), generator, device) - 1.0)
    return flux.clamp_min(config.flux_min)


class BlinkingProcess:
    """The stationary on-and-off of molecules in independent samples, window after window.

    Parameters
    ----------
    config : SimulationConfig
        Flux distribution and lifetime.
    mean_on : (G,) float32
        Mean number of emitters on in one frame of each sample (density times area).
    prior : PositionPrior
        Where molecules are.
    flux_factor : (G,) float32, optional
        By what the fluxes of a sample are multiplied.
    """

    def __init__(
        self,
        config: SimulationConfig,
        mean_on: Tensor,
        prior: PositionPrior,
        flux_factor: Tensor | None = None,
    ) -> None:
        self._config = config
        self._flux_factor = flux_factor
        self._prior = prior
        self._starts_per_frame = start_rate(mean_on, config.lifetime_frames)
        self._next_id = 0
        self._carried: Molecules | None = None

    def advance(self, n_frames: int, generator: torch.Generator) -> Molecules:
        """Return the molecules that are on at some time of the next ``n_frames`` frames."""
        carried = self._carried
        # A start before the first window stands for a molecule that is on already when it
        # begins; only its remaining on-time is needed, and that is exponential again.
        history = self._config.lifetime_frames if carried is None else 0.0
        molecules = self._light_up(n_frames, history, generator)
        if carried is not None:
            molecules = _join(carried, molecules)
        outliving = molecules.select(molecules.end > n_frames)
        self._carried = dataclasses.replace(
            outliving, start=torch.zeros_like(outliving.start), end=outliving.end - n_frames
        )
        return molecules

    def _light_up(self, n_frames: int, history: float, generator: torch.Generator) -> Molecules:
        device = self._starts_per_frame.device
        counts = draws.poisson(self._starts_per_frame * (n_frames + history), generator).long()
        group = torch.repeat_interleave(counts)
        n = int(group.shape[0])
        start = draws.uniform((n,), generator, device) * (n_frames + history) - history
        start = start.clamp_min(0)
        on_time = self._config.lifetime_frames * draws.exponential((n,), generator, device)
        position = self._prior.sample(group, generator)
        identity = torch.arange(self._next_id, self._next_id + n, device=device)
        self._next_id += n
        flux = sample_flux(self._config, n, generator).to(device)
        if self._flux_factor is not None:
            flux = (flux * self._flux_factor[group]).clamp_min(self._config.flux_min)
        return Molecules(
            group=group,
            x_px=position.x_px,
            y_px=position.y_px,
            z_nm=position.z_nm,
            flux=flux,
            start=start,
            end=start + on_time,
            emitter_id=identity,
        )


def _join(first: Molecules, second: Molecules) -> Molecules:
    """Concatenate two tables and sort the rows by sample again."""
    others = second.columns()
    both = {name: torch.cat([v, others[name]]) for name, v in first.columns().items()}
    order = torch.argsort(both["group"], stable=True)
    return Molecules(**{name: column[order] for name, column in both.items()})
