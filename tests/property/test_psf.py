"""What must hold for every position, whatever the PSF."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decode_engine.psf.base import PsfModel
from decode_engine.psf.spline import SplinePsfModel
from tests.psf_samples import astigmatic_spline, gaussian_model

SPLINE = SplinePsfModel.from_parameters(astigmatic_spline(), dtype=torch.float64)
models = st.sampled_from([SPLINE, gaussian_model()])
shifts = st.floats(-4, 4, allow_nan=False)
heights = st.floats(-1e5, 1e5, allow_nan=False)
sizes = st.integers(1, 12).map(lambda n: 2 * n + 1)


def image(model: PsfModel, dx: float, dy: float, z: float, roi_px: int) -> torch.Tensor:
    x, y, w = (torch.tensor([v], dtype=torch.float64) for v in (dx, dy, z))
    return model.value(x, y, w, roi_px)[0]


@settings(deadline=None, max_examples=60)
@given(models, shifts, shifts, heights, sizes)
def test_fractions_are_finite_and_not_more_than_all(
    model: PsfModel, dx: float, dy: float, z: float, roi_px: int
) -> None:
    fractions = image(model, dx, dy, z, roi_px)
    assert torch.isfinite(fractions).all()
    # Cubic interpolation undershoots by far less than a thousandth of the peak here.
    assert fractions.min() > -1e-4
    assert fractions.sum() < 1 + 1e-3


@settings(deadline=None, max_examples=60)
@given(
    models,
    st.floats(-1.5, 1.5),
    st.floats(-1.5, 1.5),
    heights,
    st.integers(-3, 3),
    st.integers(-3, 3),
)
def test_whole_pixels_move_the_image(
    model: PsfModel, dx: float, dy: float, z: float, right: int, down: int
) -> None:
    still = image(model, dx, dy, z, 15)
    moved = image(model, dx + right, dy + down, z, 15)
    inner = slice(3, 12)
    expected = torch.roll(still, (down, right), (0, 1))[inner, inner]
    # 4 + 1.5 + 3 px from the centre all samples are inside the spline; dx + right rounds.
    torch.testing.assert_close(moved[inner, inner], expected, atol=1e-12, rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(models, st.floats(-2, 2), st.floats(-2, 2), heights)
def test_z_beyond_the_range_is_its_end(model: PsfModel, dx: float, dy: float, z: float) -> None:
    low, high = model.z_range_nm
    clamped = min(max(z, low), high)
    torch.testing.assert_close(image(model, dx, dy, z, 11), image(model, dx, dy, clamped, 11))
    outside = model.out_of_range(torch.tensor([z], dtype=torch.float64))
    assert bool(outside) == (abs(clamped - z) > 1e-3)


@settings(deadline=None, max_examples=30)
@given(models, st.lists(st.tuples(shifts, shifts, heights), min_size=1, max_size=40))
def test_batches_are_their_parts(model: PsfModel, places: list[tuple[float, float, float]]) -> None:
    columns = torch.tensor(places, dtype=torch.float64).T
    together = model.value(columns[0], columns[1], columns[2], 9)
    for n, (dx, dy, z) in enumerate(places):
        torch.testing.assert_close(together[n], image(model, dx, dy, z, 9), atol=1e-12, rtol=1e-9)
