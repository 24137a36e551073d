"""Nikon's ND2: files of known pixels, their axes, metadata and what is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from decode_engine.errors import MovieError
from decode_engine.io.movies import open_movie
from tests.unit.light.nd2_files import write_nd2

CAPTURING = (
    "Andor iXon Ultra DU-897\r\nCamera Type: Andor DU-897\r\nExposure: 30 ms\r\nBinning: 1x1\r\n"
    "Readout Mode: EM Gain 17 MHz at 16-bit\r\nEM Gain: 250\r\nConversion Gain: Gain 3\r\n"
)


def frames(n: int = 6, channels: int = 1) -> NDArray[np.uint16]:
    rng = np.random.default_rng(4)
    return rng.integers(90, 4000, (n, channels, 10, 14)).astype(np.uint16)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_time_series_with_its_metadata(tmp_path: Path, compressed: bool) -> None:
    data = frames()
    write_nd2(tmp_path / "a.nd2", data, loops=((1, 6),), capturing=CAPTURING, compressed=compressed)
    with open_movie(tmp_path / "a.nd2") as source:
        assert (source.n_frames, source.height_px, source.width_px) == (6, 10, 14)
        assert source.dtype == np.uint16
        np.testing.assert_array_equal(source.read(0, 6), data[:, 0])
        np.testing.assert_array_equal(source.read(4, 5), data[4:5, 0])
        facts = source.metadata
        fingerprint = source.fingerprint()
    assert (facts.pixel_size_x_nm, facts.pixel_size_y_nm) == pytest.approx((108.0, 108.0))
    assert (facts.exposure_ms, facts.frame_interval_ms) == (30.0, 25.0)
    assert (facts.camera, facts.em_gain, facts.binning) == ("Andor DU-897", 250.0, 1)
    assert facts.properties["Conversion Gain"] == "Gain 3"
    np.save(tmp_path / "a.npy", data[:, 0])
    with open_movie(tmp_path / "a.npy") as same:
        assert same.fingerprint() == fingerprint


def test_the_exposure_of_nikon_s_other_way_of_writing(tmp_path: Path) -> None:
    text = "Metadata:\r\nCamera Name: Flash4.0, SN:1\r\n  Camera Settings:   Exposure: 0.05 s\r\n"
    write_nd2(tmp_path / "a.nd2", frames(), loops=((1, 6),), text=text, pixel_um=None)
    with open_movie(tmp_path / "a.nd2") as source:
        assert source.metadata.exposure_ms == 50.0
        assert source.metadata.camera == "Flash4.0, SN:1"
        assert source.metadata.pixel_size_x_nm is None
        assert source.metadata.em_gain is None


@pytest.mark.parametrize(
    ("loops", "channels", "choice", "picked"),
    [
        (((1, 6),), 2, {"channel": 1}, (slice(None), 1)),
        (((1, 3), (4, 2)), 1, {"z_slice": 1}, (slice(1, None, 2), 0)),
        (((4, 2), (1, 3)), 1, {"z_slice": 1}, (slice(3, None), 0)),
        (((1, 3), (4, 2)), 2, {"z_slice": 0, "channel": 1}, (slice(0, None, 2), 1)),
    ],
)
def test_channels_and_slices_must_be_chosen(
    tmp_path: Path,
    loops: tuple[tuple[int, int], ...],
    channels: int,
    choice: dict[str, int],
    picked: Any,
) -> None:
    data = frames(channels=channels)
    write_nd2(tmp_path / "a.nd2", data, loops=loops)
    with open_movie(tmp_path / "a.nd2", **choice) as source:
        np.testing.assert_array_equal(source.read(0, source.n_frames), data[picked])
    for axis, word in (("channel", "channels"), ("z_slice", "z slices")):
        if axis in choice:
            with pytest.raises(MovieError, match=rf"has 2 {word}\."):
                open_movie(tmp_path / "a.nd2", **{k: v for k, v in choice.items() if k != axis})
            with pytest.raises(MovieError, match=f"2 {word}; 7 was asked") as caught:
                open_movie(tmp_path / "a.nd2", **{**choice, axis: 7})
            assert "from 0 to 1" in caught.value.hint


def test_a_z_stack_of_beads_moves_along_z(tmp_path: Path) -> None:
    data = frames(5)
    write_nd2(tmp_path / "a.nd2", data, loops=((4, 5),))
    with open_movie(tmp_path / "a.nd2") as source:
        np.testing.assert_array_equal(source.read(0, 5), data[:, 0])


def test_several_positions_are_no_movie(tmp_path: Path) -> None:
    write_nd2(tmp_path / "a.nd2", frames(), loops=((1, 3), (2, 2)))
    with pytest.raises(MovieError, match="2 positions"):
        open_movie(tmp_path / "a.nd2")


def test_a_frame_that_the_file_has_lost_is_told(tmp_path: Path) -> None:
    """The library fills it with zeros, which would pass as a dark frame."""
    write_nd2(tmp_path / "a.nd2", frames(), loops=((1, 6),), left_out=(4,))
    with open_movie(tmp_path / "a.nd2") as source:
        assert source.read(0, 4).shape[0] == 4
        with pytest.raises(MovieError, match=r"Frame 4 of a\.nd2 is missing") as caught:
            source.read(3, 6)
    assert "--frames" in caught.value.hint


def test_a_frame_that_is_truly_dark_is_a_frame(tmp_path: Path) -> None:
    """Photon-counting detectors deliver frames of zeros."""
    data = frames()
    data[4] = 0
    write_nd2(tmp_path / "a.nd2", data, loops=((1, 6),))
    with open_movie(tmp_path / "a.nd2") as source:
        np.testing.assert_array_equal(source.read(0, 6), data[:, 0])


@pytest.mark.parametrize("cut", [10, 3000, 30000])
def test_a_file_that_was_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.nd2"
    write_nd2(path, frames(), loops=((1, 6),))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(MovieError, match="cannot be read as ND2") as caught:
        open_movie(path)
    assert "NIS-Elements" in caught.value.hint


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "a.nd2").write_bytes(b"not Nikon's at all" * 100)
    with pytest.raises(MovieError, match="cannot be read as ND2"):
        open_movie(tmp_path / "a.nd2")


def test_without_the_library_the_way_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_nd2(tmp_path / "a.nd2", frames(), loops=((1, 6),))
    monkeypatch.setitem(sys.modules, "nd2", None)
    with pytest.raises(MovieError, match="installation cannot read it") as caught:
        open_movie(tmp_path / "a.nd2")
    assert "nd2" in caught.value.hint
