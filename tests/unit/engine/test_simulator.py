"""The simulator as a whole. Thresholds keep false alarms below 1e-6 per check."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from decode_engine.contract.configs import SimulationConfig
from decode_engine.domain.calibration import GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.localizations import Emitters
from decode_engine.errors import CalibrationError, CameraError, ConfigError
from decode_engine.psf.gaussian import GaussianPsfModel
from decode_engine.simulation.simulator import MovieChunk, Simulator, TrainingBatch

SIGMAS = 5.0  # a two-sided false alarm of 6e-7 for a normal statistic
PIXEL_UM2 = 0.01


def flat_psf(sigma_nm: float = 100.0) -> GaussianPsfModel:
    parameters = GaussianPsf(sigma0_x_nm=sigma_nm, sigma0_y_nm=sigma_nm)
    return GaussianPsfModel(parameters, pixel_size_x_nm=100, pixel_size_y_nm=100)


def deep_psf() -> GaussianPsfModel:
    parameters = GaussianPsf(
        sigma0_x_nm=110, sigma0_y_nm=110, depth_nm=400, focus_x_nm=200, focus_y_nm=-200,
        z_min_nm=-500, z_max_nm=700,
    )  # fmt: skip
    return GaussianPsfModel(parameters, pixel_size_x_nm=100, pixel_size_y_nm=100)


def camera(**values: object) -> CameraModel:
    defaults = {"kind": "ideal", "pixel_size_x_nm": 100.0, "pixel_size_y_nm": 100.0}
    return CameraModel(**{**defaults, **values})  # type: ignore[arg-type]  # keywords by name


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(
    config: SimulationConfig, n: int = 400, patch: int = 16, **call: float
) -> TrainingBatch:
    return Simulator(flat_psf(), camera(), config).training_batch(n, patch, 3, generator(), **call)


def bits(batch: TrainingBatch) -> list[torch.Tensor]:
    return [batch.frames, batch.background, *batch.targets]


def movie(simulator: Simulator, n: int, **options: object) -> list[MovieChunk]:
    return list(simulator.movie_chunks(n, 30, 20, generator(), **options))  # type: ignore[arg-type]  # keywords by name


def joined(chunks: list[MovieChunk]) -> Emitters:
    names = Emitters.empty().columns()
    names |= {"background": np.empty(0), "emitter_id": np.empty(0)}
    return Emitters(**{k: np.concatenate([getattr(c.emitters, k) for c in chunks]) for k in names})


def test_shapes_and_types() -> None:
    batch = Simulator(deep_psf(), camera(), SimulationConfig()).training_batch(
        3, 16, 3, generator()
    )
    assert batch.frames.shape == (3, 3, 16, 16)
    assert batch.background.shape == (3, 16, 16)
    longest = int(batch.targets.valid.sum(1).max())
    for column in batch.targets:
        assert column.shape == (3, longest)
    assert batch.frames.dtype == torch.float32
    assert not batch.frames.is_inference()  # or autograd could not use it


@pytest.mark.parametrize("prior", ["uniform", "filaments", "rings"])
def test_same_seed_same_bits(prior: str) -> None:
    config = SimulationConfig(
        prior=prior, psf_width_jitter=0.05, z_scale_jitter=0.03, gain_jitter=0.05
    )
    emccd = camera(kind="emccd", em_gain=100.0, read_noise_e=50.0, e_per_adu=5.0, offset_adu=100.0)
    simulator = Simulator(deep_psf(), emccd, config)
    first, second, other = (
        bits(simulator.training_batch(4, 20, 3, generator(seed))) for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


def test_targets_have_the_asked_density() -> None:
    low, high, n, area = 0.3, 2.5, 3000, 16 * 16 * PIXEL_UM2
    config = SimulationConfig(density_min_per_um2=low, density_max_per_um2=high)
    counts = batch_of(config, n).targets.valid.sum(1).double()
    # Log-uniform density: E d = (b - a)/ln(b/a), E d^2 = (b^2 - a^2)/(2 ln(b/a)).
    span = math.log(high / low)
    mean = area * (high - low) / span
    square = area**2 * (high**2 - low**2) / (2 * span)
    variance = mean + square - mean**2
    assert abs(float(counts.mean()) - mean) < SIGMAS * math.sqrt(variance / n)
    fourth = float(((counts - mean) ** 4).mean())
    assert abs(float(counts.var()) - variance) < SIGMAS * math.sqrt((fourth - variance**2) / n)


def test_samples_are_brighter_or_dimmer_as_a_whole() -> None:
    """log(factor) is uniform between -log(spread) and log(spread)."""
    spread, mean, n = 5.0, 1000.0, 1500
    config = SimulationConfig(
        density_min_per_um2=8.0, density_max_per_um2=8.0, flux_mean=mean, flux_std=0.0,
        flux_spread=spread, lifetime_frames=1e6,
    )  # fmt: skip
    targets = batch_of(config, n).targets
    photons, valid = targets.photons.double(), targets.valid
    brightest = photons.masked_fill(~valid, 0).amax(1)
    dimmest = photons.masked_fill(~valid, math.inf).amin(1)
    torch.testing.assert_close(dimmest, brightest, rtol=1e-4, atol=0)  # one factor a sample
    log_factor = (brightest / mean).log()
    half = math.log(spread)
    assert float(log_factor.abs().max()) <= half + 1e-5
    assert abs(float(log_factor.mean())) < SIGMAS * half / math.sqrt(3 * n)
    fourth_spread = math.sqrt(half**4 * (1 / 5 - 1 / 9) / n)  # of the mean square
    assert abs(float((log_factor**2).mean()) - half**2 / 3) < SIGMAS * fourth_spread


@pytest.mark.parametrize("column", [0, 1, 8, 15])
def test_light_per_pixel_is_the_same_up_to_the_border(column: int) -> None:
    """Emitters outside leak in: density * flux * tau/(tau+1) photons per area, everywhere."""
    density, tau, flux, n = 2.0, 2.0, 1000.0, 3000
    config = SimulationConfig(
        density_min_per_um2=density, density_max_per_um2=density, lifetime_frames=tau,
        flux_mean=flux, flux_std=200.0, background_min=5.0, background_max=5.0,
        background_variation=0.0,
    )  # fmt: skip
    frames = batch_of(config, n).frames.double()
    light = frames[:, 1, :, column].mean(1) - 5.0  # independent between samples
    expected = density * PIXEL_UM2 * flux * tau / (tau + 1)
    assert abs(float(light.mean()) - expected) < SIGMAS * float(light.std()) / math.sqrt(n)
    assert expected > 10


def test_margin_reaches_as_far_as_the_psf() -> None:
    psf = flat_psf()
    assert Simulator(psf, camera(), SimulationConfig()).margin_px == psf.support_px / 2
    assert Simulator(psf, camera(), SimulationConfig(margin_px=3.0)).margin_px == 3.0


def test_without_margin_the_border_is_darker() -> None:
    config = SimulationConfig(
        density_min_per_um2=2.0, density_max_per_um2=2.0, background_min=0.0, background_max=0.0,
        margin_px=0.0,
    )  # fmt: skip
    frames = batch_of(config, 1000).frames.double().mean((0, 1))
    assert float(frames[:, 0].mean()) < 0.75 * float(frames[:, 8].mean())


def test_photons_arrive_where_no_target_is() -> None:
    config = SimulationConfig(background_min=0.0, background_max=0.0)
    batch = batch_of(config, 300, patch=16)
    alone = ~batch.targets.valid.any(1)
    assert int(alone.sum()) > 5
    assert float(batch.frames[alone, 1].sum()) > 100.0


def test_targets_lie_inside_and_are_bright_enough() -> None:
    config = SimulationConfig(flux_mean=500.0, flux_std=300.0)
    every, bright = batch_of(config).targets, batch_of(config, label_min_photons=300.0).targets
    for targets in (every, bright):
        valid = targets.valid
        for position in (targets.x_px[valid], targets.y_px[valid]):
            assert float(position.min()) >= -0.5
            assert float(position.max()) < 15.5
        assert torch.all(targets.photons[~valid] == 0)
        assert torch.all(targets.x_px[~valid] == 0)
    assert float(bright.photons[bright.valid].min()) >= 300.0
    expected = every.photons[every.valid] >= 300.0
    assert int(bright.valid.sum()) == int(expected.sum())
    assert float(every.photons[every.valid].min()) > 0.0


def test_targets_are_where_the_light_is() -> None:
    """Single bright emitters on a dark frame: the centre of light is the target's position."""
    config = SimulationConfig(
        density_min_per_um2=0.1, density_max_per_um2=0.1, background_min=0.0, background_max=0.0,
        flux_mean=1e6, flux_std=0.0, margin_px=0.0, lifetime_frames=5.0,
    )  # fmt: skip
    batch = batch_of(config, 200, patch=24)
    targets = batch.targets
    steps = torch.arange(24.0)
    checked = 0
    for sample in torch.nonzero(targets.valid.sum(1) == 1).flatten().tolist():
        slot = int(targets.valid[sample].nonzero())
        x, y = float(targets.x_px[sample, slot]), float(targets.y_px[sample, slot])
        photons = float(targets.photons[sample, slot])
        if photons < 1e5 or not (4 < x < 19 and 4 < y < 19):
            continue
        image = batch.frames[sample, 1]
        total = float(image.sum())
        assert total == pytest.approx(photons, rel=0.02)  # shot noise 0.3 % + cut tails
        assert float((image.sum(0) * steps).sum()) / total == pytest.approx(x, abs=0.02)
        assert float((image.sum(1) * steps).sum()) / total == pytest.approx(y, abs=0.02)
        checked += 1
    assert checked > 20


