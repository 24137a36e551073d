r"""The loss of the DECODE paper (Speiser et al. 2021, doi 10.1038/s41592-021-01236-x, Methods).

For one frame with the targets :math:`t_1 \dots t_n` and the predictions :math:`p_k, \mu_k,
\sigma_k` of the pixels k the negative log-likelihood has two parts, and the background adds a
third:

count
    The number of emitters is a sum of Bernoulli variables; its Poisson-binomial distribution is
    taken as Gaussian: :math:`-\log N(n;\, \sum p_k,\, \sum p_k (1 - p_k) + \epsilon)`. It is
    applied to **every** frame with the same weight. (The authors' program multiplies it by n, so
    that false positives on empty frames cost nothing.) :math:`\epsilon` = `COUNT_VARIANCE_FLOOR`
    keeps a confident network finite.
mixture
    Each target was drawn from the mixture of all pixels: :math:`-\sum_e \log \sum_k
    \frac{p_k}{\sum_j p_j} \prod_d N(t_{ed};\, \mu_{kd}, \sigma_{kd})`, d over x, y, z, photons.
background
    :math:`\sum_k (b_k - \hat b_k)^2`.

The inner sum is taken over a window of pixels around the target: a pixel claims positions at most
1 px from its centre, so with the default radius what is left out is at least 3.5 px away from
the target, which matters only while sigma is above 1 px, that is, in the first steps. Residuals are
formed directly, never as :math:`t^2 - 2 t \mu + \mu^2`, hence need no lower bound of sigma in
single precision. The largest tensor has (targets, window pixels, 9) numbers whatever the frame
size; (B, M, pixels, 4) never exists.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from decode_engine.network.output import NetworkOutput

__all__ = [
    "COUNT_VARIANCE_FLOOR",
    "WINDOW_RADIUS_PX",
    "LossFunction",
    "LossTargets",
    "LossTerms",
    "Windows",
    "in_single",
    "network_loss",
    "pair_log_density",
    "windows",
]

COUNT_VARIANCE_FLOOR = 0.1  # one emitter too many costs at most 5 nats
WINDOW_RADIUS_PX = 4


class LossTargets(NamedTuple):
    """What the middle frames of a batch really contain, in network units.

    Attributes
    ----------
    image : (K,) int64
        Index of the emitter's frame in the batch.
    x_px, y_px : (K,) float, px
        Position in the frame; -0.5 <= x < W - 0.5.
    z, photons : (K,) float
        In the units of `NetworkOutput`.
    background : (B, H, W) float
        In the units of `NetworkOutput`.
    """

    image: Tensor
    x_px: Tensor
    y_px: Tensor
    z: Tensor
    photons: Tensor
    background: Tensor


class LossTerms(NamedTuple):
    """The three parts of the loss, each (B,): one number per frame."""

    count_nll: Tensor
    mixture_nll: Tensor
    background_error: Tensor

    def total(self, count_weight: float = 1.0, background_weight: float = 1.0) -> Tensor:
        """Return the weighted sum, averaged over the frames."""
        per_frame = (
            count_weight * self.count_nll
            + self.mixture_nll
            + background_weight * self.background_error
        )
        return per_frame.mean()


class LossFunction(Protocol):
    """Any loss of the maps of a batch against the truth."""

    def __call__(
        self, output: NetworkOutput, targets: LossTargets, *, use_z: bool = True
    ) -> LossTerms:
        """Return the terms of the loss, one number per frame each."""
        ...


class Windows(NamedTuple):
    """The pixels around each target, (K, L) each.

    Attributes
    ----------
    pixel : int64
        Of the pixel in the flattened maps (B, H, W); some pixel where ``outside``.
    outside : bool
        Whether the pixel is outside of the frame.
    to_column, to_row : float, px
        Target minus pixel centre, along columns and rows.
    """

    pixel: Tensor
    outside: Tensor
    to_column: Tensor
    to_row: Tensor


def network_loss(
    output: NetworkOutput,
    targets: LossTargets,
    *,
    use_z: bool = True,
    radius_px: int = WINDOW_RADIUS_PX,
) -> LossTerms:
    """Return the terms of the loss (formulas above), in single precision also under autocast.

    Parameters
    ----------
    output : NetworkOutput
        Maps (B, H, W).
    targets : LossTargets
    use_z : bool
        False leaves z and its sigma out (two-dimensional models).
    radius_px : int
        The inner sum runs over (2 radius + 1)^2 pixels.
    """
    with torch.autocast(output.logit.device.type, enabled=False):
        output = in_single(output)
        batch = output.logit.shape[0]
        counts = torch.bincount(targets.image, minlength=batch).to(output.logit.dtype)
        background = (output.background - targets.background).square().sum((1, 2))
        per_target = _mixture_log_likelihood(output, targets, use_z, radius_px)
        mixture = background.new_zeros(batch).index_add(0, targets.image, -per_target)
        return LossTerms(_count_term(output.logit, counts), mixture, background)


def _count_term(logit: Tensor, counts: Tensor) -> Tensor:
    """Return -log N(n; sum p, sum p (1 - p) + floor) of each frame, (B,)."""
    probability = torch.sigmoid(logit)
    expected = probability.sum((1, 2))
    # sigmoid(-l) instead of 1 - p, which is 0 in single precision beyond a logit of 17
    variance = (probability * torch.sigmoid(-logit)).sum((1, 2)) + COUNT_VARIANCE_FLOOR
    return 0.5 * ((counts - expected).square() / variance + (2 * math.pi * variance).log())


def in_single(output: NetworkOutput) -> NetworkOutput:
    """Return the maps in single precision; double stays as it is."""
    if output.logit.dtype == torch.float64:
        return output
    return NetworkOutput(*(tensor.float() for tensor in output))


def _mixture_log_likelihood(
    output: NetworkOutput, targets: LossTargets, use_z: bool, radius_px: int
) -> Tensor:
    """Return the log-likelihood of each target, (K,)."""
    window = windows(output.logit, targets, radius_px)
    log_density = pair_log_density(output, _log_share(output.logit), targets, window, use_z)
    return log_density.masked_fill(window.outside, -torch.inf).logsumexp(1)


def pair_log_density(
    output: NetworkOutput, log_weight: Tensor, targets: LossTargets, window: Windows, use_z: bool
) -> Tensor:
    """Return log-weight plus log-density of each target under each pixel of its window, (K, L).

    Parameters
    ----------
    output : NetworkOutput
    log_weight : (B, H, W) float
        Logarithm of the weight of each pixel.
    targets : LossTargets
    window : Windows
    use_z : bool
    """
    maps = torch.stack(
        (
            output.x,
            output.y,
            output.photons,
            output.sigma_x,
            output.sigma_y,
            output.sigma_photons,
            log_weight,
            output.z,
            output.sigma_z,
        ),
        dim=-1,
    )  # (B, H, W, 9)
    index = window.pixel
    columns = maps.flatten(0, 2).index_select(0, index.flatten()).view(*index.shape, 9)
    x, y, photons, sigma_x, sigma_y, sigma_photons, log_weight, z, sigma_z = columns.unbind(-1)
    pairs = [
        (window.to_column - x, sigma_x),
        (window.to_row - y, sigma_y),
        (targets.photons[:, None] - photons, sigma_photons),
    ]
    if use_z:
        pairs.append((targets.z[:, None] - z, sigma_z))
    log_density = log_weight - 0.5 * len(pairs) * math.log(2 * math.pi)
    for residual, sigma in pairs:
        log_density = log_density - 0.5 * (residual / sigma).square() - sigma.log()
    return log_density


def _log_share(logit: Tensor) -> Tensor:
    """Return log(p_k / sum_j p_j), (B, H, W), finite however small the probabilities are."""
    log_probability = functional.logsigmoid(logit)
    return log_probability - log_probability.logsumexp((1, 2), keepdim=True)


def windows(logit: Tensor, targets: LossTargets, radius_px: int) -> Windows:
    """Return the (2 radius + 1)^2 pixels around the pixel in which each target lies."""
    _, height, width = logit.shape
    reach = torch.arange(-radius_px, radius_px + 1, device=logit.device)
    down, right = torch.meshgrid(reach, reach, indexing="ij")
    column = targets.x_px.round().long().clamp(0, width - 1)[:, None] + right.flatten()
    row = targets.y_px.round().long().clamp(0, height - 1)[:, None] + down.flatten()
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    index = index + targets.image[:, None] * (height * width)
    return Windows(
        pixel=index,
        outside=outside,
        to_column=targets.x_px[:, None] - column,
        to_row=targets.y_px[:, None] - row,
    )
