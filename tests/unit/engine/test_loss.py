"""The loss against a dense float64 reference, its gradients, its limits and its memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from decode_engine.network.loss import (
    COUNT_VARIANCE_FLOOR,
    WINDOW_RADIUS_PX,
    LossTargets,
    network_loss,
)
from decode_engine.network.output import NetworkOutput

BATCH, HEIGHT, WIDTH = 3, 6, 8
EVERYWHERE = max(HEIGHT, WIDTH)  # a window of this radius covers the whole frame


def random_output(
    seed: int,
    shape: tuple[int, int, int] = (BATCH, HEIGHT, WIDTH),
    dtype: torch.dtype = torch.float64,
) -> NetworkOutput:
    generator = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float) -> Tensor:
        unit = torch.rand(shape, generator=generator, dtype=torch.float64)
        return (low + (high - low) * unit).to(dtype).requires_grad_()

    return NetworkOutput(
        logit=draw(-5, 2),
        x=draw(-1, 1),
        y=draw(-1, 1),
        z=draw(-1, 1),
        photons=draw(0, 1),
        sigma_x=draw(0.05, 1.5),
        sigma_y=draw(0.05, 1.5),
        sigma_z=draw(0.05, 1.5),
        sigma_photons=draw(0.05, 1.5),
        background=draw(0, 1),
    )


def random_targets(seed: int, images: list[int], dtype: torch.dtype = torch.float64) -> LossTargets:
    rng = np.random.default_rng(seed)
    n = len(images)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.tensor(values, dtype=dtype)

    return LossTargets(
        image=torch.tensor(images, dtype=torch.int64),
        x_px=tensor(rng.uniform(-0.5, WIDTH - 0.5, n)),
        y_px=tensor(rng.uniform(-0.5, HEIGHT - 0.5, n)),
        z=tensor(rng.uniform(-1, 1, n)),
        photons=tensor(rng.uniform(0, 1, n)),
        background=tensor(rng.uniform(0, 1, (BATCH, HEIGHT, WIDTH))),
    )


def dense_reference(output: NetworkOutput, targets: LossTargets, use_z: bool = True) -> Tensor:
    """Return the (3,) batch means of the terms, straight from the formulas, frame by frame."""
    rows = []
    for b in range(output.logit.shape[0]):
        p = torch.sigmoid(output.logit[b])
        mine = (targets.image == b).nonzero()[:, 0]
        count = torch.distributions.Normal(
            p.sum(), torch.sqrt((p * (1 - p)).sum() + COUNT_VARIANCE_FLOOR)
        )
        count_term = -count.log_prob(torch.tensor(float(len(mine)), dtype=p.dtype))
        row_px, column_px = torch.meshgrid(
            torch.arange(p.shape[0]), torch.arange(p.shape[1]), indexing="ij"
        )
        mixture_term = torch.zeros((), dtype=p.dtype)
        for e in mine:
            density = p / p.sum()
            parts = [
                (targets.x_px[e], column_px + output.x[b], output.sigma_x[b]),
                (targets.y_px[e], row_px + output.y[b], output.sigma_y[b]),
                (targets.photons[e], output.photons[b], output.sigma_photons[b]),
            ]
            if use_z:
                parts.append((targets.z[e], output.z[b], output.sigma_z[b]))
            for value, mean, sigma in parts:
                density = density * torch.distributions.Normal(mean, sigma).log_prob(value).exp()
            mixture_term = mixture_term - density.sum().log()
        background_term = (output.background[b] - targets.background[b]).square().sum()
        rows.append(torch.stack((count_term, mixture_term, background_term)))
    return torch.stack(rows)


@pytest.mark.parametrize(
    "images",
    [[0, 0, 1, 2, 2, 2], [1], [0, 0, 0, 0, 2], []],
    ids=["all frames", "two empty frames", "one empty frame", "nothing at all"],
)
@pytest.mark.parametrize("use_z", [True, False], ids=["3D", "2D"])
def test_terms_and_gradients_equal_the_dense_reference(images: list[int], use_z: bool) -> None:
    output, targets = random_output(1), random_targets(2, images)
    terms = network_loss(output, targets, use_z=use_z, radius_px=EVERYWHERE)
    expected = dense_reference(output, targets, use_z)
    torch.testing.assert_close(torch.stack(terms, 1), expected, rtol=1e-10, atol=1e-10)

    weights = torch.tensor([0.7, 1.0, 0.3], dtype=torch.float64)
    own = torch.autograd.grad(terms.total(0.7, 0.3), output, allow_unused=True)
    reference = torch.autograd.grad((expected @ weights).mean(), output, allow_unused=True)
    for name, a, b in zip(NetworkOutput._fields, own, reference, strict=True):
        a, b = (torch.zeros(1, dtype=torch.float64) if g is None else g for g in (a, b))
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-11), name


def test_gradcheck() -> None:
    targets = random_targets(3, [0, 2, 2])

    def total(*maps: Tensor) -> Tensor:
        return network_loss(NetworkOutput(*maps), targets).total()

    assert torch.autograd.gradcheck(total, tuple(random_output(4)))


def test_window_leaves_out_only_what_cannot_matter() -> None:
    """With sigmas up to 0.5 px a pixel outside the window is at least 3.5 px = 7 sigma away."""
    shape = (1, 24, 24)
    output = random_output(5, shape)
    output = output._replace(
        sigma_x=output.sigma_x.detach() / 3, sigma_y=output.sigma_y.detach() / 3
    )
    generator = torch.Generator().manual_seed(6)
    n = 20
    x, y, z, photons = (torch.rand(n, generator=generator, dtype=torch.float64) for _ in range(4))
    targets = LossTargets(
        image=torch.zeros(n, dtype=torch.int64),
        x_px=x * 24 - 0.5,
        y_px=y * 24 - 0.5,
        z=z,
        photons=photons,
        background=torch.zeros(shape, dtype=torch.float64),
    )
    near = network_loss(output, targets, radius_px=WINDOW_RADIUS_PX).mixture_nll
    everything = network_loss(output, targets, radius_px=24).mixture_nll
    # Relative mass beyond 7 sigma in one of two axes: 2 * 2.6e-12, times the contrast of the
    # densities (sigmas and shares differ by factors below 1e3) times the number of targets.
    torch.testing.assert_close(near, everything, rtol=0, atol=n * 5e-9)


def test_false_positives_on_an_empty_frame_cost() -> None:
    """Regression: the authors' loss multiplies the count term by n, so n = 0 costs nothing."""
    quiet = torch.full((1, 10, 10), -9.0)
    loud = quiet.clone()
    loud[0, 5, 5] = 4.0
    maps = [torch.full((1, 10, 10), 0.5)] * 9
    nothing = LossTargets(
        torch.zeros(0, dtype=torch.int64), *[torch.zeros(0)] * 4, torch.full((1, 10, 10), 0.5)
    )
    costs = [
        float(network_loss(NetworkOutput(logit, *maps), nothing).total()) for logit in (quiet, loud)
    ]
    assert costs[1] > costs[0] + 1.0
    logit = loud.requires_grad_()
    network_loss(NetworkOutput(logit, *maps), nothing).total().backward()
    assert logit.grad is not None
    assert logit.grad[0, 5, 5] > 0.01  # descent lowers the false claim


