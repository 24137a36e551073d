"""Spline coefficients against scipy's splines, and their order against SMAP's definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from decode_engine.errors import CalibrationError
from decode_engine.psf.spline_coefficients import spline_coefficients


def test_order_of_the_64_powers() -> None:
    """The index is p_y + 4 p_x + 16 p_z; a linear ramp has only first powers."""
    y, x, z = np.meshgrid(np.arange(5), np.arange(6), np.arange(7), indexing="ij")
    found = spline_coefficients(1.0 * y + 10.0 * x + 100.0 * z)
    assert found.shape == (4, 5, 6, 64)
    assert found.dtype == np.float32
    expected = np.zeros_like(found)
    expected[..., 0] = (y + 10 * x + 100 * z)[:-1, :-1, :-1]
    expected[..., 1], expected[..., 4], expected[..., 16] = 1, 10, 100
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(9, 12, 40), (4, 3, 2), (5, 5, 5)])
def test_agrees_with_scipy_at_random_points(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    stack = rng.normal(size=shape)
    found = spline_coefficients(stack).astype(np.float64)
    points = rng.uniform(0, np.array(shape) - 1, (200, 3))
    voxel = np.minimum(points.astype(int), np.array(shape) - 2)
    b, a, c = ((points - voxel)[:, i : i + 1] ** np.arange(4) for i in range(3))
    powers = np.einsum("nz,nx,ny->nzxy", c, a, b).reshape(200, 64)
    values = (found[tuple(voxel.T)] * powers).sum(1)
    axes = [
        CubicSpline(np.arange(n), np.eye(n), bc_type="not-a-knot")(points[:, i])
        for i, n in enumerate(shape)
    ]
    expected = np.einsum("ny,nx,nz,yxz->n", *axes, stack)
    np.testing.assert_allclose(values, expected, atol=1e-6 * np.abs(stack).max() * 3, rtol=0)


def test_too_small_or_not_finite() -> None:
    with pytest.raises(CalibrationError, match=r"\(3, 3, 1\)"):
        spline_coefficients(np.zeros((3, 3, 1)))
    bad = np.zeros((4, 4, 4))
    bad[1, 2, 3] = np.nan
    with pytest.raises(CalibrationError, match="NaN"):
        spline_coefficients(bad)
