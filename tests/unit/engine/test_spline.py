"""The spline PSF against scipy's splines, loops over pixels and numerical derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.errors import ConfigError
from decode_engine.psf.base import PsfModel
from decode_engine.psf.models import psf_from_calibration
from decode_engine.psf.spline import SplinePsfModel
from tests.psf_samples import astigmatic_spline, gaussian_model, sampled_stack


@pytest.fixture(scope="module")
def model() -> SplinePsfModel:
    return SplinePsfModel.from_parameters(astigmatic_spline(), dtype=torch.float64)


def positions(number: int, seed: int, reach: float = 0.5, z_nm: float = 640.0) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    columns = (
        rng.uniform(-reach, reach, number),
        rng.uniform(-reach, reach, number),
        rng.uniform(-z_nm, z_nm, number),
    )
    return [torch.from_numpy(c) for c in columns]


def test_agrees_with_scipy_splines_along_each_axis(model: SplinePsfModel) -> None:
    stack = sampled_stack()
    dx, dy, z = positions(30, seed=1)
    steps = np.arange(15) - 7
    axes = [CubicSpline(np.arange(n), np.eye(n), bc_type="not-a-knot") for n in stack.shape]
    expected = np.stack(
        [
            np.einsum("vy,ux,z,yxz->vu", axes[0](9 + steps - b), axes[1](9 + steps - a), w, stack)
            for a, b, w in zip(dx.numpy(), dy.numpy(), axes[2](26 - z.numpy() / 25), strict=True)
        ]
    )
    found = model.value(dx, dy, z, 15).numpy()
    # Coefficients are stored in single precision: 6e-8 of values that add up to the peak.
    np.testing.assert_allclose(found, expected, atol=1e-6 * expected.max(), rtol=0)


def test_draws_what_the_spline_was_made_from(model: SplinePsfModel) -> None:
    dx, dy, z = positions(50, seed=2)
    truth = gaussian_model().value(dx, dy, z, 15)
    error = (model.value(dx, dy, z, 15) - truth).abs().max() / truth.max()
    # A cubic spline errs by f'''' / 384, and f'''' = 3 / sigma^4 of the peak: 0.3 % at 1.3 px.
    assert error < 4e-3


def test_x_is_columns_to_the_right_and_y_rows_downwards(model: SplinePsfModel) -> None:
    one = torch.ones(1, dtype=torch.float64)
    image = model.value(3 * one, -2 * one, 0 * one, 15)[0]
    assert divmod(int(image.argmax()), 15) == (7 - 2, 7 + 3)


def test_gradient_is_the_derivative_of_the_value(model: SplinePsfModel) -> None:
    place = positions(60, seed=3, reach=1.5, z_nm=600)
    gradient = model.value_and_gradient(*place, 13)
    torch.testing.assert_close(gradient.value, model.value(*place, 13))
    for axis, (name, step) in enumerate((("d_x", 1e-5), ("d_y", 1e-5), ("d_z", 1e-3))):
        up, down = [p.clone() for p in place], [p.clone() for p in place]
        up[axis] += step
        down[axis] -= step
        numeric = (model.value(*up, 13) - model.value(*down, 13)) / (2 * step)
        analytic = getattr(gradient, name)
        # Third derivatives are below 1 per px^3, so the error of the difference is ~step^2.
        torch.testing.assert_close(analytic, numeric, rtol=0, atol=1e-8)
        assert numeric.abs().max() > 1e-5


@pytest.mark.parametrize("side", [-1, 1])
def test_z_beyond_the_range_is_clamped_and_reported(model: SplinePsfModel, side: int) -> None:
    """Slice and fraction are clamped together: no saw-tooth beyond the stack."""
    end = model.z_range_nm[(side + 1) // 2]
    assert end == pytest.approx(side * 650)
    z = torch.tensor([end, end + side * 7.0, end + side * 1000.0], dtype=torch.float64)
    dx = torch.full_like(z, 0.2)
    gradient = model.value_and_gradient(dx, dx, z, 13)
    for beyond in (1, 2):
        torch.testing.assert_close(gradient.value[beyond], gradient.value[0])
        assert torch.count_nonzero(gradient.d_z[beyond]) == 0
    assert gradient.d_z[0].abs().max() > 0
    assert model.out_of_range(z).tolist() == [False, True, True]


def test_is_zero_laterally_outside_the_coefficients(model: SplinePsfModel) -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    image = model.value(zero, zero, zero, 31)[0]
    assert torch.count_nonzero(image[:6]) == 0  # sample row 9 + v reaches from -6: 6 rows
    assert torch.count_nonzero(image[:, -7:]) == 0  # and up to 24, voxels end at 18
    assert torch.count_nonzero(image[6:24, 6:24]) == 18 * 18
    assert torch.count_nonzero(model.value(zero + 100, zero, zero, 13)) == 0
    assert torch.count_nonzero(model.value(zero, zero - 100, zero, 13)) == 0


def test_support_holds_everything(model: SplinePsfModel) -> None:
    corners = torch.tensor([-0.5, 0.5, -0.5, 0.5], dtype=torch.float64)
    place = (corners, corners.flip(0), torch.zeros_like(corners))
    inside = model.value(*place, model.support_px).sum((1, 2))
    torch.testing.assert_close(inside, model.value(*place, model.support_px + 6).sum((1, 2)))


@pytest.mark.parametrize("roi_px", [5, 9, 19])
def test_windows_are_crops_of_larger_windows(model: SplinePsfModel, roi_px: int) -> None:
    place = positions(20, seed=4, reach=2.5)
    edge = (25 - roi_px) // 2
    crop = model.value(*place, 25)[:, edge:-edge, edge:-edge]
    torch.testing.assert_close(model.value(*place, roi_px), crop)


def test_each_emitter_is_independent_of_the_others(model: SplinePsfModel) -> None:
    """Sorting, chunks and scattering back must not mix emitters up."""
    place = positions(3000, seed=5, reach=2.0)
    images = model.value(*place, 13)
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.value(*(p[order] for p in place), 13), images[order])
    for i in (0, 1234, 2999):
        torch.testing.assert_close(model.value(*(p[i : i + 1] for p in place), 13)[0], images[i])


def test_one_padded_product_equals_a_product_per_slice(
    model: SplinePsfModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does; chunks that begin inside a slice included."""
    where = positions(200, seed=9)
    per_slice = model.value_and_gradient(*where, 15)
    monkeypatch.setattr(SplinePsfModel, "_slice_products", SplinePsfModel._padded_products)
    monkeypatch.setattr(SplinePsfModel, "_chunk_size", lambda *_: 64)
    padded = model.value_and_gradient(*where, 15)
    for name in ("value", "d_x", "d_y", "d_z"):
        torch.testing.assert_close(getattr(padded, name), getattr(per_slice, name))


