"""Background that varies over the field and drifts with time.

One Gaussian random number gives the mean level of a sample and a lattice of them its spatial
pattern (smooth lattice noise). Both follow a stationary AR(1) process (an Ornstein-Uhlenbeck
process at whole frames) with the correlation ``exp(-1 / background_correlation_frames)`` from
frame to frame, and are turned into uniform numbers by the normal distribution function:

``b(t, x, y) = (min + (max - min) * Phi(g_t)) * (1 + variation * (2 * Phi(n_t(x, y)) - 1))``

So the level is uniform in [min, max] at every time, the pattern is uniform in +-variation at
every pixel (standard deviation ``variation / sqrt(3)``), and with ``variation < 1`` the
background is never negative.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from decode_engine.contract.configs import SimulationConfig
from decode_engine.simulation import draws

__all__ = ["BackgroundProcess"]


class BackgroundProcess:
    """Background of independent samples, window after window.

    Parameters
    ----------
    config : SimulationConfig
    size : tuple of int
        Number of samples, height and width in pixels.
    generator : torch.Generator
        Draws the state at the beginning and the lattice's position.
    device : torch.device or str
    """

    def __init__(
        self,
        config: SimulationConfig,
        size: tuple[int, int, int],
        generator: torch.Generator,
        device: torch.device | str,
    ) -> None:
        self._config = config
        self._device = torch.device(device)
        n, height_px, width_px = size
        phase = draws.uniform((n, 2), generator, self._device)
        scale_px = config.background_scale_px
        self._along_y = _lattice_weights(phase[:, 0], height_px, scale_px)  # (B, H, Ly)
        self._along_x = _lattice_weights(phase[:, 1], width_px, scale_px)  # (B, W, Lx)
        nodes = self._along_y.shape[2] * self._along_x.shape[2]
        # One row of numbers per sample: the level first, then the lattice.
        self._state = draws.normal((n, 1 + nodes), generator, self._device)
        self._begun = False

    def advance(self, n_frames: int, generator: torch.Generator) -> Tensor:
        """Return the (B, n_frames, H, W) float32 background of the next frames, in photons."""
        states = self._states(n_frames, generator)  # (B, T, 1 + Ly * Lx)
        low, high = self._config.background_min, self._config.background_max
        level = low + (high - low) * _uniform(states[..., :1, None])
        n_y, n_x = self._along_y.shape[2], self._along_x.shape[2]
        lattice = states[..., 1:].reshape(*states.shape[:2], n_y, n_x)
        pattern = self._along_y[:, None] @ lattice @ self._along_x[:, None].transpose(2, 3)
        variation = self._config.background_variation
        relative = 1.0 - variation + 2.0 * variation * _uniform(pattern)
        return level * relative

    def _states(self, n_frames: int, generator: torch.Generator) -> Tensor:
        keep = math.exp(-1.0 / self._config.background_correlation_frames)
        renew = math.sqrt(-math.expm1(-2.0 / self._config.background_correlation_frames))
        shocks = draws.normal((n_frames, *self._state.shape), generator, self._device)
        states = []
        for shock in shocks:
            if self._begun:
                self._state = keep * self._state + renew * shock
            self._begun = True
            states.append(self._state)
        return torch.stack(states, dim=1)


def _uniform(normal: Tensor) -> Tensor:
    """Turn standard normal numbers into uniform ones in [0, 1]."""
    numbers: Tensor = torch.special.ndtr(normal)
    return numbers


def _lattice_weights(phase: Tensor, n_px: int, scale_px: float) -> Tensor:
    """Spread lattice nodes ``scale_px`` apart over pixels, with unit variance everywhere.

    Each pixel mixes its four nearest nodes by the uniform cubic B-spline (de Boor 1978), whose
    bell shape hides the lattice: the pattern's correlation is close to a Gaussian of the
    standard deviation ``0.82 * scale_px`` and 0 beyond ``4 * scale_px``. The weights of a pixel
    are divided by their norm, so that independent unit nodes give unit pixels.

    Parameters
    ----------
    phase : (B,) float32
        Position of the first pixel between two nodes, in [0, 1).

    Returns
    -------
    (B, n_px, n_nodes) float32
    """
    position = phase[:, None] + torch.arange(n_px, device=phase.device) / scale_px
    n_nodes = math.floor((n_px - 1) / scale_px + 1.0) + 4
    left = position.floor()
    t = position - left
    bell = torch.stack(
        [(1 - t) ** 3, 4 + t**2 * (3 * t - 6), 1 + 3 * t * (1 + t * (1 - t)), t**3], dim=-1
    )
    bell = bell / torch.linalg.vector_norm(bell, dim=-1, keepdim=True)
    columns = left.long()[..., None] + torch.arange(4, device=phase.device)
    weights = torch.zeros(*position.shape, n_nodes, device=phase.device)
    return weights.scatter_(2, columns, bell)
