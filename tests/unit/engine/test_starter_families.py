"""The computed microscopes that starter models are trained on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import j1

from decode_engine.contract.configs import TrainingConfig
from decode_engine.simulation.emitters import EmitterBatch
from decode_engine.simulation.rendering import render_emitters
from decode_engine.training.stream import named_generator

sys.path.insert(0, str(Path(__file__).parents[3] / "installer"))

import diffraction_psf  # beside the scripts that use it
import make_starters
import psf_families
import starter_source

FAMILY = psf_families.FAMILIES["astigmatic"]


def test_zernike_modes_are_orthonormal() -> None:
    u = np.linspace(-1, 1, 1001)
    x, y = np.meshgrid(u, u)
    inside = x**2 + y**2 < 1
    modes = [(0, 0), (1, -1), (2, 0), (2, -2), (2, 2), (3, 1), (3, -3), (4, 0), (4, 2)]
    rows = np.array([diffraction_psf.zernike(n, m, x, y)[inside] for n, m in modes])
    np.testing.assert_allclose(rows @ rows.T / inside.sum(), np.eye(len(modes)), atol=0.01)


def test_low_aperture_in_focus_is_the_airy_pattern() -> None:
    """(2 J1(v) / v)^2 with v = 2 pi NA r / lambda; the pixels are small against it."""
    objective = diffraction_psf.Objective(
        numerical_aperture=0.3, wavelength_nm=600.0, astigmatism_rms_waves=0.0
    )
    image = diffraction_psf.psf_stack(objective, np.zeros(1), roi_px=21, pixel_size_nm=60.0)
    place = (np.arange(21) - 10) * 60.0
    v = 2 * np.pi * 0.3 / 600.0 * np.hypot(place[:, None], place[None, :])
    v[10, 10] = 1e-9
    np.testing.assert_allclose(image[:, :, 0] / image.max(), (2 * j1(v) / v) ** 2, atol=0.01)


@pytest.mark.parametrize("name", sorted(psf_families.FAMILIES))
def test_members_differ_keep_their_light_and_are_reproducible(name: str) -> None:
    family = psf_families.FAMILIES[name]
    stacks = [
        psf_families.member_stack(family, family.draw(np.random.default_rng([3, k])))
        for k in (0, 1, 0)
    ]
    np.testing.assert_array_equal(stacks[0], stacks[2])
    assert abs(stacks[0] - stacks[1]).max() > 0.01
    light = stacks[0].sum(axis=(0, 1))
    assert light.max() == pytest.approx(1.0)
    assert light.min() > 0.5


@pytest.fixture(scope="module")
def members() -> torch.Tensor:
    return torch.from_numpy(psf_families.members("astigmatic", 3, seed=1))


def test_every_sample_shows_one_member(members: torch.Tensor) -> None:
    """The joined spline draws what each member alone draws."""
    light = starter_source.conditions(FAMILY)[0]
    simulator = starter_source.FamilySimulator(members, FAMILY, starter_source.CAMERAS[0], light)
    simulator.chosen = [2, 0, 1]
    simulator.psf = simulator._joined(simulator.chosen)
    n, scale = 12, torch.tensor([1.03, 0.97, 1.0, 0.94])
    generator = torch.Generator().manual_seed(0)
    emitters = EmitterBatch(
        image=torch.arange(n),  # four samples of three frames
        x_px=10 + 4 * torch.rand(n, generator=generator),
        y_px=10 + 4 * torch.rand(n, generator=generator),
        z_nm=-700 + 1400 * torch.rand(n, generator=generator),
        photons=torch.full((n,), 1000.0),
        emitter_id=torch.arange(n),
    )
    sample = starter_source._Sample(
        density=torch.ones(4), width_scale=None, z_scale=scale, gain=1.0
    )
    shown = simulator._render(emitters, torch.arange(n), (4, 3, 24, 24), sample)
    for k, member in enumerate((2, 0, 1, 2)):
        alone = starter_source.member_psf(members[member], FAMILY)
        own = emitters.select(slice(3 * k, 3 * k + 3))
        own = own._replace(image=torch.arange(3), z_nm=own.z_nm / scale[k])
        expected = render_emitters(alone, own, 3, 24, 24)
        torch.testing.assert_close(shown[k], expected, atol=2e-2, rtol=1e-4)


def test_the_stream_goes_on_from_its_state(members: torch.Tensor) -> None:
    config = TrainingConfig(batch_size=4, patch_px=16)
    network = make_starters.conditioned("astigmatic", config, members, None)
    streams = [
        starter_source.StarterStream(
            members, FAMILY, config, named_generator(0, "test", "cpu"), network
        )
        for _ in range(2)
    ]
    streams[0].next_batch()
    streams[1].restore(streams[0].state())
    a, b = (stream.next_batch() for stream in streams)
    assert torch.equal(a.frames, b.frames)
    assert torch.equal(a.targets.photons, b.targets.photons)
    assert a.frames.shape == (4, 3, 16, 16)
    assert torch.equal(network.sketches[0], network.sketches[3])  # three members, in turn
    assert not torch.equal(network.sketches[0], network.sketches[1])
