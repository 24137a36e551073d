"""Fisher information against closed forms, numerical derivatives and Monte Carlo."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from decode_engine.domain.calibration import GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.psf.base import PsfModel
from decode_engine.psf.fisher import Crlb, crlb, jacobian, noise_terms
from decode_engine.psf.gaussian import GaussianPsfModel
from decode_engine.psf.normal_equations import inverse_diagonal, solve
from decode_engine.psf.spline import SplinePsfModel
from tests.psf_samples import ASTIGMATIC, astigmatic_spline, gaussian_model

DOUBLE = torch.float64


def flat(sigma_px: float) -> GaussianPsfModel:
    parameters = GaussianPsf(sigma0_x_nm=100 * sigma_px, sigma0_y_nm=100 * sigma_px)
    return GaussianPsfModel(parameters, pixel_size_x_nm=100, pixel_size_y_nm=100, dtype=DOUBLE)


def bound(
    psf: PsfModel,
    *,
    z_nm: float = 0.0,
    photons: float = 1000.0,
    background: float = 10.0,
    roi_px: int = 13,
    **noise: float | Tensor,
) -> Crlb:
    one = torch.ones(1, dtype=DOUBLE)
    return crlb(
        psf,
        dx_px=0.21 * one,
        dy_px=-0.13 * one,
        z_nm=z_nm * one,
        photons=photons * one,
        background=background * one,
        roi_px=roi_px,
        **noise,
    )


def test_without_background_it_is_sigma_over_root_n() -> None:
    """Wide pixels aside, N photons locate a Gaussian to sigma / sqrt(N)."""
    sigma, photons = 4.0, 900.0
    found = bound(flat(sigma), photons=photons, background=1e-9, roi_px=41)
    # Pixels of width a widen the spot to sqrt(sigma^2 + a^2 / 12).
    expected = math.sqrt(sigma**2 + 1 / 12) / math.sqrt(photons)
    assert float(found.x_px) == pytest.approx(expected, rel=2e-3)
    assert float(found.y_px) == pytest.approx(expected, rel=2e-3)
    assert float(found.photons) == pytest.approx(math.sqrt(photons), rel=5e-3)
    assert math.isnan(float(found.z_nm))


@pytest.mark.parametrize("background", [1.0, 20.0, 200.0])
def test_mortensens_formula_with_background(background: float) -> None:
    """Mortensen et al. 2010, equation 5: the maximum-likelihood variance of x."""
    sigma, photons = 3.0, 2000.0
    wide = sigma**2 + 1 / 12
    tau = 2 * math.pi * wide * background / photons
    integral, _ = quad(lambda t: math.log(t) / (1 + t / tau), 0, 1)
    expected = math.sqrt(wide / photons / (1 + integral))
    found = bound(flat(sigma), photons=photons, background=background, roi_px=41)
    assert float(found.x_px) == pytest.approx(expected, rel=5e-3)


def test_excess_noise_is_a_factor_and_read_noise_is_not() -> None:
    psf = gaussian_model()
    plain, excess = bound(psf, z_nm=100), bound(psf, z_nm=100, excess_noise=2.0)
    for name in ("x_px", "y_px", "z_nm", "photons", "background"):
        ratio = float(getattr(excess, name)) / float(getattr(plain, name))
        assert ratio == pytest.approx(math.sqrt(2), rel=1e-6)
    noisy = bound(psf, z_nm=100, read_variance=30.0)
    assert float(noisy.x_px) > 1.05 * float(plain.x_px)


def test_per_pixel_variance_maps() -> None:
    psf = gaussian_model()
    scalar = bound(psf, read_variance=7.0)
    constant = bound(psf, read_variance=torch.full((1, 13, 13), 7.0, dtype=DOUBLE))
    assert float(constant.x_px) == pytest.approx(float(scalar.x_px), rel=1e-9)
    # A border of infinitely noisy pixels is a smaller window.
    frame = torch.full((1, 13, 13), 1e12, dtype=DOUBLE)
    frame[:, 2:-2, 2:-2] = 0
    framed, cut = bound(psf, read_variance=frame), bound(psf, roi_px=9)
    for name in ("x_px", "y_px", "z_nm", "photons", "background"):
        assert float(getattr(framed, name)) == pytest.approx(float(getattr(cut, name)), rel=1e-5)


def test_agrees_with_numerical_derivatives_and_numpy_inverse() -> None:
    psf = SplinePsfModel.from_parameters(astigmatic_spline(), dtype=DOUBLE)
    truth = np.array([0.21, -0.13, 1000.0, 10.0, -310.0])  # x, y, photons, background, z
    variance_map = np.random.default_rng(0).uniform(0, 20, (13, 13))

    def mean(p: np.ndarray) -> np.ndarray:
        x, y, _, _, z = (torch.tensor([v], dtype=DOUBLE) for v in p)
        return np.asarray(p[2] * psf.value(x, y, z, 13)[0].numpy() + p[3])

    steps = np.diag([1e-4, 1e-4, 1e-2, 1e-2, 1e-2])
    slopes = [(mean(truth + s) - mean(truth - s)) / (2 * s.sum()) for s in steps]
    variance = 1.8 * mean(truth) + variance_map
    information = [[(a * b / variance).sum() for b in slopes] for a in slopes]
    expected = np.sqrt(np.diag(np.linalg.inv(np.array(information))))
    found = bound(
        psf, z_nm=-310.0, excess_noise=1.8, read_variance=torch.from_numpy(variance_map)[None]
    )
    values = [found.x_px, found.y_px, found.photons, found.background, found.z_nm]
    np.testing.assert_allclose([float(v) for v in values], expected, rtol=1e-5)


def test_score_of_simulated_images_has_this_covariance() -> None:
    """Monte Carlo: the information is the covariance of the log-likelihood's derivative."""
    psf = gaussian_model()
    number = 20_000
    one = torch.ones(1, dtype=DOUBLE)
    gradient = psf.value_and_gradient(0.2 * one, -0.1 * one, 150 * one, 9)
    derivatives = jacobian(gradient, 800 * one, is_3d=True)[0]
    mean = (800 * gradient.value[0] + 6).flatten()
    generator = torch.Generator().manual_seed(5)
    images = torch.poisson(mean.expand(number, -1), generator=generator)
    score = (images / mean - 1) @ derivatives.T
    expected = (derivatives / mean) @ derivatives.T
    scale = torch.diagonal(expected).sqrt()
    error = (score.T @ score / number - expected) / (scale[:, None] * scale)
    # Each scaled entry scatters by at most sqrt(2 / number) = 1 %; 25 entries, 4.5 deviations.
    assert error.abs().max() < 0.045


