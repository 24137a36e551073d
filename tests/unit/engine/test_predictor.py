"""The predictor: no trace of batches, tiles, ranges or regions in what it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import Roi
from decode_engine.domain.localizations import LocalizationFlag, Localizations
from decode_engine.errors import CameraError, CancelledError, MovieError
from decode_engine.inference.peaks import extract_peaks
from decode_engine.inference.predictor import Predictor, PredictorOptions
from decode_engine.inference.reader import FrameReader
from decode_engine.io.movies.source import BaseSource
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.registry import build_network
from decode_engine.network.scaling import NetworkScaling
from decode_engine.network.uncertainty import Uncertainty

SCALING = NetworkScaling(
    input_offset=20.0,
    input_scale=20.0,
    photon_max=10_000.0,
    z_center_nm=0.0,
    z_half_range_nm=800.0,
    background_max=100.0,
)
CAMERA = CameraModel(
    kind="scmos", pixel_size_x_nm=100.0, pixel_size_y_nm=110.0, offset_adu=100.0, e_per_adu=0.5
)


class ArrayMovie(BaseSource):
    """A movie in memory; ``hidden`` frames appear one refresh later each."""

    def __init__(self, frames: NDArray[Any], hidden: int = 0) -> None:
        super().__init__(Path("memory.tif"))
        self.frames = frames
        self.reads: list[tuple[int, int]] = []
        self._n_frames = len(frames) - hidden
        self._height_px, self._width_px = frames.shape[1:]
        self._dtype = frames.dtype

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        self.reads.append((start, stop))
        return self.frames[start:stop]

    def close(self) -> None:
        return

    def refresh(self) -> int:
        self._n_frames = min(len(self.frames), self._n_frames + 1)
        return self._n_frames


def make_network(context_frames: int = 3) -> LocalizationNetwork:
    """Return a small network with random weights that finds emitters at bright pixels."""
    generator = torch.Generator().manual_seed(4)
    network = build_network("decode", {"features": 8}, context_frames, generator)
    with torch.no_grad():
        last = network.probability_head.last  # type: ignore[union-attr]
        last.weight.mul_(6.0)  # type: ignore[union-attr, operator]
        last.bias.fill_(-12.0)  # type: ignore[union-attr, operator]
    return network


@pytest.fixture(scope="module")
def network() -> LocalizationNetwork:
    return make_network()


def movie(n: int = 11, height: int = 37, width: int = 51, seed: int = 0) -> ArrayMovie:
    rng = np.random.default_rng(seed)
    frames = rng.poisson(40.0, (n, height, width)) + 100
    spots = rng.random((n, height, width)) < 0.01
    return ArrayMovie((frames + 400 * spots).astype(np.uint16))


def predictor(network: LocalizationNetwork, **options: Any) -> Predictor:
    camera = options.pop("camera", CAMERA)
    options.setdefault("probability_threshold", 0.3)
    # What is compared here are batches, tiles and ranges. "auto" would compare bfloat16 with the
    # single precision of the plain pass on processors that have it.
    options.setdefault("precision", "fp32")
    return Predictor(
        network,
        options.pop("scaling", SCALING),
        camera,
        device=torch.device("cpu"),
        uncertainty=options.pop("uncertainty", None),
        options=PredictorOptions(**options),
    )


def everything(p: Predictor, source: ArrayMovie, *args: Any, **kwargs: Any) -> Localizations:
    position = args[0][0] if args else 0
    tables = []
    for batch in p.localize(source, *args, **kwargs):
        assert batch.start == position
        position = batch.stop
        tables.append(batch.localizations)
    return Localizations.concatenate(tables)


def assert_identical(a: Localizations, b: Localizations) -> None:
    assert list(a.columns()) == list(b.columns())
    assert len(a) == len(b)
    for name, values in a.columns().items():
        np.testing.assert_array_equal(values, b.columns()[name], err_msg=name)


def assert_close(a: Localizations, b: Localizations) -> None:
    """Require agreement to 0.1 nm, save for localizations on the threshold of probability."""
    clear = [t.take(t.probability > 0.3 + 1e-5) for t in (a, b)]  # type: ignore[operator]
    dropped = [len(t) - len(c) for t, c in zip((a, b), clear, strict=True)]
    assert max(dropped) <= 2
    a, b = clear
    np.testing.assert_array_equal(a.frame, b.frame)
    for name in ("x_nm", "y_nm", "z_nm"):
        difference = np.abs(a.columns()[name] - b.columns()[name])
        assert difference.max() < 0.1, name


def straightforward(network: LocalizationNetwork, source: ArrayMovie) -> Localizations:
    """Return what the plain, uncached forward pass of each whole frame gives."""
    frames = torch.from_numpy(CAMERA.adu_to_photons(source.frames))
    n = len(frames)
    index = torch.arange(n)[:, None] + torch.arange(network.context_frames)
    index = (index - network.context_frames // 2).clamp(0, n - 1)
    with torch.inference_mode():
        output = network.eval()(SCALING.frames_to_network(frames[index]))
    peaks = extract_peaks(output, SCALING, 0.3)
    return Localizations(
        frame=peaks.image.numpy(),
        x_nm=peaks.x_px.numpy() * 100.0,
        y_nm=peaks.y_px.numpy() * 110.0,
        z_nm=peaks.z_nm.numpy(),
        photons=peaks.photons.numpy(),
        background=peaks.background.numpy(),
        probability=peaks.probability.numpy(),
        sigma_x_nm=peaks.sigma_x_px.numpy() * 100.0,
        sigma_y_nm=peaks.sigma_y_px.numpy() * 110.0,
        sigma_z_nm=peaks.sigma_z_nm.numpy(),
        sigma_photons=peaks.sigma_photons.numpy(),
        flags=np.zeros(len(peaks), np.uint32),
    )


@pytest.mark.parametrize("context_frames", [1, 3])
def test_equals_the_plain_forward_pass(context_frames: int) -> None:
    network, source = make_network(context_frames), movie()
    found = everything(predictor(network, batch_frames=4), source)
    expected = straightforward(network, source)
    assert len(found) > 50
    assert len(np.unique(found.frame)) == 11
    np.testing.assert_array_equal(found.frame, expected.frame)
    for name, values in expected.columns().items():
        np.testing.assert_allclose(
            found.columns()[name], values, rtol=1e-4, atol=0.02, err_msg=name
        )


def test_each_frame_is_read_and_encoded_once(
    network: LocalizationNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, encoded = movie(), []
    encode = type(network).encode

    def counting(self: LocalizationNetwork, frames: torch.Tensor) -> torch.Tensor:
        encoded.append(len(frames))
        return encode(self, frames)  # type: ignore[no-any-return]

    tested = predictor(network, batch_frames=2, tile_px=512)
    monkeypatch.setattr(type(network), "encode", counting)
    everything(tested, source)
    assert sum(encoded) == 12  # the last batch is filled up
    assert sorted(source.reads) == [(i, min(i + 2, 11)) for i in range(0, 11, 2)]


@pytest.mark.parametrize("batch_frames", [1, 2, 3, 7, 50])
def test_batches_leave_no_trace(network: LocalizationNetwork, batch_frames: int) -> None:
    source = movie()
    whole = everything(predictor(network, batch_frames=5), source)
    assert_close(everything(predictor(network, batch_frames=batch_frames), source), whole)


@pytest.mark.parametrize("frames", [(0, 1), (0, 4), (3, 9), (10, 11), (4, 11), (0, 11)])
@pytest.mark.parametrize("batch_frames", [1, 4, 11, 16])
def test_range_is_a_slice_of_the_whole(
    network: LocalizationNetwork, frames: tuple[int, int], batch_frames: int
) -> None:
    """True frame numbers, real neighbours across the ends of the range; equal to the last bit."""
    source = movie()
    whole = everything(predictor(network, batch_frames=batch_frames), source)
    part = everything(predictor(network, batch_frames=batch_frames), source, frames)
    inside = (whole.frame >= frames[0]) & (whole.frame < frames[1])
    assert_identical(part, whole.take(inside))


def test_features_keep_their_memory_format(
    network: LocalizationNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: copies of the first frame made all later batches lose channels-last memory."""
    tested = predictor(network, batch_frames=4)
    fuse, formats = type(network).fuse, []

    def watching(self: LocalizationNetwork, features: torch.Tensor) -> Any:
        formats.append(features[:, 0].is_contiguous(memory_format=torch.channels_last))
        return fuse(self, features)

    monkeypatch.setattr(type(network), "fuse", watching)
    everything(tested, movie(9, 36, 48))
    assert len(formats) == 3
    assert all(formats)


