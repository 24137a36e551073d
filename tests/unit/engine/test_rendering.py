"""Placing PSF windows on images, and scaling them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erf
from torch import Tensor

from decode_engine.domain.calibration import GaussianPsf
from decode_engine.psf.gaussian import GaussianPsfModel
from decode_engine.simulation import rendering
from decode_engine.simulation.emitters import EmitterBatch
from decode_engine.simulation.rendering import render_emitters, render_shared
from decode_engine.simulation.resampling import scale_patches

SIGMA_X, SIGMA_Y = 1.1, 1.4


def gaussian(dtype: torch.dtype = torch.float64) -> GaussianPsfModel:
    parameters = GaussianPsf(sigma0_x_nm=100 * SIGMA_X, sigma0_y_nm=100 * SIGMA_Y)
    return GaussianPsfModel(parameters, pixel_size_x_nm=100, pixel_size_y_nm=100, dtype=dtype)


def batch(image: list[int], x: list[float], y: list[float], photons: list[float]) -> EmitterBatch:
    return EmitterBatch(
        image=torch.tensor(image, dtype=torch.int64),
        x_px=torch.tensor(x, dtype=torch.float64),
        y_px=torch.tensor(y, dtype=torch.float64),
        z_nm=torch.zeros(len(x), dtype=torch.float64),
        photons=torch.tensor(photons, dtype=torch.float64),
        emitter_id=torch.arange(len(x)),
    )


def random_batch(n: int, n_images: int, seed: int = 0) -> EmitterBatch:
    rng = np.random.default_rng(seed)
    return batch(
        list(rng.integers(0, n_images, n)),
        list(rng.uniform(-12, 32, n)),
        list(rng.uniform(-12, 28, n)),
        list(rng.uniform(10, 1000, n)),
    )


def closed_form(emitters: EmitterBatch, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Pixel-integrated Gaussians, one at a time, without windows."""
    images = np.zeros(shape)

    def profile(n_px: int, centre: float, sigma: float) -> NDArray[np.float64]:
        edges = (np.arange(n_px + 1) - 0.5 - centre) / (math.sqrt(2) * sigma)
        return np.asarray(np.diff(erf(edges)) / 2)

    for image, x, y, _, photons, _ in zip(*emitters, strict=True):
        rows = profile(shape[1], float(y), SIGMA_Y)
        columns = profile(shape[2], float(x), SIGMA_X)
        images[int(image)] += float(photons) * np.outer(rows, columns)
    return images


def test_matches_the_closed_form_inside_and_across_borders() -> None:
    emitters = random_batch(200, 3)
    images = render_emitters(gaussian(), emitters, 3, 16, 20).numpy()
    expected = closed_form(emitters, (3, 16, 20))
    # The window is cut at 4 standard deviations, where a pixel holds below 2e-5 of 1000
    # photons, and about 20 emitters overlap.
    assert np.max(np.abs(images - expected)) < 0.05
    assert expected.max() > 100


def test_no_photons_are_lost() -> None:
    emitters = batch([0, 0, 1], [20.3, 21.49, 19.5], [20.0, 18.51, 22.5], [1000, 500, 250])
    images = render_emitters(gaussian(), emitters, 2, 41, 41)
    assert float(images[0].sum()) == pytest.approx(1500, rel=2e-4)
    assert float(images[1].sum()) == pytest.approx(250, rel=2e-4)


def test_whole_pixel_shift_moves_the_image_exactly() -> None:
    # Dyadic fractions, so that the positions themselves are exact.
    x, y = [14.25, 16.625], [15.5, 13.125]
    psf = gaussian(torch.float32)
    first = render_emitters(psf, batch([0, 0], x, y, [100, 70]), 1, 40, 40)
    moved = batch([0, 0], [v + 5 for v in x], [v - 3 for v in y], [100, 70])
    second = render_emitters(psf, moved, 1, 40, 40)
    assert torch.equal(second[0, :-3, 5:], first[0, 3:, :-5])


def test_x_is_columns_and_y_is_rows() -> None:
    image = render_emitters(gaussian(), batch([0], [7.0], [2.0], [1.0]), 1, 6, 12)[0]
    assert divmod(int(image.argmax()), 12) == (2, 7)


def test_window_edge_of_pixels_belongs_to_the_right() -> None:
    left = render_emitters(gaussian(), batch([0], [9.4999999], [9.0], [1.0]), 1, 19, 19)
    right = render_emitters(gaussian(), batch([0], [9.5], [9.0], [1.0]), 1, 19, 19)
    assert torch.allclose(left, right, atol=1e-4)


def test_far_emitters_leave_no_trace() -> None:
    emitters = batch([0, 0, 0], [-500.0, 1e6, 5.0], [5.0, 5.0, -40.0], [1e6, 1e6, 1e6])
    assert float(render_emitters(gaussian(), emitters, 1, 10, 10).abs().max()) == 0.0


def test_nothing_to_draw_is_dark() -> None:
    images = render_emitters(gaussian(), batch([], [], [], []), 2, 5, 6)
    assert images.shape == (2, 5, 6)
    assert float(images.abs().sum()) == 0.0


def molecules_on_for_some_frames(seed: int) -> tuple[EmitterBatch, Tensor]:
    single = random_batch(40, 1, seed)
    molecule = torch.repeat_interleave(torch.tensor([1, 3, 2, 4] * 10))
    rows = single.select(molecule)
    image = torch.arange(len(molecule)) % 4
    return rows._replace(image=image, photons=rows.photons * (1 + image)), molecule