def test_out_of_range_z_has_no_bound_and_the_rest_does() -> None:
    found = bound(gaussian_model(), z_nm=ASTIGMATIC.z_max_nm + 100)
    assert math.isinf(float(found.z_nm))
    assert 0 < float(found.x_px) < 1


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    columns = [torch.from_numpy(rng.uniform(-s, s, 50)) for s in (0.5, 0.5, 600)]

    def bounds() -> Tensor:
        return crlb(
            gaussian_model(),
            dx_px=columns[0],
            dy_px=columns[1],
            z_nm=columns[2],
            photons=torch.full((50,), 700.0, dtype=DOUBLE),
            background=torch.full((50,), 5.0, dtype=DOUBLE),
            roi_px=11,
        ).z_nm

    whole = bounds()
    monkeypatch.setattr("decode_engine.psf.fisher._FLOATS_PER_CHUNK", 5 * 11**2 * 7)
    torch.testing.assert_close(bounds(), whole)


def test_noise_of_a_camera_is_that_of_its_documentation() -> None:
    camera = CameraModel(
        kind="emccd",
        pixel_size_x_nm=100,
        pixel_size_y_nm=100,
        em_gain=100,
        quantum_efficiency=0.8,
        read_noise_e=60,
        spurious_charge_e=0.02,
    )
    noise = noise_terms(camera)
    mean = 12.0  # CameraModel: F (mu + spurious / QE) / QE + (read / (gain QE))^2
    expected = 2 * (mean + 0.02 / 0.8) / 0.8 + (60 / (100 * 0.8)) ** 2
    assert noise.excess_noise * mean + noise.read_variance == pytest.approx(expected)
    scmos = CameraModel(
        kind="scmos",
        pixel_size_x_nm=100,
        pixel_size_y_nm=100,
        read_noise_e=np.array([[1.0, 2.0]], np.float32),
    )
    np.testing.assert_allclose(noise_terms(scmos).read_variance, [[1.0, 4.0]])
    assert noise_terms(scmos).excess_noise == 1


def test_batched_solver_agrees_with_lapack() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(50, 5, 8, dtype=DOUBLE, generator=generator)
    # Units as different as photons and nm.
    scale = torch.tensor([1.0, 1e3, 1e-3, 1e2, 1e-2], dtype=DOUBLE)
    matrix = (root @ root.transpose(1, 2)) * scale[:, None] * scale
    right = torch.randn(50, 5, dtype=DOUBLE, generator=generator) * scale
    damping = torch.rand(50, dtype=DOUBLE, generator=generator)
    damped = matrix + torch.diag_embed(damping[:, None] * torch.diagonal(matrix, dim1=1, dim2=2))
    none = torch.zeros(50, 5, dtype=torch.bool)
    torch.testing.assert_close(
        solve(matrix, right, damping=damping, frozen=none),
        torch.linalg.solve(damped, right[:, :, None])[:, :, 0],
    )
    torch.testing.assert_close(
        inverse_diagonal(matrix), torch.diagonal(torch.linalg.inv(matrix), dim1=1, dim2=2)
    )
    frozen = none.clone()
    frozen[:, 1] = True
    keep = [0, 2, 3, 4]
    part = solve(matrix, right, damping=0 * damping, frozen=frozen)
    expected = torch.linalg.solve(matrix[:, keep][:, :, keep], right[:, keep, None])[:, :, 0]
    torch.testing.assert_close(part[:, keep], expected)
    assert torch.count_nonzero(part[:, 1]) == 0


def test_parameters_that_cannot_be_told_apart_have_infinite_variance() -> None:
    same = torch.ones(1, 2, 2, dtype=DOUBLE)
    assert torch.isinf(inverse_diagonal(same)).all()
