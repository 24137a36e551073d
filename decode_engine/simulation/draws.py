"""Random tensors drawn from an explicit generator.

Numbers are drawn on the generator's own device and then moved, so that a CPU generator can
drive a simulation on any device: that is how a device without a Poisson or Gamma sampler is
served, and how the same seed gives the same frames on different hardware.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["exponential", "gamma", "integers", "normal", "poisson", "uniform"]


def uniform(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str
) -> Tensor:
    """Return float32 numbers uniform in [0, 1)."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def normal(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str
) -> Tensor:
    """Return float32 standard normal numbers."""
    return torch.randn(shape, generator=generator, device=generator.device).to(device)


def exponential(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str
) -> Tensor:
    """Return float32 exponential numbers with the mean 1."""
    values = torch.empty(shape, device=generator.device)
    return values.exponential_(generator=generator).to(device)


def integers(
    high: int, shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str
) -> Tensor:
    """Return int64 numbers uniform in 0 .. high - 1."""
    return torch.randint(high, shape, generator=generator, device=generator.device).to(device)


def poisson(mean: Tensor, generator: torch.Generator) -> Tensor:
    """Return Poisson numbers (as floats) with the given means."""
    return torch.poisson(mean.to(generator.device), generator=generator).to(mean.device)


def gamma(shape_parameter: Tensor, generator: torch.Generator) -> Tensor:
    """Return Gamma numbers with the given shape parameters and scale 1; 0 where it is 0.

    Marsaglia & Tsang 2000 (doi 10.1145/358407.358414) as torch implements it: exact, and one
    of the few samplers that take a generator on every device.
    """
    on_source = shape_parameter.to(generator.device)
    drawn = torch._standard_gamma(on_source.clamp_min(1e-3), generator=generator)
    return torch.where(on_source > 0, drawn, 0.0).to(shape_parameter.device)