def test_background_is_that_of_the_central_frame() -> None:
    config = SimulationConfig(
        density_min_per_um2=0.0, density_max_per_um2=1e-9, background_min=100.0,
        background_max=5000.0, background_correlation_frames=0.5,
    )  # fmt: skip
    batch = batch_of(config, 50)
    errors = ((batch.frames - batch.background[:, None]) ** 2).mean((0, 2, 3))
    assert float(errors[1]) < 2 * 5000  # shot noise alone
    assert float(errors[[0, 2]].min()) > 1e5


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(-600.0, None, "-600 to 700"), (None, 701.0, "-500 to 701"), (800.0, None, "800 to 700")],
)
def test_z_beyond_the_calibration_is_refused(
    low: float | None, high: float | None, words: str
) -> None:
    config = SimulationConfig(z_min_nm=low, z_max_nm=high)
    with pytest.raises(CalibrationError, match=words):
        Simulator(deep_psf(), camera(), config)


def test_z_of_a_flat_calibration_is_refused() -> None:
    with pytest.raises(CalibrationError, match="2D calibration"):
        Simulator(flat_psf(), camera(), SimulationConfig(z_min_nm=-100.0))
    assert Simulator(flat_psf(), camera(), SimulationConfig(z_min_nm=0.0)).z_range_nm == (0, 0)


