"""The Gaussian PSF against numerical integration, scipy and numerical derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad
from scipy.stats import norm

from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.errors import CalibrationError, ConfigError
from decode_engine.psf.base import PsfModel
from decode_engine.psf.gaussian import GaussianPsfModel
from decode_engine.psf.models import psf_from_calibration
from tests.psf_samples import ASTIGMATIC

DOUBLE = torch.float64


def astigmatic(x_nm: float = 110.0, y_nm: float = 95.0) -> GaussianPsfModel:
    return GaussianPsfModel(ASTIGMATIC, pixel_size_x_nm=x_nm, pixel_size_y_nm=y_nm, dtype=DOUBLE)


def flat(sigma_x_nm: float = 130.0, sigma_y_nm: float = 130.0) -> GaussianPsfModel:
    parameters = GaussianPsf(sigma0_x_nm=sigma_x_nm, sigma0_y_nm=sigma_y_nm)
    return GaussianPsfModel(parameters, pixel_size_x_nm=100, pixel_size_y_nm=100, dtype=DOUBLE)


def one(value: float) -> torch.Tensor:
    return torch.full((1,), value, dtype=DOUBLE)


def huang_width(z_nm: float, sigma0: float, focus: float, cubic: float, quartic: float) -> float:
    u = (z_nm - focus) / 380.0
    return float(sigma0 * np.sqrt(1 + u**2 + cubic * u**3 + quartic * u**4))


def test_pixels_integrate_the_density() -> None:
    z_nm = 150.0
    sigma_x = huang_width(z_nm, 125 / 110, 220.0, 0.05, 0.0)
    sigma_y = huang_width(z_nm, 135 / 95, -200.0, 0.0, 0.04)
    image = astigmatic().value(one(0.3), one(-0.2), one(z_nm), 9)[0].numpy()
    for row, column in ((4, 4), (2, 6), (7, 1)):
        u, v = column - 4, row - 4
        expected, _ = dblquad(
            lambda y, x: norm.pdf(x, 0.3, sigma_x) * norm.pdf(y, -0.2, sigma_y),
            u - 0.5,
            u + 0.5,
            v - 0.5,
            v + 0.5,
        )
        assert image[row, column] == pytest.approx(expected, rel=1e-7)


def test_all_photons_are_in_the_support() -> None:
    model = astigmatic()
    low, high = model.z_range_nm
    z = torch.linspace(low, high, 21, dtype=DOUBLE)
    total = model.value(0 * z, 0 * z, z, model.support_px).sum((1, 2))
    assert total.min() > 1 - 2e-4
    assert total.max() <= 1 + 1e-12


def test_gradient_is_the_derivative_of_the_value() -> None:
    rng = np.random.default_rng(0)
    place = [torch.from_numpy(rng.uniform(-s, s, 40)) for s in (0.8, 0.8, 600)]
    model = astigmatic()
    gradient = model.value_and_gradient(*place, 21)
    torch.testing.assert_close(gradient.value, model.value(*place, 21))
    for axis, (name, step) in enumerate((("d_x", 1e-5), ("d_y", 1e-5), ("d_z", 1e-2))):
        up, down = [p.clone() for p in place], [p.clone() for p in place]
        up[axis] += step
        down[axis] -= step
        numeric = (model.value(*up, 21) - model.value(*down, 21)) / (2 * step)
        torch.testing.assert_close(getattr(gradient, name), numeric, rtol=0, atol=1e-9)
        assert numeric.abs().max() > 1e-5


def test_pixel_sizes_of_both_axes_count() -> None:
    parameters = GaussianPsf(sigma0_x_nm=120, sigma0_y_nm=120)
    model = GaussianPsfModel(parameters, pixel_size_x_nm=60, pixel_size_y_nm=120, dtype=DOUBLE)
    image = model.value(one(0.0), one(0.0), one(0.0), 31)[0]
    steps = torch.arange(31, dtype=DOUBLE) - 15
    # A pixel-integrated Gaussian has the variance sigma^2 + 1/12.
    assert float((image.sum(0) * steps**2).sum()) == pytest.approx(2**2 + 1 / 12, rel=1e-6)
    assert float((image.sum(1) * steps**2).sum()) == pytest.approx(1**2 + 1 / 12, rel=1e-6)


def test_two_dimensional_psf_knows_no_z() -> None:
    model = flat()
    z = torch.tensor([0.0, 500.0, float("nan")], dtype=DOUBLE)
    gradient = model.value_and_gradient(0 * torch.ones(3, dtype=DOUBLE), torch.zeros(3), z, 11)
    assert not model.is_3d
    assert model.z_range_nm == (0.0, 0.0)
    assert not model.out_of_range(z).any()
    torch.testing.assert_close(gradient.value[2], gradient.value[0])
    assert torch.count_nonzero(gradient.d_z) == 0


def test_z_beyond_the_range_is_clamped_and_reported() -> None:
    model = astigmatic()
    z = torch.tensor([650.0, 660.0, -900.0], dtype=DOUBLE)
    zero = torch.zeros(3, dtype=DOUBLE)
    gradient = model.value_and_gradient(zero, zero, z, 11)
    torch.testing.assert_close(gradient.value[1], gradient.value[0])
    assert torch.count_nonzero(gradient.d_z[1:]) == 0
    assert model.out_of_range(z).tolist() == [False, True, True]


def test_curves_without_a_real_width_are_refused() -> None:
    bad = GaussianPsf(
        sigma0_x_nm=120,
        sigma0_y_nm=120,
        depth_nm=300,
        cubic_x=-1.5,
        z_min_nm=-600,
        z_max_nm=600,
    )
    with pytest.raises(CalibrationError, match="-600 and 600"):
        GaussianPsfModel(bad, pixel_size_x_nm=100, pixel_size_y_nm=100)


def test_calibration_needs_a_pixel_size() -> None:
    calibration = Calibration(psf=ASTIGMATIC)
    with pytest.raises(CalibrationError, match="pixel size"):
        psf_from_calibration(calibration)
    psf = psf_from_calibration(calibration, pixel_size_x_nm=100, pixel_size_y_nm=110)
    assert isinstance(psf, PsfModel)
    own = psf_from_calibration(calibration.with_pixel_size(100, 110))
    place = (torch.tensor([0.1]), torch.tensor([0.2]), torch.tensor([100.0]))
    torch.testing.assert_close(psf.value(*place, 9), own.value(*place, 9))


def test_even_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="10 px"):
        flat().value(one(0.0), one(0.0), one(0.0), 10)