@pytest.mark.parametrize("logit", [-200.0, 200.0], ids=["certainly nothing", "certainly all"])
def test_loss_stays_finite_for_extreme_logits(logit: float) -> None:
    output = random_output(7, dtype=torch.float32)
    extreme = torch.full_like(output.logit, logit).requires_grad_()
    targets = random_targets(8, [0, 1, 1], torch.float32)
    loss = network_loss(output._replace(logit=extreme), targets).total()
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert extreme.grad is not None
    assert bool(extreme.grad.isfinite().all())


def test_single_precision_holds_for_the_smallest_sigma() -> None:
    """Regression: t^2 - 2 t mu + mu^2 loses everything at sigma = 0.001 on the far side."""
    shape = (1, 40, 40)
    base = random_output(9, shape)
    sharp = {f"sigma_{a}": torch.full(shape, 0.001, dtype=torch.float64) for a in "xyz"}
    output = base._replace(**sharp)
    # A target a few sigma from what pixel (36, 37) predicts.
    at = (0, 36, 37)
    targets = LossTargets(
        image=torch.zeros(1, dtype=torch.int64),
        x_px=(37 + output.x[at] + 0.002).detach().reshape(1),
        y_px=(36 + output.y[at] - 0.001).detach().reshape(1),
        z=(output.z[at] + 0.001).detach().reshape(1),
        photons=output.photons[at].detach().reshape(1),
        background=torch.zeros(shape, dtype=torch.float64),
    )
    double = network_loss(output, targets).mixture_nll
    single = network_loss(
        NetworkOutput(*(m.detach().float() for m in output)),
        LossTargets(targets.image, *(t.float() for t in targets[1:])),
    ).mixture_nll
    # x = 37 is known to 4e-6 px = 0.004 sigma in single precision; slope 2 and 1 per sigma.
    torch.testing.assert_close(single.double(), double.detach(), rtol=0, atol=0.03)


def test_single_precision_under_autocast() -> None:
    output = random_output(10, dtype=torch.float32)
    targets = random_targets(11, [0, 1, 2], torch.float32)
    plain = network_loss(output, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = network_loss(output, targets)
    for a, b in zip(plain, cast, strict=True):
        assert b.dtype == torch.float32
        assert torch.equal(a, b)


def test_memory_does_not_grow_with_pixels_times_targets() -> None:
    """No tensor that is kept for the gradient exceeds (targets, window, 9) or a few maps."""
    batch, size, per_frame = 4, 64, 50
    shape = (batch, size, size)
    output = random_output(14, shape, torch.float32)
    generator = torch.Generator().manual_seed(15)
    n = batch * per_frame
    targets = LossTargets(
        image=torch.arange(batch).repeat_interleave(per_frame),
        x_px=torch.rand(n, generator=generator) * size - 0.5,
        y_px=torch.rand(n, generator=generator) * size - 0.5,
        z=torch.rand(n, generator=generator),
        photons=torch.rand(n, generator=generator),
        background=torch.zeros(shape),
    )
    largest = 0

    def note(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        network_loss(output, targets).total().backward()
    window = (2 * WINDOW_RADIUS_PX + 1) ** 2
    assert 0 < largest <= max(9 * n * window, 9 * batch * size * size)
    assert largest < batch * per_frame * size * size  # (B, M, pixels), even without the 4