def test_single_frame_movie(network: LocalizationNetwork) -> None:
    source = movie(1)
    found = everything(predictor(network), source)
    assert len(found) == len(straightforward(network, source)) > 0


@pytest.mark.parametrize("size", [(150, 203), (37, 290)])
def test_tiles_leave_no_trace(network: LocalizationNetwork, size: tuple[int, int]) -> None:
    source = movie(3, *size)
    whole = everything(predictor(network), source)
    tiled = predictor(network, tile_px=160)
    assert len(tiled.plan(source)[0].tiles) > 4
    found = everything(tiled, source)
    assert len(whole) > 400
    assert_close(found, whole)


def test_tiles_leave_no_trace_in_measured_uncertainties(network: LocalizationNetwork) -> None:
    """The corrections count neighbours, also those that another tile owns."""
    theta = (0.2, 0.1, -0.1, 0.2, 0.4, 0.1, 0.1)
    uncertainty = Uncertainty(
        scales={"x": theta, "y": theta, "z": theta, "photons": theta},
        detection=(0.1, -0.1, 0.1, 4.0, -0.2, 0.1, 0.3),
    )
    source = movie(4, 200, 220)
    plain = everything(predictor(network), source)
    whole = everything(predictor(network, uncertainty=uncertainty), source)
    tiled = everything(predictor(network, uncertainty=uncertainty, tile_px=152), source)
    assert_close(whole, tiled)
    assert len(whole) == len(tiled)
    np.testing.assert_allclose(whole.sigma_x_nm, tiled.sigma_x_nm, rtol=1e-3)
    assert len(plain) != len(whole)
    assert whole.probability is not None
    assert whole.probability.min() >= 0.3


