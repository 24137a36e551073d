"""The fitter against the Cramér-Rao bound, its bounds, its flags and odd input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from decode_engine.domain.calibration import GaussianPsf
from decode_engine.domain.localizations import LocalizationFlag
from decode_engine.errors import ConfigError
from decode_engine.psf.base import PsfModel
from decode_engine.psf.fisher import crlb
from decode_engine.psf.fitting import FitOptions, FitStart, MleResult, fit_emitters
from decode_engine.psf.gaussian import GaussianPsfModel
from decode_engine.psf.spline import SplinePsfModel
from tests.psf_samples import astigmatic_spline, gaussian_model

ROI = 13


@pytest.fixture(scope="module")
def spline() -> SplinePsfModel:
    return SplinePsfModel.from_parameters(astigmatic_spline())


class Sample:
    """Simulated windows with their truth."""

    def __init__(
        self,
        psf: PsfModel,
        number: int,
        *,
        photons: float,
        background: float,
        z_nm: float,
        seed: int,
    ) -> None:
        self.psf = psf
        self.generator = torch.Generator().manual_seed(seed)
        self.x, self.y, z = torch.rand(3, number, generator=self.generator) - 0.5
        self.z = 2 * z * z_nm
        self.photons = torch.full((number,), photons)
        self.background = torch.full((number,), background)
        value = psf.value(self.x, self.y, self.z, ROI)
        self.mean = (photons * value + background).clamp(min=0)

    def poisson(self) -> Tensor:
        return torch.poisson(self.mean, generator=self.generator)

    def ratios(self, fits: MleResult, **noise: float | Tensor) -> dict[str, float]:
        """RMSE over the bound for each parameter."""
        bound = crlb(
            self.psf,
            dx_px=self.x,
            dy_px=self.y,
            z_nm=self.z,
            photons=self.photons,
            background=self.background,
            roi_px=ROI,
            **noise,
        )
        errors = {
            "x": (fits.x_px - self.x) / bound.x_px,
            "y": (fits.y_px - self.y) / bound.y_px,
            "photons": (fits.photons - self.photons) / bound.photons,
            "background": (fits.background - self.background) / bound.background,
        }
        if self.psf.is_3d:
            errors["z"] = (fits.z_nm - self.z) / bound.z_nm
        return {name: float(e.square().mean().sqrt()) for name, e in errors.items()}


def assert_at_the_bound(ratios: dict[str, float], number: int) -> None:
    # An RMSE of n Gaussian errors scatters by 1 / sqrt(2 n); four deviations and 1 % of bias.
    tolerance = 4 / math.sqrt(2 * number) + 0.01
    for name, ratio in ratios.items():
        assert ratio == pytest.approx(1, abs=tolerance), name


@pytest.mark.parametrize(("photons", "background"), [(5000.0, 20.0), (1500.0, 5.0)])
def test_reaches_the_bound(spline: SplinePsfModel, photons: float, background: float) -> None:
    sample = Sample(spline, 6000, photons=photons, background=background, z_nm=500, seed=0)
    images = sample.poisson()
    fits = fit_emitters(spline, images)
    assert_at_the_bound(sample.ratios(fits), 6000)
    assert (fits.flags & LocalizationFlag.NOT_CONVERGED).count_nonzero() <= 6
    # Wilks: fitting five parameters lowers the deviance from the true mean by five.
    data, mean = images.double(), sample.mean.double()
    deviance = 2 * (torch.xlogy(data, data / mean) - data + mean).sum((1, 2))
    gain = float((deviance + 2 * fits.log_likelihood).mean())
    assert gain == pytest.approx(5, abs=0.25)  # four deviations of sqrt(2 * 5 / 6000)


def test_sigmas_are_those_of_the_errors(spline: SplinePsfModel) -> None:
    sample = Sample(spline, 6000, photons=3000, background=10, z_nm=500, seed=1)
    fits = fit_emitters(spline, sample.poisson())
    for name, score in (
        ("x", (fits.x_px - sample.x) / fits.sigma_x_px),
        ("y", (fits.y_px - sample.y) / fits.sigma_y_px),
        ("z", (fits.z_nm - sample.z) / fits.sigma_z_nm),
        ("photons", (fits.photons - sample.photons) / fits.sigma_photons),
    ):
        assert float(score.std()) == pytest.approx(1, abs=0.05), name
        assert abs(float(score.mean())) < 0.08, name  # 4 / sqrt(6000) and a bias of 3 %


def test_scmos_map_is_used(spline: SplinePsfModel) -> None:
    sample = Sample(spline, 4000, photons=2000, background=10, z_nm=450, seed=2)
    variance = torch.rand(4000, ROI, ROI, generator=sample.generator) ** 4 * 400
    noise = torch.randn(4000, ROI, ROI, generator=sample.generator) * variance.sqrt()
    images = sample.poisson() + noise
    aware = sample.ratios(
        fit_emitters(spline, images, read_variance=variance), read_variance=variance
    )
    ignorant = sample.ratios(fit_emitters(spline, images), read_variance=variance)
    # The matched-moments likelihood is not exact for such noise, so allow 6 % here.
    assert max(aware.values()) < 1.06
    assert ignorant["x"] > 1.2


def test_em_excess_noise(spline: SplinePsfModel) -> None:
    sample = Sample(spline, 4000, photons=4000, background=20, z_nm=450, seed=3)
    electrons = sample.poisson().numpy()
    rng = np.random.default_rng(3)
    amplified = rng.gamma(np.maximum(electrons, 1e-12)) * (electrons > 0)  # EM register, per gain
    images = torch.from_numpy(amplified.astype(np.float32))
    fits = fit_emitters(spline, images, options=FitOptions(excess_noise=2.0))
    assert_at_the_bound(sample.ratios(fits, excess_noise=2.0), 4000)
    score = (fits.z_nm - sample.z) / fits.sigma_z_nm
    assert float(score.std()) == pytest.approx(1, abs=0.06)


def test_two_dimensional_gaussian() -> None:
    parameters = GaussianPsf(sigma0_x_nm=130, sigma0_y_nm=130)
    psf = GaussianPsfModel(parameters, pixel_size_x_nm=100, pixel_size_y_nm=100)
    sample = Sample(psf, 4000, photons=800, background=5, z_nm=0, seed=4)
    fits = fit_emitters(psf, sample.poisson())
    assert_at_the_bound(sample.ratios(fits), 4000)
    assert torch.isnan(fits.z_nm).all()
    assert torch.isnan(fits.sigma_z_nm).all()
    assert torch.count_nonzero(fits.flags) == 0


def test_astigmatic_gaussian_in_double_precision() -> None:
    psf = gaussian_model()
    single = Sample(
        gaussian_model(torch.float32), 2000, photons=3000, background=10, z_nm=500, seed=5
    )
    images = single.poisson()
    double = fit_emitters(psf, images)
    fits = fit_emitters(single.psf, images)
    assert double.x_px.dtype == torch.float64
    assert_at_the_bound(single.ratios(fits), 2000)
    difference = (fits.z_nm - double.z_nm).abs() / double.sigma_z_nm
    assert float(difference.max()) < 0.02  # single precision and the stopping rule


def test_noise_free_images_give_the_truth(spline: SplinePsfModel) -> None:
    sample = Sample(spline, 500, photons=20_000, background=10, z_nm=600, seed=6)
    fits = fit_emitters(spline, sample.mean)
    for found, truth, sigma in (
        (fits.x_px, sample.x, fits.sigma_x_px),
        (fits.y_px, sample.y, fits.sigma_y_px),
        (fits.z_nm, sample.z, fits.sigma_z_nm),
        (fits.photons, sample.photons, fits.sigma_photons),
    ):
        assert float(((found - truth).abs() / sigma).max()) < 0.02
    assert float(fits.log_likelihood.min()) > -0.01


def test_result_does_not_depend_on_the_batch(spline: SplinePsfModel) -> None:
    """More windows than are in work at a time; each fitted as if it were alone."""
    sample = Sample(spline, 5000, photons=2000, background=10, z_nm=500, seed=7)
    images = sample.poisson()
    together = fit_emitters(spline, images)
    some = torch.tensor([0, 17, 2047, 2048, 4999])
    alone = fit_emitters(spline, images[some])
    shift = (together.z_nm[some] - alone.z_nm).abs() / alone.sigma_z_nm
    assert float(shift.max()) < 1e-2  # rounding moves a fit within its stopping rule
    assert torch.equal(together.flags[some], alone.flags)


def test_beyond_the_range_sits_at_the_limit_and_is_flagged(spline: SplinePsfModel) -> None:
    wide = SplinePsfModel.from_parameters(astigmatic_spline(slices=69))  # reaches -850..850 nm
    number = 200
    zero, z = torch.zeros(number), torch.full((number,), 830.0)
    images = torch.poisson(
        (5000 * wide.value(zero, zero, z, ROI) + 10).clamp(min=0),
        generator=torch.Generator().manual_seed(8),
    )
    fits = fit_emitters(spline, images)
    assert ((fits.flags & LocalizationFlag.Z_AT_LIMIT) != 0).float().mean() > 0.95
    assert float(fits.z_nm.max()) <= 650
    inside = fit_emitters(wide, images)
    assert torch.count_nonzero(inside.flags & LocalizationFlag.Z_AT_LIMIT) < number // 3


def test_iteration_limit_is_flagged(spline: SplinePsfModel) -> None:
    sample = Sample(spline, 100, photons=2000, background=10, z_nm=500, seed=9)
    fits = fit_emitters(spline, sample.poisson(), options=FitOptions(max_iterations=1))
    assert ((fits.flags & LocalizationFlag.NOT_CONVERGED) != 0).float().mean() > 0.9
    assert fits.iterations.max() == 1
    assert torch.isfinite(fits.x_px).all()


def test_several_starts_keep_the_likeliest(spline: SplinePsfModel) -> None:
    sample = Sample(spline, 300, photons=1000, background=10, z_nm=600, seed=10)
    images = sample.poisson()
    starts = (-400.0, 0.0, 400.0)
    single = [
        fit_emitters(spline, images, options=FitOptions(z_starts_nm=(z,))).log_likelihood
        for z in starts
    ]
    best = fit_emitters(spline, images, options=FitOptions(z_starts_nm=starts))
    expected = torch.stack(single).amax(0)
    torch.testing.assert_close(best.log_likelihood, expected, atol=1e-3, rtol=1e-5)
    searched = fit_emitters(spline, images)
    # The search must find the optimum that three starts find, in almost all windows.
    assert (searched.log_likelihood > expected - 0.05).float().mean() > 0.98


def test_start_and_reach_bound_the_position(spline: SplinePsfModel) -> None:
    one = torch.ones(50)
    truth_x, truth_y = 2.5 * one, -2.0 * one
    images = 3000 * spline.value(truth_x, truth_y, 0 * one, ROI) + 10
    near = FitStart(2 * one, -2 * one)
    fits = fit_emitters(spline, images, start=near, options=FitOptions(max_shift_px=1.0))
    torch.testing.assert_close(fits.x_px, truth_x, atol=0.02, rtol=0)
    far = fit_emitters(
        spline, images, start=FitStart(0 * one, 0 * one), options=FitOptions(max_shift_px=1.0)
    )
    assert float(far.x_px.abs().max()) <= 1
    assert float(far.y_px.abs().max()) <= 1


@pytest.mark.parametrize("value", [0.0, float("nan"), -50.0])
def test_hopeless_windows_end_and_are_flagged_or_dark(spline: SplinePsfModel, value: float) -> None:
    fits = fit_emitters(spline, torch.full((20, ROI, ROI), value))
    dark = fits.photons <= 10
    flagged = (fits.flags & LocalizationFlag.NOT_CONVERGED) != 0
    assert (dark | flagged).all()


def test_no_window_and_wrong_windows(spline: SplinePsfModel) -> None:
    nothing = fit_emitters(spline, torch.zeros(0, ROI, ROI))
    assert nothing.x_px.shape == nothing.flags.shape == (0,)
    with pytest.raises(ConfigError, match="12, 12"):
        fit_emitters(spline, torch.zeros(3, 12, 12))
    with pytest.raises(ConfigError, match="start value"):
        fit_emitters(spline, torch.zeros(3, ROI, ROI), options=FitOptions(z_starts_nm=()))
