"""Averaged weights: what is validated, kept and shipped."""

from __future__ import annotations

import copy

import torch

from decode_engine.network.base import LocalizationNetwork

__all__ = ["WeightAverage"]


class WeightAverage:
    """Exponential moving average of a network's weights (Polyak & Juditsky 1992).

    ``average <- d * average + (1 - d) * weights`` with ``d = min(decay, (1 + n) / (10 + n))``
    after n updates, so that the random start is forgotten quickly.

    Parameters
    ----------
    network : LocalizationNetwork
        The network in training; a copy of it holds the averages.
    decay : float
    """

    def __init__(self, network: LocalizationNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: LocalizationNetwork, updates: int) -> None:
        """Take the weights after optimiser step number ``updates`` (from 0) into the average."""
        decay = min(self._decay, (1 + updates) / (10 + updates))
        averages: list[torch.Tensor] = list(self.network.parameters())
        weights: list[torch.Tensor] = list(network.parameters())
        torch._foreach_lerp_(averages, weights, 1.0 - decay)

    @torch.no_grad()
    def reset(self, network: LocalizationNetwork) -> None:
        """Start again from the weights of ``network``."""
        for average, weight in zip(self.network.parameters(), network.parameters(), strict=True):
            average.copy_(weight)