def test_single_precision_is_enough(model: SplinePsfModel) -> None:
    place = positions(200, seed=6)
    single = model.to("cpu", torch.float32)
    images = single.value(*(p.float() for p in place), 15)
    assert images.dtype == torch.float32
    assert (images.double() - model.value(*place, 15)).abs().max() < 2e-6


def test_a_fractional_centre_moves_the_image() -> None:
    base = astigmatic_spline()
    moved = SplinePsf(
        coefficients=base.coefficients,
        dz_nm=base.dz_nm,
        z0_slice=base.z0_slice,
        center_x_px=base.center_x_px + 0.3,
        center_y_px=base.center_y_px - 0.4,
    )
    dx, dy, z = positions(10, seed=7)
    expected = SplinePsfModel.from_parameters(base, dtype=torch.float64).value(dx, dy, z, 13)
    found = SplinePsfModel.from_parameters(moved, dtype=torch.float64).value(
        dx + 0.3, dy - 0.4, z, 13
    )
    torch.testing.assert_close(found, expected)


def test_empty_batch_and_even_window(model: SplinePsfModel) -> None:
    none = torch.zeros(0, dtype=torch.float64)
    assert model.value(none, none, none, 13).shape == (0, 13, 13)
    assert model.value_and_gradient(none, none, none, 13).d_z.shape == (0, 13, 13)
    with pytest.raises(ConfigError, match="12 px"):
        model.value(none, none, none, 12)


def test_calibration_gives_the_model() -> None:
    psf = psf_from_calibration(Calibration(psf=astigmatic_spline()))
    assert isinstance(psf, SplinePsfModel)
    assert isinstance(psf, PsfModel)
    assert psf.is_3d
    assert psf.dtype == torch.float32


@pytest.mark.gpu
def test_devices_agree(model: SplinePsfModel) -> None:
    if torch.cuda.is_available():
        name = "cuda"
    elif torch.backends.mps.is_available():
        name = "mps"
    else:
        pytest.skip("neither CUDA nor MPS is here")
    place = [p.float() for p in positions(500, seed=8)]
    device = model.to(name, torch.float32)
    found = device.value_and_gradient(*(p.to(name) for p in place), 13)
    expected = model.to("cpu", torch.float32).value_and_gradient(*place, 13)
    for field in ("value", "d_x", "d_y", "d_z"):
        torch.testing.assert_close(
            getattr(found, field).cpu(), getattr(expected, field), atol=2e-6, rtol=0
        )