@pytest.mark.parametrize("prior", ["uniform", "filaments", "rings"])
def test_z_covers_the_calibration_and_no_more(prior: str) -> None:
    config = SimulationConfig(prior=prior, density_min_per_um2=2.5)
    targets = Simulator(deep_psf(), camera(), config).training_batch(60, 30, 3, generator()).targets
    z = targets.z_nm[targets.valid]
    assert -500.0 <= float(z.min()) < -440.0
    assert 640.0 < float(z.max()) <= 700.0


def test_z_jitter_never_leaves_the_calibration() -> None:
    class Checked(GaussianPsfModel):
        def value(self, dx_px, dy_px, z_nm, roi_px):  # type: ignore[no-untyped-def]  # a spy
            assert not bool(self.out_of_range(z_nm).any())
            seen.append(z_nm)
            return super().value(dx_px, dy_px, z_nm, roi_px)

        def to(self, device, dtype=None):  # type: ignore[no-untyped-def]  # a spy
            return self

    seen: list[torch.Tensor] = []
    base = deep_psf()
    spy = Checked(base._parameters, pixel_size_x_nm=100, pixel_size_y_nm=100)
    config = SimulationConfig(z_scale_jitter=0.2)
    targets = Simulator(spy, camera(), config).training_batch(50, 20, 3, generator()).targets
    z = targets.z_nm[targets.valid]
    assert float(z.min()) >= -500.0
    assert float(z.max()) <= 700.0
    assert seen


