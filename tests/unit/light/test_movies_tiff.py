from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from decode_engine.errors import MovieError, OutputError
from decode_engine.io.movies import open_movie, write_movie
from tests.unit.light.tiff_files import write_tiff

FRAME_BYTES = 16 * 12 * 2


def movie(n: int = 7, dtype: str = "u2") -> NDArray[np.generic]:
    rng = np.random.default_rng(5)
    return rng.integers(0, 250, (n, 16, 12)).astype(dtype)


def require_same(path: Path, frames: NDArray[np.generic]) -> None:
    with open_movie(path) as source:
        assert (source.n_frames, source.height_px, source.width_px) == frames.shape
        assert source.dtype == frames.dtype
        assert source.dtype.isnative
        np.testing.assert_array_equal(source.read(0, source.n_frames), frames)
        np.testing.assert_array_equal(source.read(2, 5), frames[2:5])
        assert source.read(3, 3).shape == (0, *frames.shape[1:])


@pytest.mark.parametrize("big", [False, True], ids=["classic", "big"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big-endian"])
@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
def test_reads_plain_pages(
    tmp_path: Path, big: bool, order: str, interleaved: bool, dtype: str
) -> None:
    frames = movie(dtype=dtype)
    write_tiff(tmp_path / "a.tif", frames, big=big, order=order, interleaved=interleaved)
    require_same(tmp_path / "a.tif", frames)


@pytest.mark.parametrize("strips", [2, 4, 16])
def test_reads_pages_of_several_strips(tmp_path: Path, strips: int) -> None:
    frames = movie()
    write_tiff(tmp_path / "a.tif", frames, strips=strips)
    require_same(tmp_path / "a.tif", frames)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw"},
        {"compression": "packbits"},
        {"tile": (16, 16)},
        {"compression": "zlib", "rowsperstrip": 3, "bigtiff": True},
        {"byteorder": ">", "compression": "zlib"},
    ],
)
def test_reads_what_must_be_decoded(tmp_path: Path, options: dict[str, object]) -> None:
    frames = movie()
    big = bool(options.pop("bigtiff", False))
    order = options.pop("byteorder", "<")
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=big, byteorder=order) as writer:  # type: ignore[arg-type]
        for frame in frames:
            writer.write(frame, contiguous=False, **options)  # type: ignore[arg-type]
    require_same(tmp_path / "a.tif", frames)


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped", "truncated-shaped"])
def test_reads_the_dialects_of_tifffile(tmp_path: Path, kind: str) -> None:
    frames = movie(9)
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    if kind == "truncated-shaped":  # one page for the whole series
        tifffile.imwrite(path, frames, truncate=True)
    else:
        tifffile.imwrite(path, frames, imagej=kind == "imagej", ome=kind == "ome")
    require_same(path, frames)


def imagej_run(path: Path, frames: NDArray[np.generic], promised: int) -> None:
    """Write what ImageJ writes above 4 GB: one page, all frames behind its pixels."""
    text = f"ImageJ=1.54f\nimages={promised}\nframes={promised}\nunit=micron\n"
    write_tiff(path, frames[:1], order=">", description=text, interleaved=False)
    page = path.read_bytes()
    # move the page's directory behind the header and the pixels behind it
    head = 4096
    body = bytearray(head)
    body[: len(page)] = page
    data = np.ascontiguousarray(frames, ">u2").tobytes()
    offset = body.find((8).to_bytes(4, "big"), 8)
    position = bytes(body).find(b"\x01\x11\x00\x04\x00\x00\x00\x01") + 8
    assert position > 8
    assert offset > 0
    body[position : position + 4] = head.to_bytes(4, "big")
    path.write_bytes(bytes(body) + data)


def test_reads_imagej_above_4_gb(tmp_path: Path) -> None:
    frames = movie(9)
    imagej_run(tmp_path / "a.tif", frames, promised=9)
    require_same(tmp_path / "a.tif", frames)


def test_truncated_imagej_run_gives_its_whole_frames(tmp_path: Path) -> None:
    frames = movie(9)
    imagej_run(tmp_path / "a.tif", frames[:4], promised=9)
    with (tmp_path / "a.tif").open("ab") as file:
        file.write(b"\1" * (FRAME_BYTES - 1))
    with open_movie(tmp_path / "a.tif") as source:
        assert source.n_frames == 4
        np.testing.assert_array_equal(source.read(0, 4), frames[:4])
        (warning,) = source.metadata.warnings
        assert "4 whole frames of the 9" in warning
        assert "5 are missing" in warning


