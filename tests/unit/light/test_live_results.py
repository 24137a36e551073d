"""The picture that fills while a localization runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from decode_engine.analysis.live_image import LiveImage
from decode_engine.analysis.rendering import ImageGrid, draw_histogram
from decode_engine.domain.localizations import Localizations
from decode_engine.io.live_results import ResultFollower
from decode_engine.io.localizations import (
    LocalizationMetadata,
    LocalizationWriter,
    read_localizations,
)


def _table(rng: np.random.Generator, n: int, frame: int) -> Localizations:
    return Localizations(
        frame=np.full(n, frame, np.int32),
        x_nm=rng.uniform(-500, 4500, n).astype(np.float32),
        y_nm=rng.uniform(-500, 3500, n).astype(np.float32),
        z_nm=rng.uniform(-300, 300, n).astype(np.float32),
        photons=np.full(n, 1000, np.float32),
        background=np.full(n, 10, np.float32),
    )


def test_the_follower_sees_each_part_once_and_survives_the_end(tmp_path: Path) -> None:
    out = tmp_path / "movie.h5"
    follower = ResultFollower(out)
    assert len(follower.read_more()) == 0  # the job has not begun
    rng = np.random.default_rng(1)
    metadata = LocalizationMetadata(
        movie_paths=("movie.tif",),
        width_px=40,
        height_px=30,
        pixel_size_x_nm=100.0,
        pixel_size_y_nm=100.0,
        frame_start=0,
        frame_stop=3,
    )
    with LocalizationWriter.create(out, metadata) as writer:
        writer.append(_table(rng, 5, 0), frames_done=1)
        assert len(follower.read_more()) == 5
        assert len(follower.read_more()) == 0
        writer.append(_table(rng, 0, 1), frames_done=2)
        writer.append(_table(rng, 7, 2), frames_done=3)
        more = follower.read_more()
        assert more.frame.tolist() == [2] * 7
        writer.finish()
    assert len(follower.read_more()) == 0  # the folder is gone
    assert len(read_localizations(out)) == 12


def test_the_sums_equal_the_histogram_of_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    grid = ImageGrid.covering((0.0, 0.0, 4000.0, 3000.0), 50.0)
    parts = [_table(rng, 20, frame) for frame in range(5)]
    live = LiveImage(grid)
    for part in parts:
        live.add(part)
    whole = draw_histogram(Localizations.concatenate(parts), grid)
    assert live.n_drawn == int(whole.density.sum())
    picture = live.picture()
    assert picture.shape == (60, 80, 3)
    assert picture[whole.density > 0].any(axis=1).all()
    far = distance_transform_edt(whole.density == 0) > 4.5
    assert not picture[far].any()


def test_two_dimensional_localizations_are_drawn_by_brightness() -> None:
    rng = np.random.default_rng(3)
    table = _table(rng, 100, 0)
    live = LiveImage(ImageGrid.covering((0.0, 0.0, 4000.0, 3000.0), 50.0))
    assert live.picture().shape == (60, 80, 3)  # nothing drawn yet
    live.add(table.replace(z_nm=np.full(100, np.nan, np.float32)))
    assert live.z_ends_nm is None
    assert live.picture().max() > 0
