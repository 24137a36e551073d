"""Movies in several files, without a container, and what is no movie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from decode_engine.errors import MovieError
from decode_engine.io.movies import open_movie
from decode_engine.io.movies.micromanager import frame_facts
from tests.unit.light.tiff_files import write_tiff


def movie(n: int = 7, seed: int = 3) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 999, (n, 10, 14)).astype(np.uint16)


def require_same(path: Path | list[Path], frames: NDArray[np.uint16]) -> None:
    with open_movie(path) as source:
        assert source.n_frames == len(frames)
        np.testing.assert_array_equal(source.read(0, len(frames)), frames)
        np.testing.assert_array_equal(source.read(1, len(frames) - 1), frames[1:-1])
        for index in (len(frames) - 1, 0, len(frames) // 2):  # in any order
            np.testing.assert_array_equal(source.read(index, index + 1)[0], frames[index])


def test_folder_of_single_pages_in_natural_order(tmp_path: Path) -> None:
    frames = movie(12)
    for index, frame in enumerate(frames):
        write_tiff(tmp_path / f"image {index + 1}.tif", frame[None])
    require_same(tmp_path, frames)


def test_folder_of_stacks_of_different_length(tmp_path: Path) -> None:
    frames = movie(12)
    for name, part in (("b2.tif", frames[:1]), ("b10.tif", frames[1:9]), ("b11.tif", frames[9:])):
        write_tiff(tmp_path / name, part)
    (tmp_path / "notes.txt").write_text("not a movie")
    (tmp_path / "._b2.tif").write_bytes(b"macOS litter")
    require_same(tmp_path, frames)


def test_compressed_single_pages(tmp_path: Path) -> None:
    frames = movie(5)
    for index, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"i{index}.tif", frame, compression="zlib")
    require_same(tmp_path, frames)


def test_list_of_files_is_one_movie_in_the_order_given(tmp_path: Path) -> None:
    frames = movie(9)
    write_tiff(tmp_path / "z.tif", frames[:4])
    np.save(tmp_path / "a.npy", frames[4:])
    require_same([tmp_path / "z.tif", tmp_path / "a.npy"], frames)


def test_folder_with_another_movie_in_it(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", movie(3))
    write_tiff(tmp_path / "b.tif", np.zeros((3, 4, 5), np.uint16))
    with pytest.raises(MovieError, match=r"b\.tif has frames of 5 x 4 uint16, .* 14 x 10"):
        open_movie(tmp_path)


def test_folder_that_grows_and_shrinks(tmp_path: Path) -> None:
    frames = movie(6)
    for index, frame in enumerate(frames[:3]):
        write_tiff(tmp_path / f"i{index}.tif", frame[None])
    with open_movie(tmp_path) as source:
        early = source.fingerprint()
        for index, frame in enumerate(frames[3:], 3):
            write_tiff(tmp_path / f"i{index}.tif", frame[None])
        assert source.refresh() == 6
        np.testing.assert_array_equal(source.read(0, 6), frames)
        assert source.fingerprint(3) == early
        (tmp_path / "i4.tif").unlink()
        with pytest.raises(MovieError, match=r"i4\.tif vanished"):
            source.read(0, 6)
        with pytest.raises(MovieError, match="vanished"):
            source.refresh()


def micromanager_xml(n_total: int) -> str:
    return (
        '<?xml version="1.0"?><OME><Image><Pixels DimensionOrder="XYCZT" SizeC="1" SizeZ="1" '
        f'SizeT="{n_total}" SizeX="14" SizeY="10" PhysicalSizeX="0.127" PhysicalSizeY="0.127" '
        'Type="uint16"></Pixels></Image></OME>'
    )


def micromanager_set(folder: Path, frames: NDArray[np.uint16], announced: int) -> Path:
    first = folder / "run_MMStack_Pos0.ome.tif"
    text = micromanager_xml(announced)
    write_tiff(first, frames[:3], description=text)
    write_tiff(folder / "run_MMStack_Pos0_1.ome.tif", frames[3:6])
    write_tiff(folder / "run_MMStack_Pos0_2.ome.tif", frames[6:])
    return first


def test_micromanager_set_is_read_from_its_first_file_and_from_its_folder(tmp_path: Path) -> None:
    frames = movie(8)
    first = micromanager_set(tmp_path, frames, announced=8)
    require_same(first, frames)
    require_same(tmp_path, frames)
    with open_movie(first) as source:
        assert source.metadata.warnings == ()
        assert source.metadata.pixel_size_x_nm == pytest.approx(127)


def test_recording_that_was_stopped_early(tmp_path: Path) -> None:
    """Micro-Manager announces what was planned."""
    first = micromanager_set(tmp_path, movie(8), announced=100)
    with open_movie(first) as source:
        assert source.n_frames == 8
        assert "3 files hold 8 whole frames of the 100" in source.metadata.warnings[0]
        assert "92 are missing" in source.metadata.warnings[0]


def test_missing_middle_part(tmp_path: Path) -> None:
    first = micromanager_set(tmp_path, movie(8), announced=8)
    (tmp_path / "run_MMStack_Pos0_1.ome.tif").unlink()
    with pytest.raises(MovieError, match=r"run_MMStack_Pos0_1\.ome\.tif .* is missing") as caught:
        open_movie(first)
    assert "misnumbered" in caught.value.hint


def test_later_part_alone_says_so(tmp_path: Path) -> None:
    frames = movie(8)
    micromanager_set(tmp_path, frames, announced=8)
    with open_movie(tmp_path / "run_MMStack_Pos0_1.ome.tif") as source:
        np.testing.assert_array_equal(source.read(0, 3), frames[3:6])
        assert "part 2 of a recording" in source.metadata.warnings[0]


def test_folder_with_several_positions(tmp_path: Path) -> None:
    for position in (0, 1):
        write_tiff(tmp_path / f"run_MMStack_Pos{position}.ome.tif", movie(2))
    with pytest.raises(MovieError, match="holds 2 recordings") as caught:
        open_movie(tmp_path)
    assert "instead of the folder" in caught.value.hint


METADATA = {
    "Summary": {
        "PixelSize_um": 0.16,
        "Frames": 6,
        "Channels": 1,
        "Slices": 1,
        "MicroManagerVersion": "1.4.23",
        "StartTime": "2026-01-02 03:04:05",
    },
    "FrameKey-0-0-0": {
        "Exposure-ms": 30.0,
        "ROI": "100-200-14-10",
        "Core-Camera": "Andor",
        "Andor-CameraName": "DU897_BV",
        "Andor-Gain": "300",
        "Binning": "1",
    },
}


@pytest.mark.parametrize(
    "name", ["img_{:09d}_Default_000.tif", "img_channel000_position000_time{:09d}_z000.tif"]
)
def test_micromanager_images_with_metadata(tmp_path: Path, name: str) -> None:
    frames = movie(6)
    folder = tmp_path / "acquisition" / "Pos0"
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        write_tiff(folder / name.format(index), frame[None])
    (folder / "metadata.txt").write_text(json.dumps(METADATA))
    for path in (folder, tmp_path / "acquisition"):
        require_same(path, frames)
    with open_movie(folder) as source:
        metadata = source.metadata
    assert metadata.pixel_size_x_nm == pytest.approx(160)
    assert metadata.exposure_ms == 30
    assert metadata.roi_origin_px == (100, 200)
    assert metadata.camera == "DU897_BV"
    assert metadata.properties["Gain"] == "300"
    assert metadata.software == "Micro-Manager 1.4.23"
    assert metadata.binning == 1
    assert metadata.warnings == ()


def test_micromanager_images_of_two_channels(tmp_path: Path) -> None:
    red, green = movie(4, seed=1), movie(4, seed=2)
    for index in range(4):
        write_tiff(tmp_path / f"img_{index:09d}_red_000.tif", red[index][None])
        write_tiff(tmp_path / f"img_{index:09d}_green_000.tif", green[index][None])
    with pytest.raises(MovieError, match="2 channels: green, red"):
        open_movie(tmp_path)
    with open_movie(tmp_path, channel=1) as source:
        np.testing.assert_array_equal(source.read(0, 4), red)


def test_metadata_that_is_cut_off_is_ignored(tmp_path: Path) -> None:
    write_tiff(tmp_path / "img_000000000_Default_000.tif", movie(1))
    (tmp_path / "metadata.txt").write_text(json.dumps(METADATA)[:40])
    with open_movie(tmp_path) as source:
        assert source.metadata.pixel_size_x_nm is None


def picasso(folder: Path, frames: NDArray[np.uint16], order: str = "<", announced: int = 7) -> Path:
    frames.astype(f"{order}u2").tofile(folder / "a.raw")
    (folder / "a.yaml").write_text(
        f"Byte Order: '{order}'\nData Type: uint16\nFrames: {announced}\nHeight: 10\nWidth: 14\n"
        "Pixelsize: 130\nMicro-Manager Metadata:\n  Height: 99\n---\nHeight: 77\n"
    )
    return folder / "a.raw"


@pytest.mark.parametrize("order", ["<", ">"])
def test_picasso_raw(tmp_path: Path, order: str) -> None:
    frames = movie()
    path = picasso(tmp_path, frames, order)
    require_same(path, frames)
    with open_movie(path) as source:
        assert source.metadata.pixel_size_x_nm == 130
        assert source.metadata.warnings == ()


def test_truncated_raw(tmp_path: Path) -> None:
    frames = movie()
    path = picasso(tmp_path, frames)
    path.write_bytes(path.read_bytes()[:-100])
    with open_movie(path) as source:
        assert source.n_frames == 6
        np.testing.assert_array_equal(source.read(0, 6), frames[:6])
        assert "6 whole frames of the 7" in source.metadata.warnings[0]
        assert "last 180 bytes" in source.metadata.warnings[1]
        with path.open("ab") as file:
            file.write(frames[6].tobytes()[-100:])
        assert source.refresh() == 7
        np.testing.assert_array_equal(source.read(0, 7), frames)
        assert source.metadata.warnings == ()


@pytest.mark.parametrize(("text", "order"), [("little", "<"), ("big", ">")])
def test_dax(tmp_path: Path, text: str, order: str) -> None:
    frames = movie()
    frames.astype(f"{order}u2").tofile(tmp_path / "a.dax")
    (tmp_path / "a.inf").write_text(
        f"binning = 2 x 2\ndata type = 16 bit integers (binary, {text} endian)\n"
        "frame dimensions = 14 x 10\nnumber of frames = 7\nx_start = 33\ny_start = 65\n"
    )
    require_same(tmp_path / "a.dax", frames)
    with open_movie(tmp_path / "a.dax") as source:
        assert source.metadata.roi_origin_px == (32, 64)
        assert source.metadata.binning == 2


@pytest.mark.parametrize("name", ["a.raw", "a.dax"])
def test_side_file_is_missing(tmp_path: Path, name: str) -> None:
    movie().tofile(tmp_path / name)
    side = {"a.raw": "a.yaml", "a.dax": "a.inf"}[name]
    with pytest.raises(MovieError, match=f"needs {side} beside it") as caught:
        open_movie(tmp_path / name)
    assert "same folder" in caught.value.hint


def test_side_file_is_of_no_use(tmp_path: Path) -> None:
    movie().tofile(tmp_path / "a.raw")
    (tmp_path / "a.yaml").write_text("Height: 10\n")
    with pytest.raises(MovieError, match="does not say Width, Height and Data Type"):
        open_movie(tmp_path / "a.raw")


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "u1", "f4"])
def test_numpy_array(tmp_path: Path, dtype: str) -> None:
    frames = (movie() % 250).astype(dtype)
    np.save(tmp_path / "a.npy", frames)
    require_same(tmp_path / "a.npy", frames.astype(np.dtype(dtype).newbyteorder("=")))


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros(5), "shape (5,)"),
        (np.zeros((2, 3, 4, 5)), "shape (2, 3, 4, 5)"),
        (np.asfortranarray(np.zeros((3, 4, 5))), "Fortran order"),
        (np.zeros((3, 4, 5), complex), "complex128"),
    ],
)
def test_numpy_array_that_is_no_movie(
    tmp_path: Path, array: NDArray[np.generic], word: str
) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(MovieError) as caught:
        open_movie(tmp_path / "a.npy")
    assert word in caught.value.message
    assert caught.value.hint


def _mat(path: Path) -> None:
    path.write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(200, b" "))


def _hdf(path: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)


def _text(path: Path) -> None:
    path.write_text("frame,x_nm\n")


def _vendor(path: Path) -> None:
    path.write_bytes(b"ZISRAWFILE" + b"\0" * 100)


def _noise(path: Path) -> None:
    path.write_bytes(bytes(range(128, 256)))


@pytest.mark.parametrize(
    ("name", "make", "word"),
    [
        ("a.mat", _mat, "a MATLAB file"),
        ("a.h5", _hdf, "an HDF5 file"),
        ("a.csv", _text, "a text file"),
        ("a.czi", _vendor, "microscope vendor's file"),
        ("a.tif", _noise, "a file of unknown type"),
    ],
)
def test_what_is_no_movie_is_told_apart(
    tmp_path: Path, name: str, make: Callable[[Path], None], word: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(MovieError, match="not a movie") as caught:
        open_movie(tmp_path / name)
    assert word in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_empty_and_missing(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for path, words in (
        (tmp_path / "a.tif", "is empty (0 bytes)"),
        (tmp_path / "b.tif", "does not exist"),
        (tmp_path / "folder", "holds no movie"),
    ):
        with pytest.raises(MovieError) as caught:
            open_movie(path)
        assert words in caught.value.message
        assert caught.value.hint
    with pytest.raises(MovieError, match="No movie was given"):
        open_movie([])


REAL = [
    # file, frames, rows, columns, pixel size nm: from the data's own documentation
    ("bead_stacks/fit3Dcspline_single_bead.tif", 201, 21, 21, None),
    ("bead_stacks/PYME_psf_astig.tif", 61, 61, 61, 74.0),
    ("raw_movies/Locan_images.tif", 5, 128, 128, None),
    ("raw_movies/challenge2013_BundledTubesHD_361frames.tif", 361, 64, 64, 100.0),
    ("raw_movies/thunderstorm_tubulins1_00020.tif", 1, 256, 256, None),
    ("raw_movies/storm-analysis_test.dax", 10, 256, 256, None),
    ("raw_movies/storm-analysis_sCMOS_sample.dax", 11, 256, 256, None),
    ("camera_metadata/bstore_Cos7_A647_WF1_MMStack_Pos0.ome.tif", 1, 512, 512, None),
    ("camera_metadata/bstore_OME-TIFF_No_MM_Metadata.ome.tif", 1, 400, 400, 100.0),
]


@pytest.mark.parametrize(("name", "n", "height", "width", "pixel_nm"), REAL)
def test_real_files(
    shared_data: Path, name: str, n: int, height: int, width: int, pixel_nm: float | None
) -> None:
    with open_movie(shared_data / name) as source:
        assert (source.n_frames, source.height_px, source.width_px) == (n, height, width)
        expected = None if pixel_nm is None else pytest.approx(pixel_nm)
        assert source.metadata.pixel_size_x_nm == expected
        frames = source.read(0, n)
    if name.endswith(".tif"):
        reference = tifffile.imread(shared_data / name).reshape(frames.shape)
    else:
        reference = np.fromfile(shared_data / name, ">u2").reshape(frames.shape)
    np.testing.assert_array_equal(frames, reference)


def test_real_dax_holds_more_than_it_says(shared_data: Path) -> None:
    with open_movie(shared_data / "raw_movies/storm-analysis_sCMOS_sample.dax") as source:
        assert "11 frames although 10 are announced" in source.metadata.warnings[0]
        assert 90 < np.median(source.read(10, 11)) < 200  # the eleventh is a frame like the others


def test_real_picasso_movie(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "raw_movies"
    shutil.copy(folder / "picasso_testdata_1000frames.raw", tmp_path / "a.raw")
    shutil.copy(folder / "picasso_testdata.yaml", tmp_path / "a.yaml")
    with open_movie(tmp_path / "a.raw") as source:
        assert (source.n_frames, source.height_px, source.width_px) == (1000, 32, 32)
        assert source.metadata.pixel_size_x_nm == 160
        assert "1000 frames although 100 are announced" in source.metadata.warnings[0]


def test_real_micromanager_metadata(shared_data: Path) -> None:
    """Numbers from the text file that the program wrote beside the movie."""
    name = "bstore_HeLaS_Control_53BP1_IF_FISH_A488_WF1_MMStack_Pos0"
    text = json.loads((shared_data / f"camera_metadata/{name}_metadata.txt").read_text())
    with open_movie(shared_data / f"camera_metadata/{name}.ome.tif") as source:
        metadata = source.metadata
        assert (source.height_px, source.width_px) == (914, 914)
    assert metadata.pixel_size_x_nm == pytest.approx(1000 * text["Summary"]["PixelSize_um"])
    assert metadata.roi_origin_px == (708, 428)
    assert metadata.exposure_ms == float(text["FrameKey-0-0-0"]["Andor Zyla 4.2-Exposure"])
    assert metadata.camera == "Zyla 4.2 CL 10 Tap"
    assert metadata.properties["PixelReadoutRate"] == "540 MHz - fastest readout"


NDTIFF = [
    ("v2/ndtiffv2.0_test", "2 channels", {"channel": 1}, 5, 1),
    ("v3/12_bit_pycromanager_mda", "2 channels: DAPI, FITC", {"channel": 1}, 4, 1),
    ("v3/ndtiff3.2_monochrome", "16 z slices", {"z_slice": 3}, 8, 3),
]


@pytest.mark.parametrize(("name", "words", "choice", "n", "index"), NDTIFF)
def test_real_ndtiff(
    shared_data: Path, name: str, words: str, choice: dict[str, int], n: int, index: int
) -> None:
    folder = shared_data / "camera_metadata/NDTiff" / name
    with pytest.raises(MovieError, match=words):
        open_movie(folder)
    (stack,) = folder.rglob("*NDTiffStack.tif")
    reference = tifffile.imread(stack)[:, index]  # tifffile reads the axes from the index, too
    for path in (folder, stack):
        with open_movie(path, **choice) as source:
            assert source.n_frames == n
            np.testing.assert_array_equal(source.read(0, n), reference)
            assert source.metadata.exposure_ms == 10
            assert source.metadata.kind == "Micro-Manager NDTiff"
            assert source.metadata.warnings == ()


def test_real_picasso_pair_whose_names_differ(shared_data: Path) -> None:
    """``picasso_testdata.yaml`` belongs to ``picasso_testdata_1000frames.raw``; it says so."""
    path = shared_data / "raw_movies/picasso_testdata_1000frames.raw"
    with open_movie(path) as source:
        assert (source.n_frames, source.height_px, source.width_px) == (1000, 32, 32)
        assert source.metadata.pixel_size_x_nm == 160
        assert "no YAML file of its own name" in source.metadata.warnings[0]
        expected = np.fromfile(path, "<u2").reshape(1000, 32, 32)
        np.testing.assert_array_equal(source.read(0, 1000), expected)


def test_a_renamed_picasso_movie_is_only_guessed_where_it_is_clear(tmp_path: Path) -> None:
    path = picasso(tmp_path, movie())
    path = path.rename(tmp_path / "a_cell3.raw")
    with open_movie(path) as source:
        assert "a.yaml is taken for it" in source.metadata.warnings[0]
    shutil.copy(tmp_path / "a.yaml", tmp_path / "a_cell.yaml")  # two might be meant
    with pytest.raises(MovieError, match=r"needs a_cell3\.yaml beside it"):
        open_movie(path)
    (tmp_path / "a_cell.yaml").unlink()
    path.write_bytes(path.read_bytes()[:-6])  # its size does not fit any more
    with pytest.raises(MovieError, match=r"needs a_cell3\.yaml beside it"):
        open_movie(path)


@pytest.mark.parametrize(
    ("settings", "on", "gain"),
    [
        ({"Output_Amplifier": "Electron Multiplying", "Gain": "200"}, True, 200.0),
        ({"Output_Amplifier": "Conventional", "Gain": "200"}, False, 200.0),
        ({"Port": "Multiplication Gain", "MultiplierGain": "150", "Gain": "3"}, True, 150.0),
        ({"Port": "Normal", "MultiplierGain": "1"}, False, 1.0),
        ({"EMSwitch": "On", "Gain": "3", "Pre-Amp-Gain": "Gain 3"}, True, 3.0),
        ({"Port": "Normal", "Gain": "3"}, False, None),  # Photometrics' amplifier
        ({"Gain": "3-Sensitivity", "Port": "Dynamic Range"}, None, None),
        ({}, None, None),
    ],
)
def test_em_read_out_of_micromanager(
    settings: dict[str, str], on: bool | None, gain: float | None
) -> None:
    frame = {"Camera": "Cam-1", **{f"Cam-1-{key}": value for key, value in settings.items()}}
    facts = frame_facts(frame)
    assert (facts.get("em_register_on"), facts.get("em_gain")) == (on, gain)
    assert facts["device"] == "Cam-1"
    assert dict(facts["properties"]) == settings