@pytest.mark.parametrize("limit", [1 << 26, 17 * 17 * 4 * 7])
def test_sharing_windows_changes_nothing(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    emitters, molecule = molecules_on_for_some_frames(1)
    monkeypatch.setattr(rendering, "_PSF_CHUNK_BYTES", limit)
    monkeypatch.setattr(rendering, "_SCATTER_CHUNK_CPU", 13)
    shared = render_shared(gaussian(), emitters, molecule, (4, 16, 20))
    monkeypatch.undo()
    alone = render_emitters(gaussian(), emitters, 4, 16, 20)
    assert torch.allclose(shared, alone, rtol=1e-12, atol=1e-12)


def windows(sigma_x: Tensor, sigma_y: Tensor, dx: Tensor, dy: Tensor, roi_px: int) -> Tensor:
    steps = torch.arange(roi_px + 1, dtype=torch.float64) - roi_px / 2

    def profile(sigma: Tensor, centre: Tensor) -> Tensor:
        return torch.erf((steps - centre[:, None]) / (math.sqrt(2) * sigma[:, None])).diff() / 2

    return profile(sigma_y, dy)[:, :, None] * profile(sigma_x, dx)[:, None, :]


@pytest.mark.parametrize("scale", [0.85, 0.95, 1.05, 1.15])
def test_scaled_window_is_that_of_a_scaled_psf(scale: float) -> None:
    rng = torch.Generator().manual_seed(0)
    dx, dy = torch.rand(2, 50, generator=rng, dtype=torch.float64) - 0.5
    sx, sy = torch.full((50,), 1.3).double(), torch.full((50,), 1.9).double()
    original = windows(sx, sy, dx, dy, 27)
    ours = scale_patches(original, dx, dy, torch.full((50,), scale).double())
    expected = windows(scale * sx, scale * sy, dx, dy, 27)
    peak = expected.amax()
    assert float((ours - expected).abs().max() / peak) < 0.005
    # Without scaling the error would be (1/scale^2 - 1), about twenty times as much.
    assert float((original - expected).abs().max() / peak) > 0.09
    assert torch.allclose(ours.sum((1, 2)), original.sum((1, 2)), atol=1e-6)


def test_scale_one_changes_nothing() -> None:
    patches = torch.rand(5, 9, 9, dtype=torch.float64)
    shifts = torch.rand(2, 5, dtype=torch.float64) - 0.5
    ours = scale_patches(patches, shifts[0], shifts[1], torch.ones(5).double())
    assert torch.allclose(ours, patches, atol=1e-12)


def test_scaling_does_not_move_the_emitter() -> None:
    dx, dy = torch.tensor([0.37, -0.21]).double(), torch.tensor([-0.44, 0.05]).double()
    sigma = torch.full((2,), 1.3).double()
    ours = scale_patches(
        windows(sigma, sigma, dx, dy, 27), dx, dy, torch.tensor([0.9, 1.1]).double()
    )
    steps = torch.arange(27).double() - 13
    total = ours.sum((1, 2))
    x = (ours.sum(1) * steps).sum(1) / total
    y = (ours.sum(2) * steps).sum(1) / total
    assert torch.allclose(x, dx, atol=1e-3)
    assert torch.allclose(y, dy, atol=1e-3)


class TestDense:
    """The drawing by matrix products, which a GPU uses for training frames."""

    def rows(self) -> tuple[EmitterBatch, Tensor]:
        """30 molecules of 4 samples, each on in one to three frames of its sample."""
        rng = np.random.default_rng(1)
        image, molecule = [], []
        for number, sample in enumerate(np.sort(rng.choice([0, 1, 3], 30))):
            on = rng.choice(3, rng.integers(1, 4), replace=False)
            image += [int(sample) * 3 + int(frame) for frame in np.sort(on)]
            molecule += [2 * number] * len(on)  # numbers may have gaps
        place = rng.uniform(-12, 32, (60, 2))[molecule]
        photons = list(rng.uniform(10, 1000, len(image)))
        rows = batch(image, list(place[:, 0]), list(place[:, 1]), photons)
        return rows, torch.tensor(molecule)

    def test_equals_the_closed_form(self) -> None:
        rows, molecule = self.rows()
        drawn = rendering.render_dense(gaussian(), rows, molecule, (4, 3, 16, 21))
        expected = closed_form(rows, (12, 16, 21)).reshape(4, 3, 16, 21)
        np.testing.assert_allclose(drawn, expected, atol=2e-3 * expected.max())
        assert drawn[2].abs().max() == 0  # the sample without molecules

    @pytest.mark.parametrize("chunk_bytes", [1 << 28, 20_000])
    def test_equals_the_windows(self, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
        monkeypatch.setattr(rendering, "_DENSE_CHUNK_BYTES", chunk_bytes)
        rows, molecule = self.rows()
        scale = torch.linspace(0.9, 1.1, 60, dtype=torch.float64)[molecule]
        psf = gaussian()
        drawn = rendering.render_dense(psf, rows, molecule, (4, 3, 16, 21), scale)
        numbered = torch.unique_consecutive(molecule, return_inverse=True)[1]
        windows = render_shared(psf, rows, numbered, (12, 16, 21), scale)
        np.testing.assert_allclose(drawn.reshape(12, 16, 21), windows, atol=1e-9)

    def test_without_emitters_is_dark(self) -> None:
        nothing = batch([], [], [], [])
        drawn = rendering.render_dense(gaussian(), nothing, nothing.image, (2, 3, 8, 8))
        assert drawn.shape == (2, 3, 8, 8)
        assert drawn.abs().max() == 0
