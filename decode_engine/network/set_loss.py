r"""Likelihood of a set of emitters when every pixel claims at most one: splitting does not pay.

The pixels are independent Bernoulli claims: pixel j says "an emitter, here" with the probability
:math:`p_j` and the density :math:`N_j`, or nothing. The likelihood of a frame's emitters
:math:`t_1 \dots t_n` is then that of a multi-Bernoulli set (Mahler 2007; a permanent):

.. math:: L = \prod_j (1 - p_j) \sum_{a} \prod_i \frac{p_{a(i)}}{1 - p_{a(i)}} N_{a(i)}(t_i)

summed over all assignments a of emitters to different pixels. Nothing is lost to a hard choice
of partners, so probabilities and sigmas are those of a proper likelihood and mean what they say.
Unlike the paper's loss it does not let several pixels share one emitter for free: four quarters
cost 0.9 nats more than one certain pixel; and one pixel cannot serve two emitters.

The gradient of :math:`-\log L` needs the posterior :math:`P_{ij}` of "emitter i was claimed by
pixel j" only:

.. math:: -\nabla \log L = \nabla \sum_j \log(1 + e^{l_j}) - \sum_{ij} P_{ij} \nabla
          (l_j + \log N_j(t_i))

with the logit :math:`l_j`. P follows from a few rounds of belief propagation between emitters and
pixels (Williams & Lau 2014, doi 10.1109/TAES.2014.120568: converges always, exact where emitters
do not compete), on the pixels in a window around each emitter, without gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from decode_engine.network.loss import LossTargets, LossTerms, in_single, pair_log_density, windows
from decode_engine.network.output import NetworkOutput

__all__ = ["ASSIGNMENT_RADIUS_PX", "assignment", "set_loss"]

ASSIGNMENT_RADIUS_PX = 2  # a pixel's claim is at most 1 px from its centre
ROUNDS = 8
# Weight of "no pixel claims this emitter", relative to the best pixel: keeps messages finite.
_UNCLAIMED = 1e-5


def set_loss(
    output: NetworkOutput,
    targets: LossTargets,
    *,
    use_z: bool = True,
    radius_px: int = ASSIGNMENT_RADIUS_PX,
) -> LossTerms:
    """Return the terms of the negative log-likelihood (formulas above), in single precision.

    Parameters
    ----------
    output : NetworkOutput
        Maps (B, H, W).
    targets : LossTargets
    use_z : bool
        False leaves z and its sigma out (two-dimensional models).
    radius_px : int
        An emitter can be claimed by (2 radius + 1)^2 pixels.

    Returns
    -------
    LossTerms
        ``count_nll``: sum of ``-log(1 - p)``; ``mixture_nll``: what the assigned emitters add.
    """
    with torch.autocast(output.logit.device.type, enabled=False):
        output = in_single(output)
        batch = output.logit.shape[0]
        window = windows(output.logit, targets, radius_px)
        weight = pair_log_density(output, output.logit, targets, window, use_z)
        weight = weight.masked_fill(window.outside, -torch.inf)
        share = assignment(weight.detach(), window.pixel, output.logit.numel())
        # -sum P (w - log P): the second part has no gradient but makes the value a likelihood.
        gain = (share * (weight - share.clamp(min=1e-30).log())).masked_fill(share == 0, 0.0)
        background = (output.background - targets.background).square().sum((1, 2))
        claimed = background.new_zeros(batch).index_add(0, targets.image, -gain.sum(1))
        return LossTerms(functional.softplus(output.logit).sum((1, 2)), claimed, background)


@torch.no_grad()
def assignment(weight: Tensor, index: Tensor, n_pixels: int, rounds: int = ROUNDS) -> Tensor:
    """Return the posterior probability that an emitter was claimed by each pixel of its window.

    Parameters
    ----------
    weight : (K, L) float
        Log-odds of the pixel plus log-density of the emitter; minus infinity where impossible.
    index : (K, L) int64
        Which pixels they are, below ``n_pixels``; different within a row.
    n_pixels : int

    Returns
    -------
    (K, L) float
        Rows sum to 1 (less where there are more emitters than pixels); so do, at most, the
        pixels over all rows.
    """
    if weight.numel() == 0:
        return torch.zeros_like(weight)
    top = weight.amax(1, keepdim=True)
    odds = (weight - top.clamp(min=-1e30)).exp()
    free = torch.ones_like(odds)  # message pixel -> emitter: "I am not taken by others"
    flat = index.flatten()
    for _ in range(rounds):
        wanted = odds * free
        others = wanted.sum(1, keepdim=True) - wanted + _UNCLAIMED
        claim = odds / others  # message emitter -> pixel
        claims = claim.new_zeros(n_pixels).index_add(0, flat, claim.flatten())
        free = 1 / (1 + (claims[flat].view_as(claim) - claim).clamp(min=0))
    wanted = odds * free
    return wanted / (wanted.sum(1, keepdim=True) + _UNCLAIMED)
