"""Camera noise against theory. Thresholds keep false alarms below 1e-6 per check."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from decode_engine.domain.camera import CameraModel
from decode_engine.errors import CameraError
from decode_engine.simulation.camera_noise import CameraNoise

SIGMAS = 5.0  # a two-sided false alarm of 6e-7 for a normal statistic
PIXELS = 200_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def camera(**values: object) -> CameraModel:
    defaults = {"kind": "scmos", "pixel_size_x_nm": 100.0, "pixel_size_y_nm": 100.0}
    return CameraModel(**{**defaults, **values})  # type: ignore[arg-type]  # keywords by name


IDEAL = camera(kind="ideal", offset_adu=100.0)
SCMOS = camera(
    offset_adu=100.0, e_per_adu=0.46, read_noise_e=1.6, quantum_efficiency=0.82,
    spurious_charge_e=0.3,
)  # fmt: skip
COARSE = camera(offset_adu=398.6, e_per_adu=5.0, read_noise_e=74.4)
EMCCD = camera(
    kind="emccd", offset_adu=200.0, e_per_adu=5.2, em_gain=120.0, read_noise_e=60.0,
    quantum_efficiency=0.9, spurious_charge_e=0.02,
)  # fmt: skip


def photons(model: CameraModel, mean: float, seed: int = 0) -> NDArray[np.float64]:
    noise = CameraNoise(model)
    adu = noise.sample(torch.full((1, PIXELS), mean), generator(seed))
    assert torch.equal(adu, adu.round())
    return noise.to_photons(adu).numpy().astype(float)[0]


def assert_moments(sample: NDArray[np.float64], mean: float, variance: float) -> None:
    n = len(sample)
    assert abs(sample.mean() - mean) < SIGMAS * math.sqrt(variance / n)
    fourth = np.mean((sample - sample.mean()) ** 4)
    spread = math.sqrt((fourth - sample.var() ** 2) / n)
    assert abs(sample.var() - variance) < SIGMAS * spread


@pytest.mark.parametrize("model", [IDEAL, SCMOS, COARSE, EMCCD], ids=lambda m: m.kind)
@pytest.mark.parametrize("mean", [0.0, 0.7, 12.0, 800.0])
def test_mean_and_variance(model: CameraModel, mean: float) -> None:
    qe = model.quantum_efficiency
    signal = (mean + model.spurious_charge_e / qe) / qe
    to_photons = model.e_per_adu / (model.em_gain * qe)
    # Whole ADU add 1/12 ADU^2, except where the numbers are whole already (ideal, 1 e-/ADU).
    quantization = 0.0 if model.kind == "ideal" else to_photons**2 / 12
    variance = model.excess_noise * signal + model.read_variance_photons2 + quantization
    sample = photons(model, mean)
    if variance == 0:
        assert np.all(sample == 0)
        return
    # Rounding is unbiased to 2 exp(-2 pi^2 s^2) / (2 pi) ADU for a noise of s ADU: nothing
    # for these cameras, the least noisy of which reads with 3.5 ADU.
    assert_moments(sample, mean, variance)


def test_em_register_doubles_the_variance() -> None:
    """The signal alone, without read noise and with steps too small to matter."""
    clean = camera(kind="emccd", offset_adu=0.0, e_per_adu=0.5, em_gain=300.0)
    sample = photons(clean, 40.0)
    assert_moments(sample, 40.0, 2 * 40.0)
    assert sample.var() / sample.mean() == pytest.approx(2.0, abs=0.05)


def test_em_distribution_is_poisson_gamma() -> None:
    """Few electrons, where a normal approximation would be wrong."""
    clean = camera(kind="emccd", offset_adu=0.0, e_per_adu=0.01, em_gain=100.0)
    sample = np.sort(photons(clean, 1.3, seed=5))
    n = len(sample)
    electrons = np.arange(1, 30)
    weights = stats.poisson.pmf(electrons, 1.3)
    probe = np.linspace(0.005, 8, 200)
    theory = math.exp(-1.3) + stats.gamma.cdf(probe[:, None], electrons) @ weights
    empirical = np.searchsorted(sample, probe, side="right") / n
    assert np.max(np.abs(empirical - theory)) < math.sqrt(math.log(2e6) / (2 * n))
    zero = math.exp(-1.3)
    share = np.mean(sample < 5e-5)  # a Gamma number rounds to 0 with a chance below 1e-4
    assert abs(share - zero) < SIGMAS * math.sqrt(zero * (1 - zero) / n) + 1e-4


def maps(shape: tuple[int, int]) -> CameraModel:
    rng = np.random.default_rng(3)
    return camera(
        offset_adu=rng.uniform(90, 110, shape),
        e_per_adu=rng.uniform(0.3, 0.9, shape),
        read_noise_e=rng.uniform(1.0, 6.0, shape),
    )


def test_maps_hold_pixel_by_pixel() -> None:
    shape, n = (12, 9), 20_000
    model = maps(shape)
    noise = CameraNoise(model)
    frames = noise.to_photons(noise.sample(torch.full((n, *shape), 25.0), generator()))
    sample = frames.numpy().astype(float)
    quantization = np.asarray(model.e_per_adu) ** 2 / 12
    variance = 25.0 + np.asarray(model.read_variance_photons2) + quantization
    # 108 pixels, Bonferroni: 6 sigma is 2e-9 for one.
    assert np.max(np.abs(sample.mean(0) - 25.0) / np.sqrt(variance / n)) < 6.0
    fourth = np.mean((sample - sample.mean(0)) ** 4, axis=0)
    spread = np.sqrt((fourth - sample.var(0) ** 2) / n)
    assert np.max(np.abs(sample.var(0) - variance) / spread) < 6.0
    assert np.ptp(variance) > 10  # or the test would say nothing about maps


@pytest.mark.parametrize(
    "model", [IDEAL, SCMOS, COARSE, EMCCD, maps((6, 7))], ids=["i", "s", "c", "e", "maps"]
)
def test_inverse_equals_the_camera_model(model: CameraModel) -> None:
    adu = np.random.default_rng(1).integers(0, 65536, (3, 6, 7)).astype(np.uint16)
    ours = CameraNoise(model).to_photons(torch.from_numpy(adu.astype(np.float32)))
    theirs = model.adu_to_photons(adu)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=2e-6, atol=1e-4)


def test_windows_cut_the_same_pixels_from_every_map() -> None:
    rows, columns = np.mgrid[0:20, 0:30]
    code = (100.0 * rows + columns).astype(np.float32)
    model = camera(offset_adu=code, e_per_adu=code + 1, read_noise_e=code)
    windows = CameraNoise(model).random_windows(400, 5, 8, generator())
    assert windows.offset_adu.shape == (400, 1, 5, 8)
    assert torch.equal(windows.offset_adu, windows.read_noise_e)
    assert torch.equal(windows.offset_adu + 1, windows.e_per_adu)
    offset = windows.offset_adu[:, 0].numpy()
    top, left = offset[:, 0, 0] // 100, offset[:, 0, 0] % 100
    corner = code[:5, :8]
    np.testing.assert_array_equal(offset, corner + offset[:, :1, :1])
    # All 16 x 23 places are possible, and the ends are reached (400 draws miss an end row
    # with (15/16)^400 = 6e-12, an end column with (22/23)^400 = 2e-8).
    assert (top.min(), top.max(), left.min(), left.max()) == (0, 15, 0, 22)


def test_windows_are_used_for_sampling_and_back() -> None:
    model = maps((16, 16))
    noise = CameraNoise(model)
    windows = noise.random_windows(2000, 4, 4, generator(1))
    adu = noise.sample(torch.full((2000, 3, 4, 4), 50.0), generator(2), pixels=windows)
    back = noise.to_photons(adu, pixels=windows).numpy()
    assert abs(back.mean() - 50.0) < SIGMAS * back.std() / math.sqrt(back.size)
    # With the offset of other pixels the spread of 20 ADU of the map would show.
    assert back.var() < 50.0 + np.max(model.read_variance_photons2) + 1


def test_frame_must_fit_the_maps() -> None:
    noise = CameraNoise(maps((8, 8)))
    with pytest.raises(CameraError, match="cover 8 x 8"):
        noise.sample(torch.zeros(1, 8, 9), generator())
    with pytest.raises(CameraError, match="less than the training frames of 9 x 4"):
        noise.random_windows(1, 4, 9, generator())


def test_saturation_and_floor_clip() -> None:
    model = camera(offset_adu=20.0, read_noise_e=30.0, saturation_adu=4095.0)
    adu = CameraNoise(model).sample(torch.tensor([0.0, 4080.0, 1e6]).repeat(1000, 1), generator())
    assert float(adu[:, 0].min()) == 0.0
    assert float(adu[:, 1].max()) == 4095.0
    assert torch.all(adu[:, 2] == 4095.0)
    # Half of N(20, 30) rounded lies below 0 with probability 0.25.
    share = float((adu[:, 0] == 0).float().mean())
    expected = stats.norm.cdf((0.5 - 20) / 30)
    assert abs(share - expected) < SIGMAS * math.sqrt(expected * (1 - expected) / 1000)


def test_unknown_saturation_does_not_clip() -> None:
    adu = CameraNoise(IDEAL).sample(torch.full((1, 10), 1e6), generator())
    assert float(adu.min()) > 9e5


@pytest.mark.parametrize("model", [SCMOS, EMCCD], ids=lambda m: m.kind)
def test_gain_factor_scales_the_signal_only(model: CameraModel) -> None:
    noise = CameraNoise(model)
    gain = torch.tensor([0.8, 1.0, 1.3])[:, None, None, None]
    expected = torch.full((3, 1, 200, 200), 500.0)
    back = noise.to_photons(noise.sample(expected, generator(), gain=gain)).numpy()
    dark = model.spurious_charge_e / model.quantum_efficiency
    for sample, factor in zip(back, gain.flatten().tolist(), strict=True):
        mean = factor * (500.0 + dark) - dark
        assert abs(sample.mean() - mean) < SIGMAS * sample.std() / 200


def test_negative_expectations_count_as_darkness() -> None:
    assert torch.all(CameraNoise(IDEAL).sample(torch.full((2, 2), -5.0), generator()) == 100.0)


def test_same_seed_same_bits() -> None:
    noise, light = CameraNoise(EMCCD), torch.rand(4, 16, 16) * 100
    first, second = (noise.sample(light, generator(9)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, noise.sample(light, generator(10)))