def test_width_jitter_keeps_the_light() -> None:
    def light(jitter: float) -> torch.Tensor:
        config = SimulationConfig(
            density_min_per_um2=2.0, density_max_per_um2=2.0, background_min=0.0,
            background_max=0.0, psf_width_jitter=jitter,
        )  # fmt: skip
        return batch_of(config, 1500).frames.double().mean((1, 2, 3))

    plain, jittered = light(0.0), light(0.2)
    spread = math.sqrt(float(plain.var() + jittered.var()) / 1500)
    assert abs(float(plain.mean() - jittered.mean())) < SIGMAS * spread


def test_gain_jitter_varies_the_brightness_of_samples() -> None:
    config = SimulationConfig(
        density_min_per_um2=0.0, density_max_per_um2=1e-9, background_min=2000.0,
        background_max=2000.0, background_variation=0.0, gain_jitter=0.1,
    )  # fmt: skip
    batch = batch_of(config, 1000)
    factor = batch.frames.double().mean((1, 2, 3)) / 2000.0
    # A normal cut at 3 standard deviations: its spread shrinks by 0.7 %, negligible here.
    assert abs(float(factor.mean()) - 1.0) < SIGMAS * 0.1 / math.sqrt(1000)
    assert abs(float(factor.std()) - 0.1) < SIGMAS * 0.1 / math.sqrt(2000) + 0.001
    assert torch.allclose(batch.background, torch.tensor(2000.0))


def test_training_takes_windows_of_camera_maps() -> None:
    rng = np.random.default_rng(0)
    maps = camera(kind="scmos", offset_adu=rng.uniform(0, 1000, (64, 48)), read_noise_e=1.0)
    config = SimulationConfig(background_variation=0.0)
    batch = Simulator(flat_psf(), maps, config).training_batch(50, 16, 3, generator())
    assert float(batch.frames.min()) > -20.0  # a wrong offset would give hundreds
    with pytest.raises(CameraError, match="48 x 64"):
        Simulator(flat_psf(), maps, config).training_batch(1, 50, 3, generator())


def test_no_emitters_at_all() -> None:
    config = SimulationConfig(density_min_per_um2=0.0, density_max_per_um2=1e-12)
    batch = batch_of(config, 4)
    assert batch.targets.valid.shape == (4, 0)
    assert torch.all(batch.frames >= 0)


def test_movie_is_reproducible_and_complete() -> None:
    simulator = Simulator(deep_psf(), camera(offset_adu=100.0), SimulationConfig())
    first, second = movie(simulator, 11, chunk_frames=4), movie(simulator, 11, chunk_frames=4)
    assert [c.first_frame for c in first] == [0, 4, 8]
    assert sum(len(c.frames_adu) for c in first) == 11
    for a, b in zip(first, second, strict=True):
        assert a.frames_adu.dtype == np.uint16
        np.testing.assert_array_equal(a.frames_adu, b.frames_adu)
        np.testing.assert_array_equal(a.emitters.x_nm, b.emitters.x_nm)
    frames = joined(first).frame
    assert np.all(np.diff(frames) >= 0)
    assert set(frames) == set(range(11))


