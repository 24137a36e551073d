"""Orthogonalised momentum for kernels, AdamW for the rest."""

from __future__ import annotations

import pytest
import torch

from decode_engine.training.muon import MuonAdamW, orthogonalised


@pytest.mark.parametrize("shape", [(3, 16, 40), (2, 40, 16), (1, 24, 24)])
def test_singular_vectors_stay_and_values_come_near_one(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(shape, generator=generator, dtype=torch.float64) * 1e-3
    result = orthogonalised(matrices)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    values = torch.diagonal(u.mT @ result @ vh.mT, dim1=1, dim2=2)
    rebuilt = u @ torch.diag_embed(values) @ vh
    torch.testing.assert_close(rebuilt, result, atol=1e-8, rtol=1e-6)
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.3


def test_other_groups_move_as_adamw_does() -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(7, 5, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = (
        MuonAdamW([{"params": [ours], "weight_decay": 0.1}], lr=1e-2),
        torch.optim.AdamW([theirs], lr=1e-2, weight_decay=0.1),
    )
    for _ in range(5):
        gradient = torch.randn(7, 5, generator=generator)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_a_kernels_step_is_four_times_that_of_adamw() -> None:
    kernel = torch.nn.Parameter(torch.zeros(32, 16, 3, 3))
    optimizer = MuonAdamW([{"params": [kernel], "orthogonal": True}], lr=1.0)
    kernel.grad = torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(2)) * 1e4
    optimizer.step()
    assert float(kernel.detach().square().mean().sqrt()) == pytest.approx(0.8, rel=0.25)


def test_kernels_of_one_shape_do_not_mix() -> None:
    generator = torch.Generator().manual_seed(3)
    gradients = torch.randn(2, 8, 4, 3, 3, generator=generator)
    together = [torch.nn.Parameter(torch.zeros(8, 4, 3, 3)) for _ in range(2)]
    optimizer = MuonAdamW([{"params": together, "orthogonal": True}], lr=0.1)
    for parameter, gradient in zip(together, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    alone = torch.nn.Parameter(torch.zeros(8, 4, 3, 3))
    alone.grad = gradients[1]
    MuonAdamW([{"params": [alone], "orthogonal": True}], lr=0.1).step()
    torch.testing.assert_close(together[1], alone)
