"""The likelihood of emitters as a set, against sums over all assignments."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from decode_engine.network.loss import LossTargets, in_single, pair_log_density, windows
from decode_engine.network.output import NetworkOutput
from decode_engine.network.set_loss import ASSIGNMENT_RADIUS_PX, assignment, set_loss

SIZE = 6


def maps(seed: int, batch: int = 1, spread: float = 0.5) -> NetworkOutput:
    generator = torch.Generator().manual_seed(seed)

    def normal() -> Tensor:
        return torch.randn(batch, SIZE, SIZE, generator=generator, dtype=torch.float64)

    return NetworkOutput(
        logit=normal() - 2,
        x=spread * torch.tanh(normal()),
        y=spread * torch.tanh(normal()),
        z=0.3 * normal(),
        photons=0.5 + 0.1 * normal(),
        sigma_x=0.4 + 0.1 * torch.sigmoid(normal()),
        sigma_y=0.4 + 0.1 * torch.sigmoid(normal()),
        sigma_z=0.4 + 0.1 * torch.sigmoid(normal()),
        sigma_photons=0.3 + 0.1 * torch.sigmoid(normal()),
        background=torch.full((batch, SIZE, SIZE), 0.3, dtype=torch.float64),
    )


def targets(positions: list[tuple[float, float]], images: list[int] | None = None) -> LossTargets:
    n = len(positions)
    xy = torch.tensor(positions, dtype=torch.float64).view(n, 2)
    image = torch.tensor(images or [0] * n, dtype=torch.int64)
    return LossTargets(
        image=image,
        x_px=xy[:, 0],
        y_px=xy[:, 1],
        z=torch.zeros(n, dtype=torch.float64),
        photons=torch.full((n,), 0.5, dtype=torch.float64),
        background=torch.full((int(image.max()) + 1 if n else 1, SIZE, SIZE), 0.3).double(),
    )


def weights(output: NetworkOutput, truth: LossTargets) -> tuple[Tensor, Tensor]:
    window = windows(output.logit, truth, ASSIGNMENT_RADIUS_PX)
    weight = pair_log_density(output, output.logit, truth, window, True)
    return weight.masked_fill(window.outside, -torch.inf), window.pixel


def exact_log_sum(weight: Tensor, index: Tensor) -> Tensor:
    """Sum over all assignments of emitters to different pixels, the slow way."""
    terms = []
    for choice in itertools.product(range(weight.shape[1]), repeat=weight.shape[0]):
        pixels = [int(index[i, j]) for i, j in enumerate(choice)]
        values = [weight[i, j] for i, j in enumerate(choice)]
        if len(set(pixels)) == len(pixels) and all(
            math.isfinite(float(v.detach())) for v in values
        ):
            terms.append(torch.stack(values).sum())
    return torch.stack(terms).logsumexp(0)


def test_value_and_gradient_are_those_of_one_emitter_exactly() -> None:
    output = maps(0)
    leaves = NetworkOutput(*(m.clone().requires_grad_() for m in output))
    truth = targets([(2.3, 3.1)])
    ours = set_loss(leaves, truth).total(1.0, 0.0)
    gradients = torch.autograd.grad(ours, tuple(leaves), allow_unused=True)

    again = NetworkOutput(*(m.clone().requires_grad_() for m in output))
    softplus = torch.nn.functional.softplus(again.logit).sum()
    exact = softplus - exact_log_sum(*weights(again, truth))
    expected = torch.autograd.grad(exact, tuple(again), allow_unused=True)
    assert float(ours.detach()) == pytest.approx(float(exact.detach()), abs=1e-3)
    for a, b in zip(gradients, expected, strict=True):
        if b is not None and a is not None:
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_assignment_of_competing_emitters_is_nearly_the_exact_posterior(seed: int) -> None:
    """Two emitters a pixel apart: belief propagation against the sum over 600 assignments."""
    weight, index = weights(maps(seed), targets([(2.2, 2.9), (3.1, 3.0)]))
    leaf = weight.clone().requires_grad_()
    finite = torch.where(leaf.isfinite(), leaf, torch.full_like(leaf, -1e3))
    (posterior,) = torch.autograd.grad(exact_log_sum(finite, index), leaf)
    share = assignment(weight, index, SIZE**2)
    assert float((share - posterior).abs().max()) < 0.03
    torch.testing.assert_close(share.sum(1), torch.ones(2).double(), atol=1e-3, rtol=0)


def test_a_pixel_serves_one_emitter_only() -> None:
    """One pixel fits both emitters best; the other emitter has to take another."""
    weight = torch.tensor([[10.0, 0.0], [9.0, 2.0]])
    index = torch.tensor([[0, 1], [0, 1]])
    share = assignment(weight, index, 2)
    assert float(share[:, 0].sum()) <= 1.01
    exact = 1 / (1 + math.exp((0 + 9) - (10 + 2)))
    assert float(share[0, 0]) == pytest.approx(exact, abs=0.04)
    assert float(share[1, 1]) == pytest.approx(exact, abs=0.04)


def test_more_emitters_than_pixels_stay_finite() -> None:
    share = assignment(torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.int64), 1)
    assert bool(share.isfinite().all())
    assert float(share.sum()) <= 1.1


def four_pixels(probability: list[float]) -> NetworkOutput:
    """Four pixels around (2.5, 2.5) that all predict just that; all others are sure of nothing."""
    output = maps(1)._replace(logit=torch.full((1, SIZE, SIZE), -30.0).double())
    x, y = output.x.clone(), output.y.clone()
    for p, (row, column) in zip(probability, itertools.product((2, 3), (2, 3)), strict=True):
        output.logit[0, row, column] = math.log(p / (1 - p))
        x[0, row, column], y[0, row, column] = 2.5 - column, 2.5 - row
    same = {n: torch.full_like(x, 0.1) for n in ("sigma_x", "sigma_y", "sigma_z", "sigma_photons")}
    same |= {"z": torch.zeros_like(x), "photons": torch.full_like(x, 0.5)}
    return output._replace(x=x, y=y, **same)


def test_splitting_an_emitter_over_pixels_costs() -> None:
    truth = targets([(2.5, 2.5)])
    tiny = 1e-6
    whole = set_loss(four_pixels([1 - tiny, tiny, tiny, tiny]), truth).total()
    quarters = set_loss(four_pixels([0.25] * 4), truth).total()
    # -4 log(3/4) - log(4/3): see the module.
    assert float(quarters - whole) == pytest.approx(3 * math.log(4 / 3), abs=1e-3)


def test_frames_do_not_influence_each_other() -> None:
    both = maps(2, batch=2)
    truth = targets([(1.0, 1.0), (4.2, 3.9)], [0, 1])
    together = set_loss(both, truth)
    for image, position in ((0, (1.0, 1.0)), (1, (4.2, 3.9))):
        alone = NetworkOutput(*(m[image : image + 1] for m in both))
        single = set_loss(alone, targets([position]))
        for a, b in zip(together, single, strict=True):
            torch.testing.assert_close(a[image], b[0])


def test_empty_frames_punish_claims() -> None:
    quiet, loud = maps(3), maps(3)._replace(logit=torch.zeros(1, SIZE, SIZE).double())
    nothing = targets([])
    assert float(set_loss(loud, nothing).total()) > float(set_loss(quiet, nothing).total())


def test_extreme_maps_keep_loss_and_gradient_finite() -> None:
    output = in_single(NetworkOutput(*(m.float() for m in maps(4))))
    logit = torch.full((1, SIZE, SIZE), -200.0)
    logit[0, 2, 2] = 200.0
    tiny = torch.full_like(logit, 1e-3)
    leaves = [logit.requires_grad_(), tiny.requires_grad_()]
    extreme = output._replace(logit=leaves[0], sigma_x=leaves[1])
    truth = targets([(0.1, 0.2), (2.0, 2.1), (5.4, 5.4)])
    truth = LossTargets(truth.image, *(t.float() for t in truth[1:]))
    loss = set_loss(extreme, truth).total()
    assert bool(loss.isfinite())
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(loss, leaves))


def test_two_dimensional_models_do_not_see_z() -> None:
    output, truth = maps(5), targets([(2.0, 2.0)])
    other = output._replace(z=output.z + 1.0, sigma_z=output.sigma_z * 2)
    flat = [float(set_loss(o, truth, use_z=False).total()) for o in (output, other)]
    assert flat[0] == flat[1]