def test_movie_truth_lies_inside_and_knows_its_background() -> None:
    config = SimulationConfig(density_min_per_um2=1.0, background_variation=0.5)
    for chunk in movie(Simulator(deep_psf(), camera(), config), 6):
        truth = chunk.emitters
        assert truth.background is not None
        assert truth.x_nm.min() >= -50.0
        assert truth.x_nm.max() < 2950.0
        assert truth.y_nm.max() < 1950.0
        row = np.floor(truth.y_nm / 100 + 0.5).astype(int)
        column = np.floor(truth.x_nm / 100 + 0.5).astype(int)
        expected = chunk.background[truth.frame - chunk.first_frame, row, column]
        np.testing.assert_array_equal(truth.background, expected)


def test_movie_goes_on_from_chunk_to_chunk() -> None:
    config = SimulationConfig(lifetime_frames=5.0, background_correlation_frames=1000.0)
    chunks = movie(Simulator(deep_psf(), camera(), config), 12, chunk_frames=3)
    truth = joined(chunks)
    assert truth.emitter_id is not None
    for border in (3, 6, 9):
        before = set(truth.emitter_id[truth.frame == border - 1])
        after = set(truth.emitter_id[truth.frame == border])
        # exp(-1/5) = 82 % of those on at the end of a frame outlive the next one.
        assert len(before & after) > 0.5 * len(after)
    levels = np.concatenate([c.background for c in chunks]).mean((1, 2))
    assert np.max(np.abs(np.diff(levels))) < 6.0  # 5 sigma of sqrt(2/1000) * 0.4 * 50


def test_molecules_of_a_movie_stay_on_consecutive_frames() -> None:
    truth = joined(movie(Simulator(deep_psf(), camera(), SimulationConfig()), 20, chunk_frames=3))
    assert truth.emitter_id is not None
    for identity in np.unique(truth.emitter_id)[:200]:
        rows = truth.emitter_id == identity
        assert np.all(np.diff(truth.frame[rows]) == 1)
        assert np.ptp(truth.x_nm[rows]) == 0


@pytest.mark.parametrize("z_drift", [200.0, -300.0])
def test_drift_moves_the_truth_inside_the_z_range(z_drift: float) -> None:
    config = SimulationConfig(
        density_min_per_um2=3.0, density_max_per_um2=3.0, lifetime_frames=1000.0,
        background_min=0.0, background_max=0.0, flux_std=0.0,
    )  # fmt: skip
    simulator = Simulator(deep_psf(), camera(), config)
    truth = joined(movie(simulator, 11, drift_nm=(500.0, -300.0, z_drift), chunk_frames=4))
    assert truth.emitter_id is not None
    whole = [i for i in np.unique(truth.emitter_id) if np.sum(truth.emitter_id == i) == 11]
    assert len(whole) > 5
    for identity in whole:
        rows = truth.emitter_id == identity
        part = np.linspace(0, 1, 11)
        for column, drift in ((truth.x_nm, 500), (truth.y_nm, -300), (truth.z_nm, z_drift)):
            # float32 positions of 2000 nm
            np.testing.assert_allclose(column[rows] - column[rows][0], drift * part, atol=1e-3)
    assert truth.z_nm.min() >= -500.0
    assert truth.z_nm.max() <= 700.0