@pytest.mark.parametrize("kind", ["imagej", "shaped"])
def test_truncated_file_whose_directories_are_lost(tmp_path: Path, kind: str) -> None:
    """ImageJ and tifffile write the other pages' directories last: a cut file has lost them."""
    frames = movie(20)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames, imagej=kind == "imagej")
    whole = path.read_bytes()
    start = whole.find(frames[0].astype(">u2" if kind == "imagej" else "<u2").tobytes())
    path.write_bytes(whole[: start + 11 * FRAME_BYTES + 5])
    with open_movie(path) as source:
        assert source.n_frames == 11
        np.testing.assert_array_equal(source.read(0, 11), frames[:11])
        assert "9 are missing" in source.metadata.warnings[0]


# One byte is cut from the pointer to a next page: all pixels are there.
@pytest.mark.parametrize(
    ("cut_bytes", "left"), [(1, 9), (FRAME_BYTES // 2, 8), (FRAME_BYTES + 30, 8), (700, 7)]
)
@pytest.mark.parametrize("big", [False, True])
def test_truncated_interleaved_file(tmp_path: Path, cut_bytes: int, left: int, big: bool) -> None:
    frames = movie(9)
    path = tmp_path / "a.tif"
    write_tiff(path, frames, big=big)
    path.write_bytes(path.read_bytes()[:-cut_bytes])
    with open_movie(path) as source:
        assert source.n_frames == left
        np.testing.assert_array_equal(source.read(0, left), frames[:left])
        assert "at least 1 is missing" in source.metadata.warnings[0]


def test_fewer_frames_than_ome_announces(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    xml = (
        '<?xml version="1.0"?><OME><Image><Pixels DimensionOrder="XYZCT" SizeC="1" SizeZ="1" '
        'SizeT="10" SizeX="12" SizeY="16" PhysicalSizeX="0.11" PhysicalSizeY="0.12" '
        'TimeIncrement="25" TimeIncrementUnit="ms" Type="uint16"><Plane TheT="0" '
        'ExposureTime="0.02" ExposureTimeUnit="s"/></Pixels></Image></OME>'
    )
    write_tiff(path, movie(6), description=xml)
    with open_movie(path) as source:
        assert source.n_frames == 6
        assert "4 are missing" in source.metadata.warnings[0]
        metadata = source.metadata
        assert metadata.kind == "OME-TIFF"
        assert metadata.pixel_size_x_nm == pytest.approx(110)
        assert metadata.pixel_size_y_nm == pytest.approx(120)
        assert metadata.exposure_ms == pytest.approx(20)
        assert metadata.frame_interval_ms == pytest.approx(25)


def test_growing_file(tmp_path: Path) -> None:
    frames = movie(12)
    path, whole = tmp_path / "a.tif", tmp_path / "whole.tif"
    write_tiff(whole, frames, big=True)
    content = whole.read_bytes()
    with open_movie(whole) as source:
        ends = [o for o in source._pages.ifd_offsets]  # type: ignore[attr-defined]
    path.write_bytes(content[: ends[3] + 1])  # three pages and the beginning of a directory
    with open_movie(path) as source:
        assert source.n_frames == 3
        early = source.fingerprint()
        for stop, expected in ((ends[7] + 30, 7), (len(content) - 300, 11), (len(content), 12)):
            path.write_bytes(content[:stop])
            assert source.refresh() == expected
            np.testing.assert_array_equal(source.read(0, expected), frames[:expected])
        assert source.metadata.warnings == ()
        assert source.fingerprint(3) == early
        assert source.fingerprint() != early


def test_writer_that_is_still_at_work_can_be_followed(tmp_path: Path) -> None:
    frames = movie(6)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for frame in frames[:3]:
            writer.write(frame, contiguous=False, metadata=None)
        writer._fh.flush()
        with open_movie(path) as source:
            assert source.n_frames == 3
            for frame in frames[3:]:
                writer.write(frame, contiguous=False, metadata=None)
            writer._fh.flush()
            assert source.refresh() == 6
            np.testing.assert_array_equal(source.read(0, 6), frames)


def test_file_that_vanishes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, movie())
    with open_movie(path) as source:
        source.read(0, 2)
        path.unlink()
        with pytest.raises(MovieError, match=r"a\.tif vanished") as caught:
            source.read(2, 4)
        assert "resume" in caught.value.hint


def test_file_that_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, movie())
    with open_movie(path) as source:
        with path.open("r+b") as file:
            file.truncate(FRAME_BYTES)
        with pytest.raises(MovieError, match="shrank"):
            source.read(2, 7)


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [(-3.5, "f4", "-3.5"), (np.nan, "f4", "nan"), (np.inf, "f8", "inf"), (-1, "i2", "-1")],
)
def test_counts_that_no_camera_delivers(
    tmp_path: Path, value: float, dtype: str, text: str
) -> None:
    frames = movie(dtype=dtype)
    frames[4, 3, 2] = value  # type: ignore[call-overload]
    write_tiff(tmp_path / "a.tif", frames)
    with open_movie(tmp_path / "a.tif") as source:
        source.read(0, 4)
        with pytest.raises(MovieError) as caught:
            source.read(3, 7)
    assert f"the value {text} in frame 4 (column 2, row 3)" in caught.value.message
    assert "raw movie" in caught.value.hint


