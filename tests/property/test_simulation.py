"""Properties of the simulation that hold for any input."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decode_engine.domain.calibration import GaussianPsf
from decode_engine.psf.gaussian import GaussianPsfModel
from decode_engine.simulation.emitters import EmitterBatch, Molecules
from decode_engine.simulation.rendering import render_emitters
from decode_engine.simulation.resampling import scale_patches

PSF = GaussianPsfModel(
    GaussianPsf(sigma0_x_nm=120, sigma0_y_nm=150), pixel_size_x_nm=100, pixel_size_y_nm=100
)
times = st.floats(0, 12, width=32)


def molecules(intervals: list[tuple[float, float]]) -> Molecules:
    start = torch.tensor([a for a, _ in intervals])
    zeros = torch.zeros(len(intervals))
    return Molecules(
        group=zeros.long(),
        x_px=zeros,
        y_px=zeros,
        z_nm=zeros,
        flux=zeros + 100.0,
        start=start,
        end=start + torch.tensor([b for _, b in intervals]),
        emitter_id=torch.arange(len(intervals)),
    )


@settings(deadline=None)  # the first call pays for the import of kernels
@given(st.lists(st.tuples(times, times), min_size=1, max_size=20), st.integers(1, 10))
def test_photons_of_all_frames_are_flux_times_the_time_on(
    intervals: list[tuple[float, float]], n_frames: int
) -> None:
    table = molecules(intervals)
    rows, molecule = table.emitters(n_frames)
    total = torch.zeros(len(table)).scatter_add_(0, molecule, rows.photons)
    on = (table.end.clamp(max=n_frames) - table.start.clamp(max=n_frames)).clamp_min(0)
    assert torch.allclose(total, 100 * on, atol=1e-3)
    assert torch.all((rows.photons >= 0) & (rows.photons <= 100 + 1e-3))
    assert torch.all((rows.image >= 0) & (rows.image < n_frames))
    assert torch.all(molecule.diff() >= 0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-30, 60, width=32), st.floats(-30, 60, width=32)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_an_image_is_the_cut_of_a_larger_one(
    positions: list[tuple[float, float]], height: int, width: int
) -> None:
    x = torch.tensor([p[0] for p in positions])
    y = torch.tensor([p[1] for p in positions])
    ones = torch.ones_like(x)
    whole = EmitterBatch(ones.long() * 0, x, y, ones * 0, ones * 50, ones.long())
    small = render_emitters(PSF, whole, 1, height, width)
    moved = whole._replace(x_px=x.double() + 8, y_px=y.double() + 8)
    large = render_emitters(PSF, moved, 1, height + 16, width + 16)
    cut = large[:, 8 : 8 + height, 8 : 8 + width]
    # Positions near 0 lose digits when 8 is added; 50 photons on a PSF of 1.2 px.
    np.testing.assert_allclose(small.numpy(), cut.numpy(), atol=2e-3)
    assert float(small.sum()) <= 50 * len(positions) * (1 + 1e-5)


@settings(deadline=None)
@given(st.floats(0.7, 1.0), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.integers(0, 10**6))
def test_narrowing_any_window_keeps_its_photons(
    scale: float, dx: float, dy: float, seed: int
) -> None:
    """Interpolation must conserve whatever the window holds, smooth or not."""
    rng = torch.Generator().manual_seed(seed)
    patch = torch.rand(1, 15, 15, generator=rng, dtype=torch.float64)
    shifts = (torch.tensor([v], dtype=torch.float64) for v in (dx, dy, scale))
    scaled = scale_patches(patch, *shifts)
    torch.testing.assert_close(scaled.sum(), patch.sum(), rtol=1e-9, atol=1e-9)