def test_drift_carries_the_image_along() -> None:
    """One whole pixel per frame of everything: the clean image shifts by a pixel."""
    config = SimulationConfig(
        density_min_per_um2=1.0, density_max_per_um2=1.0, lifetime_frames=1e6,
        background_min=0.0, background_max=0.0, flux_mean=1e5, flux_std=0.0,
    )  # fmt: skip
    simulator = Simulator(flat_psf(), camera(), config)
    frames = movie(simulator, 5, drift_nm=(400.0, 0.0, 0.0))[0].frames_adu.astype(float)
    difference = frames[1:, :, 1:] - frames[:-1, :, :-1]
    noise = np.sqrt(frames[1:, :, 1:] + frames[:-1, :, :-1] + 1)
    # 4 * 20 * 29 differences; 7 sigma leaves room for the Poisson tail of dim pixels.
    assert np.max(np.abs(difference) / noise) < 7.0
    still = np.abs(frames[1:] - frames[:-1]) / np.sqrt(frames[1:] + frames[:-1] + 1)
    assert np.max(still) > 50


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("axis", [0, 1])
def test_drift_leaves_no_empty_margin(axis: int, sign: float) -> None:
    config = SimulationConfig(density_min_per_um2=3.0, density_max_per_um2=3.0, lifetime_frames=0.5)
    drift = (sign * 2000.0, 0.0, 0.0) if axis == 0 else (0.0, sign * 2000.0, 0.0)
    truth = joined(movie(Simulator(flat_psf(), camera(), config), 200, drift_nm=drift))
    late = truth.frame >= 150
    position = (truth.x_nm, truth.y_nm)[axis][late]
    width_nm, other_um = ((3000.0, 2.0), (2000.0, 3.0))[axis]
    # A molecule is in 1.5 frames on average, so counts spread at most twice as much as
    # Poisson numbers.
    expected = 50 * 3.0 * 0.5 * other_um
    for edge in (position < 450.0, position >= width_nm - 550.0):
        assert abs(np.sum(edge) - expected) < SIGMAS * math.sqrt(2 * expected)


def test_drift_beyond_the_z_range_is_refused() -> None:
    simulator = Simulator(deep_psf(), camera(), SimulationConfig())
    with pytest.raises(ConfigError, match="1300 nm along z"):
        movie(simulator, 3, drift_nm=(0.0, 0.0, 1300.0))


def test_movie_must_fit_the_camera_maps() -> None:
    maps = camera(kind="scmos", offset_adu=np.full((20, 31), 100.0))
    with pytest.raises(CameraError, match="31 x 20"):
        movie(Simulator(flat_psf(), maps, SimulationConfig()), 1)


def test_movie_clips_to_sixteen_bits() -> None:
    config = SimulationConfig(background_min=1e5, background_max=1e5)
    assert movie(Simulator(flat_psf(), camera(), config), 1)[0].frames_adu.max() == 65535


@pytest.mark.parametrize("prior", ["filaments", "rings"])
def test_sites_of_a_structure_light_up_again(prior: str) -> None:
    config = SimulationConfig(prior=prior, density_min_per_um2=2.5, lifetime_frames=0.5)
    truth = joined(movie(Simulator(deep_psf(), camera(), config), 400))
    assert truth.emitter_id is not None
    _, first = np.unique(truth.emitter_id, return_index=True)
    events = np.stack([truth.x_nm, truth.y_nm, truth.z_nm], axis=1)[first]
    sites = np.unique(events, axis=0)
    # 400 frames * 15 emitters / 1.5 frames each = 4000 events on about 600 sites.
    assert len(sites) < 0.5 * len(events)


def test_rings_look_like_nuclear_pores() -> None:
    config = SimulationConfig(prior="rings", density_min_per_um2=2.5, lifetime_frames=0.5)
    truth = joined(movie(Simulator(deep_psf(), camera(), config), 400))
    sites = np.unique(np.stack([truth.x_nm, truth.y_nm, truth.z_nm], axis=1), axis=0)
    distance = np.linalg.norm(sites[:, None] - sites[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    # Neighbours on an octagon of 107 nm: 107 * sin(pi/8) = 41 nm; the other ring: 50 nm.
    nearest = distance.min(1)
    assert 30 < np.median(nearest) < 50
    # Opposite corners are 107 nm apart: no more than a chance neighbour lies inside the ring.
    assert np.median(np.sort(distance, axis=1)[:, 6]) < 107