def test_colour_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 8, 8, 3), "u1"), photometric="rgb")
    with pytest.raises(MovieError, match=r"colour image \(3 samples") as caught:
        open_movie(tmp_path / "a.tif")
    assert caught.value.exit_code == 2
    assert "grey" in caught.value.hint


def test_file_cut_before_its_first_frame(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", movie())
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:100])
    with pytest.raises(MovieError, match=r"ends before its first frame \(100 bytes\)"):
        open_movie(tmp_path / "a.tif")


@pytest.mark.parametrize("damage", [b"\0", b"\xff"])
def test_damaged_bytes_never_crash(tmp_path: Path, damage: bytes) -> None:
    write_tiff(tmp_path / "whole.tif", movie(4), description="ImageJ=1.5\nimages=4\n")
    content = (tmp_path / "whole.tif").read_bytes()
    for position in range(0, len(content), 23):
        changed = content[:position] + damage * 4 + content[position + 4 :]
        path = tmp_path / "a.tif"
        path.write_bytes(changed)
        try:
            with open_movie(path) as source:
                source.read(0, source.n_frames)
        except MovieError:
            continue  # anything else fails the test


def test_pages_of_different_size(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((8, 8), "u2"))
        writer.write(np.zeros((8, 9), "u2"))
    with pytest.raises(MovieError, match=r"Page 1 .* is 9 x 8 uint16, the first is 8 x 8 uint16"):
        open_movie(tmp_path / "a.tif")


def test_pages_that_run_in_a_circle(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, movie(3))
    content = bytearray(path.read_bytes())
    content[-4:] = content[4:8]  # the last page points to the first
    path.write_bytes(content)
    with pytest.raises(MovieError, match="circle"):
        open_movie(path)


@pytest.mark.parametrize(
    ("shape", "axes", "word"),
    [((5, 2, 8, 9), "TCYX", "2 channels"), ((5, 3, 8, 9), "TZYX", "3 z slices at each of 5")],
)
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_hyperstacks_ask(
    tmp_path: Path, shape: tuple[int, ...], axes: str, word: str, kind: str
) -> None:
    rng = np.random.default_rng(1)
    data = rng.integers(0, 999, shape).astype("u2")
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    tifffile.imwrite(
        path, data, imagej=kind == "imagej", ome=kind == "ome", metadata={"axes": axes},
        photometric="minisblack",
    )  # fmt: skip
    with pytest.raises(MovieError, match=word) as caught:
        open_movie(path)
    assert "Choose one" in caught.value.hint
    choice = {"channel": 1} if "C" in axes else {"z_slice": 1}
    with open_movie(path, **choice) as source:
        np.testing.assert_array_equal(source.read(0, 5), data[:, 1])
        np.testing.assert_array_equal(source.read(2, 4), data[2:4, 1])
    with pytest.raises(MovieError, match="7 was asked"):
        open_movie(path, **dict.fromkeys(choice, 7))