def test_region_is_a_part_of_the_whole(network: LocalizationNetwork) -> None:
    """Coordinates of the full frame; real pixels around the region are seen."""
    source = movie(3, 190, 205)
    whole = everything(predictor(network), source)
    region = Roi(x_px=71, y_px=66, width_px=53, height_px=47)
    part = everything(predictor(network), source, region=region)
    column, row = whole.x_nm / 100, whole.y_nm / 110
    deep = (column > 71) & (column < 122) & (row > 67) & (row < 111)
    near = (column > 69) & (column < 125) & (row > 64) & (row < 114)
    assert 20 < int(deep.sum()) <= len(part) <= int(near.sum())
    keys = {(f, round(float(x), 1)) for f, x in zip(whole.frame, whole.x_nm, strict=True)}
    assert all((f, round(float(x), 1)) in keys for f, x in zip(part.frame, part.x_nm, strict=True))
    seen = everything(predictor(network), source, region=region, check=lambda: None)
    assert_identical(seen, part)


def test_two_regions_tile_the_frame(network: LocalizationNetwork) -> None:
    source = movie(2, 40, 200)
    whole = everything(predictor(network), source)
    halves = [
        everything(predictor(network), source, region=Roi(x_px=x, y_px=0, width_px=w, height_px=40))
        for x, w in ((0, 93), (93, 107))
    ]
    assert sum(map(len, halves)) == len(whole)
    np.testing.assert_allclose(
        np.sort(np.concatenate([h.x_nm for h in halves])), np.sort(whole.x_nm), atol=0.1
    )


def test_two_dimensional_model_gives_nan_in_z(network: LocalizationNetwork) -> None:
    flat = NetworkScaling(**{**SCALING.to_dict(), "z_half_range_nm": 0.0})
    found = everything(predictor(network, scaling=flat), movie())
    assert len(found) > 0
    assert np.isnan(found.z_nm).all()
    assert found.sigma_z_nm is not None
    assert np.isnan(found.sigma_z_nm).all()
    assert np.isfinite(found.x_nm).all()


def test_z_at_the_end_of_the_range_is_flagged(network: LocalizationNetwork) -> None:
    found = everything(predictor(network, z_limits_nm=(-100.0, 50.0)), movie())
    outside = (found.z_nm <= -100) | (found.z_nm >= 50)
    assert 0 < int(outside.sum()) < len(found)
    assert found.flags is not None
    np.testing.assert_array_equal((found.flags & LocalizationFlag.Z_AT_LIMIT) > 0, outside)


def test_saturated_pixels_are_flagged(network: LocalizationNetwork) -> None:
    camera = CameraModel(**{**_values(CAMERA), "saturation_adu": 400.0})
    source = movie()
    found = everything(predictor(network, camera=camera, batch_frames=3), source)
    plain = everything(predictor(network, batch_frames=3), source)
    np.testing.assert_array_equal(found.x_nm, plain.x_nm)
    assert found.flags is not None
    flagged = (found.flags & LocalizationFlag.SATURATED) > 0
    assert 0 < int(flagged.sum()) < len(found)
    full = source.frames >= 400
    near = ndimage.maximum_filter(full, (1, 3, 3), mode="constant")
    far = ndimage.maximum_filter(full, (1, 7, 7), mode="constant")
    # the pixel that speaks for a peak is at most two pixels from where the peak lies
    row = np.clip(np.rint(found.y_nm / 110).astype(int), 0, 36)
    column = np.clip(np.rint(found.x_nm / 100).astype(int), 0, 50)
    assert far[found.frame, row, column][flagged].all()
    agreement = near[found.frame, row, column] == flagged
    assert agreement.mean() > 0.7


