"""Which frames are compared, and the words about how they differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from app.models.frame_sample import blocks, field_of, read_own
from app.models.match_words import changes, histogram, match, summary
from app.models.project import MovieEntry
from decode_engine.analysis.frame_statistics import FrameStatistics
from decode_engine.analysis.simulation_match import typical_of
from decode_engine.contract.configs import CameraConfig, SimulationConfig
from decode_engine.errors import InputError

CONFIG = SimulationConfig()


def statistics(**values: object) -> FrameStatistics:
    rng = np.random.default_rng(1)
    sample = FrameStatistics(
        n_frames=40,
        area_um2=100.0,
        pixel_photons=rng.poisson(40, 5000).astype(np.float32),
        background=rng.normal(36, 2, 200).astype(np.float32),
        spot_photons=rng.gamma(4, 500, 800).astype(np.float32),
        spot_width_nm=rng.normal(160, 10, 800).astype(np.float32),
        spots_per_um2=rng.normal(0.4, 0.05, 40).astype(np.float32),
        persistence=0.5,
    )
    return replace(sample, **values)  # type: ignore[arg-type]


def words(own: FrameStatistics) -> dict[str, tuple[str, str]]:
    found = match(own, statistics(), typical_of(CONFIG), CONFIG)
    return {m.title: (m.level, m.text) for m in found}


def test_frames_that_measure_alike_agree() -> None:
    found = match(statistics(), statistics(), typical_of(CONFIG), CONFIG)
    assert {m.level for m in found} == {"ok"}
    assert summary(found) == "6 of 6 quantities agree."


def test_brighter_molecules_are_told_with_the_setting_to_change() -> None:
    own = statistics()
    level, text = words(replace(own, spot_photons=own.spot_photons * np.float32(1.3)))["Brightness"]
    assert level == "doubt"
    assert "about 30 % brighter than" in text
    assert 'raise "Photons, mean" to about 4,600' in text or "4,500" in text
    level, text = words(replace(own, spot_photons=own.spot_photons * np.float32(3)))["Brightness"]
    assert level == "bad"
    assert "3.0 times as bright as" in text


def test_background_and_density_are_judged_against_the_ranges() -> None:
    own = statistics()
    found = words(
        replace(own, background=own.background + 90, spots_per_um2=own.spots_per_um2 / 40)
    )
    assert found["Background"][0] == "bad"
    assert 'Raise "Background, highest"' in found["Background"][1]
    assert found["Number"][0] == "bad"
    assert 'Lower "Density, lowest"' in found["Number"][1]


def test_wider_spots_point_at_the_optics() -> None:
    own = statistics()
    level, text = words(replace(own, spot_width_nm=own.spot_width_nm * np.float32(1.15)))["Width"]
    assert level == "doubt"
    assert "wider" in text
    assert "calibration" in text


def test_a_few_spots_are_not_judged() -> None:
    found = words(statistics(spot_photons=np.ones(12, np.float32)))
    assert "Only 12 spots" in found["Spots"][1]
    assert "Brightness" not in found


def test_histograms_share_edges_and_area() -> None:
    edges, mine, theirs = histogram(
        "brightness", statistics(), statistics(spot_photons=np.full(100, 900, np.float32))
    )
    assert len(edges) == len(mine) + 1 == len(theirs) + 1
    assert theirs.sum() == pytest.approx(800)
    assert mine.sum() == pytest.approx(800, rel=0.02)
    empty = statistics(spot_photons=np.empty(0, np.float32))
    assert histogram("brightness", empty, None)[1].sum() == 0


def test_changes_are_listed() -> None:
    other = CONFIG.model_copy(update={"flux_mean": 5000.0, "z_min_nm": -500.0})
    (change,) = changes(CONFIG, other)
    assert (change.field, change.before, change.after) == ("flux_mean", 3500.0, 5000.0)


def test_blocks_cover_short_movies_and_sample_long_ones() -> None:
    assert blocks(0, 25) == [(0, 10), (10, 20), (20, 25)]
    many = blocks(100, 10_100)
    assert len(many) == 8
    assert many[0] == (100, 110)
    assert many[-1] == (10_090, 10_100)
    assert all(stop - start == 10 for start, stop in many)


def test_the_field_is_the_middle_of_the_region() -> None:
    field = field_of(None, 512, 100)
    assert (field.x_px, field.y_px, field.width_px, field.height_px) == (192, 0, 128, 100)
    field = field_of((10, 20, 60, 500), 512, 512)
    assert (field.x_px, field.width_px, field.height_px) == (10, 60, 128)
    # A region that was drawn for a larger movie is cut.
    assert field_of((480, 480, 100, 100), 512, 512).width_px == 32
    with pytest.raises(InputError, match="0 x 0 px"):
        field_of((600, 600, 10, 10), 512, 512)


def test_own_frames_are_cut_with_their_camera_maps(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    offset = rng.uniform(90, 110, (40, 200)).astype(np.float32)
    np.save(tmp_path / "offset.npy", offset)
    frames = (rng.poisson(50, (12, 40, 200)) * 2 + offset.round()).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack")
    camera = CameraConfig(
        kind="scmos", pixel_size_x_nm=100, offset_adu="offset.npy", e_per_adu=0.5, read_noise_e=1
    )
    own = read_own(
        MovieEntry(path=str(tmp_path / "movie.tif"), frames=(2, 12)),
        camera,
        tmp_path,
        tmp_path / "scratch",
        lambda: None,
    )
    assert own.frame_numbers.tolist() == list(range(2, 12))
    assert own.photons.shape == (10, 40, 128)
    assert own.camera.map_shape == (40, 128)
    assert float(np.median(own.statistics.background)) == pytest.approx(50, rel=0.03)
    np.testing.assert_allclose(
        own.photons[0], (frames[2, :, 36:164] - offset[:, 36:164]) * 0.5, rtol=1e-4
    )
    assert (tmp_path / "scratch" / "field_camera.json").is_file()


def test_maps_of_another_size_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "offset.npy", np.full((8, 8), 100.0, np.float32))
    frames = np.full((5, 40, 40), 100, np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack")
    camera = CameraConfig(kind="scmos", pixel_size_x_nm=100, offset_adu="offset.npy")
    with pytest.raises(InputError, match="8 x 8"):
        read_own(
            MovieEntry(path=str(tmp_path / "movie.tif")), camera, tmp_path, tmp_path, lambda: None
        )