@pytest.mark.parametrize("axes", ["ZYX", "TYX", "CYX"])
def test_one_moving_axis_needs_no_choice(tmp_path: Path, axes: str) -> None:
    data = movie(6)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, data, ome=True, metadata={"axes": axes}, photometric="minisblack")
    if axes == "CYX":
        with pytest.raises(MovieError, match="6 channels"):
            open_movie(path)
    else:
        require_same(path, data)


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [
        ("um", 10.0, 100.0),
        ("\\u00B5m", 8.0, 125.0),
        ("micron", 9.0, 111.1111),
        ("nm", 0.01, 100.0),
        ("pixel", 1.0, None),
        ("cm", 40.0, None),  # a print resolution, not a pixel in the sample
        ("", 3.0, None),
    ],
)
def test_imagej_pixel_size(
    tmp_path: Path, unit: str, per_unit: float, expected: float | None
) -> None:
    text = f"ImageJ=1.54f\nimages=3\nslices=3\nunit={unit}\nfinterval=0.05\n"
    ratio = np.array([round(per_unit * 1e6), 10**6], "<u4").tobytes()
    extra = ((282, 5, 1, ratio), (283, 5, 1, ratio), (296, 3, 1, 1))
    write_tiff(tmp_path / "a.tif", movie(3), description=text, extra=extra)
    with open_movie(tmp_path / "a.tif") as source:
        found = source.metadata.pixel_size_x_nm
        assert found == (None if expected is None else pytest.approx(expected, rel=1e-6))
        assert source.metadata.frame_interval_ms == pytest.approx(50)


def test_range_outside_the_movie(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", movie())
    source = open_movie(tmp_path / "a.tif")
    with source, pytest.raises(MovieError, match=r"Frames 5 to 8 were asked .* 7 frames"):
        source.read(5, 8)


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    frames = movie()
    write_tiff(tmp_path / "a.tif", frames)
    write_tiff(tmp_path / "b.tif", frames, big=True, order=">", interleaved=False)
    np.save(tmp_path / "c.npy", frames)
    changed = frames.copy()
    changed[-1, 0, 0] += 1
    write_tiff(tmp_path / "d.tif", changed)
    prints = []
    for name in ("a.tif", "b.tif", "c.npy", "d.tif"):
        with open_movie(tmp_path / name) as source:
            prints.append(source.fingerprint())
    assert prints[0] == prints[1] == prints[2] != prints[3]


def test_written_movie_comes_back(tmp_path: Path) -> None:
    frames = movie()
    path = tmp_path / "out.tif"
    write_movie(path, iter(frames), frames.shape, pixel_size_x_nm=108, pixel_size_y_nm=117)
    require_same(path, frames)
    with open_movie(path) as source:
        assert source.metadata.pixel_size_x_nm == pytest.approx(108, rel=1e-4)
        assert source.metadata.pixel_size_y_nm == pytest.approx(117, rel=1e-4)
    with tifffile.TiffFile(path) as tiff:  # an independent reader sees the same
        assert tiff.is_imagej
        assert tiff.series[0].axes == "TYX"
        np.testing.assert_array_equal(tiff.asarray(), frames)
    with pytest.raises(OutputError, match="exists already"):
        write_movie(path, iter(frames), frames.shape, pixel_size_x_nm=108)


def test_movie_above_4_gb_is_written_as_ome_bigtiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decode_engine.io.movies.writing._CLASSIC_LIMIT_BYTES", 1000)
    frames = movie()
    path = tmp_path / "out.tif"
    write_movie(path, iter(frames), frames.shape, pixel_size_x_nm=108)
    require_same(path, frames)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        assert tiff.is_ome
    with open_movie(path) as source:
        assert source.metadata.pixel_size_x_nm == pytest.approx(108)


@pytest.mark.parametrize("given", [6, 8])
def test_wrong_number_of_frames_leaves_nothing(tmp_path: Path, given: int) -> None:
    frames = movie(given)
    with pytest.raises(MovieError, match="7"):
        write_movie(tmp_path / "o.tif", iter(frames), (7, 16, 12), pixel_size_x_nm=100)
    assert list(tmp_path.iterdir()) == []


def test_packed_twelve_bit_pixels(tmp_path: Path) -> None:
    """Some sCMOS programs save 12 bits a pixel, two pixels in three bytes."""
    frames = movie(3) * np.uint16(16)
    write_tiff(tmp_path / "a.tif", frames, order=">", packed_bits=12)
    require_same_values(tmp_path / "a.tif", frames)


def require_same_values(path: Path, frames: NDArray[np.generic]) -> None:
    with open_movie(path) as source:
        np.testing.assert_array_equal(source.read(0, source.n_frames), frames)