def test_camera_maps_are_those_of_the_region(network: LocalizationNetwork) -> None:
    """A movie whose offset varies like the camera's map looks like one without variation."""
    source = movie(3, 40, 44)
    rng = np.random.default_rng(1)
    pattern = rng.integers(0, 60, (40, 44))
    camera = CameraModel(**{**_values(CAMERA), "offset_adu": (100.0 + pattern).astype(np.float32)})
    uneven = ArrayMovie((source.frames + pattern).astype(np.uint16))
    region = Roi(x_px=9, y_px=3, width_px=30, height_px=30)
    expected = everything(predictor(network), source, region=region)
    found = everything(predictor(network, camera=camera), uneven, region=region)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.x_nm, expected.x_nm, atol=0.01)


def test_camera_maps_of_another_size_are_refused(network: LocalizationNetwork) -> None:
    camera = CameraModel(**{**_values(CAMERA), "offset_adu": np.zeros((5, 5), np.float32)})
    with pytest.raises(CameraError, match="5 x 5"):
        everything(predictor(network, camera=camera), movie())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.uint32, np.float64, ">u2"])
def test_pixel_types(network: LocalizationNetwork, dtype: Any) -> None:
    source = movie(2)
    source.frames = np.minimum(source.frames, 255)
    expected = everything(predictor(network), source)
    found = everything(predictor(network), ArrayMovie(source.frames.astype(dtype)))
    assert_identical(found, expected)


def test_growing_movie_is_followed_to_its_end(network: LocalizationNetwork) -> None:
    whole = everything(predictor(network), movie())
    growing = ArrayMovie(movie().frames, hidden=4)
    found = everything(predictor(network), growing, follow_s=0.01)
    assert_identical(found, whole)


def test_a_movie_that_grows_again_after_its_end_is_not_taken_up(
    network: LocalizationNetwork,
) -> None:
    """Regression: frames that came after the last, incomplete batch got wrong neighbours."""

    class Paused(ArrayMovie):
        def refresh(self) -> int:
            if any(stop == 6 for _, stop in self.reads):  # the incomplete batch was taken
                self._n_frames = len(self.frames)
            return self._n_frames

    paused = Paused(movie().frames, hidden=5)
    found = everything(predictor(network, batch_frames=4), paused, follow_s=0.01)
    short = everything(predictor(network, batch_frames=4), ArrayMovie(movie().frames[:6]))
    assert len(short) > 0
    assert_identical(found, short)


def test_cancellation_interrupts_a_single_large_step(network: LocalizationNetwork) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise CancelledError("stop")

    with pytest.raises(CancelledError):
        everything(predictor(network, batch_frames=11), movie(), check=check)
    assert not any(m._forward_pre_hooks for m in network.modules())


def test_errors_of_the_reading_thread_arrive(network: LocalizationNetwork) -> None:
    source = movie()

    def vanish(start: int, stop: int) -> NDArray[Any]:
        if start >= 4:
            raise MovieError("gone")
        return source.frames[start:stop]

    source._read = vanish  # type: ignore[method-assign]
    done = []
    with pytest.raises(MovieError, match="gone"):
        done.extend(batch.stop for batch in predictor(network, batch_frames=2).localize(source))
    assert done == [1, 3]


def test_reader_holds_few_blocks_and_ends_its_thread() -> None:
    source = movie(100)
    window = Roi(x_px=2, y_px=1, width_px=5, height_px=4)
    with FrameReader(source, (0, None), 2, window) as reader:
        blocks = iter(reader)
        first = next(blocks)
        assert first.adu.shape == (2, 4, 5)
        np.testing.assert_array_equal(first.adu, source.frames[:2, 1:5, 2:7])
    assert not reader._thread.is_alive()
    assert len(source.reads) <= 1 + FrameReader.depth + 1


def _values(camera: CameraModel) -> dict[str, Any]:
    return {name: getattr(camera, name) for name in camera.__dataclass_fields__}
