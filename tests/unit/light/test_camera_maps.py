"""Per-pixel camera maps of other programs, and the job that makes camera files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
from numpy.typing import NDArray

from decode_engine.cli.main import main
from decode_engine.contract.jobs import ImportCamerasSpec
from decode_engine.errors import CameraError, ConfigError, OutputError
from decode_engine.io.camera_maps import read_camera_maps
from decode_engine.io.cameras import read_camera
from decode_engine.io.movies import open_movie
from decode_engine.jobs import import_cameras
from decode_engine.jobs.context import JobContext


def stack(planes: int = 3) -> NDArray[np.float64]:
    """Offset in ADU, variance in ADU^2, gain in ADU per electron, of 5 x 7 pixels."""
    rng = np.random.default_rng(2)
    made = [rng.uniform(90, 110, (5, 7)), rng.uniform(1, 40, (5, 7)), rng.uniform(1.9, 2.4, (5, 7))]
    return np.stack([*made, *[np.ones((5, 7))] * (planes - 3)])


def _write(path: Path, data: NDArray[Any]) -> Path:
    if path.suffix == ".npy":
        np.save(path, data)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, data.astype(np.float32), photometric="minisblack")
    return path


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
@pytest.mark.parametrize("planes", [3, 5])
def test_a_stack_of_offset_variance_and_gain(tmp_path: Path, suffix: str, planes: int) -> None:
    data = stack(planes)
    maps = read_camera_maps(_write(tmp_path / f"m{suffix}", data), transposed=False)
    assert maps.offset_adu is not None
    assert maps.e_per_adu is not None
    assert maps.read_noise_e is not None
    np.testing.assert_allclose(maps.offset_adu, data[0], rtol=1e-6)
    np.testing.assert_allclose(maps.e_per_adu, 1 / data[2], rtol=1e-6)
    # a variance in ADU^2 is one of var / gain^2 in electrons^2 (Huang et al. 2013, sCMOS)
    np.testing.assert_allclose(maps.read_noise_e**2, data[1] / data[2] ** 2, rtol=1e-5)
    assert any("ADU per electron" in note for note in maps.notes)
    assert any("left out" in note for note in maps.notes) == (planes > 3)


def test_the_gain_may_be_electrons_per_adu(tmp_path: Path) -> None:
    data = stack()
    maps = read_camera_maps(
        _write(tmp_path / "m.npy", data), gain_means="e_per_adu", transposed=False
    )
    assert maps.e_per_adu is not None
    np.testing.assert_allclose(maps.e_per_adu, data[2], rtol=1e-6)


@pytest.mark.parametrize("version", ["v5", "v7.3"])
def test_matlab_variables_are_known_by_their_names(tmp_path: Path, version: str) -> None:
    data, path = stack(), tmp_path / "cam.mat"
    variables = {"offsetmap": data[0], "varmap": data[1], "gainmap": data[2]}
    if version == "v5":
        scipy.io.savemat(path, {**variables, "exposure": 20.0})
    else:
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, value in variables.items():  # MATLAB stores columns first
                file[name] = value.T
                file[name].attrs["MATLAB_class"] = np.bytes_("double")
        with path.open("r+b") as handle:
            handle.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    maps = read_camera_maps(path)
    assert maps.offset_adu is not None
    assert maps.e_per_adu is not None
    np.testing.assert_allclose(maps.offset_adu, data[0], rtol=1e-6)
    np.testing.assert_allclose(maps.e_per_adu, 1 / data[2], rtol=1e-6)
    assert any("varmap is taken as the variance" in note for note in maps.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.__setitem__((2, 3, 4), 0.0), "gain map .* is 0 at column 4, row 3"),
        (lambda m: m.__setitem__((1, 0, 1), -2.0), "variance map .* is -2 at column 1, row 0"),
        (lambda m: m.__setitem__((0, 2, 2), np.nan), "offset map .* is nan"),
    ],
)
def test_impossible_pixels_are_named(tmp_path: Path, change: Any, words: str) -> None:
    data = stack()
    change(data)
    with pytest.raises(CameraError, match=words) as caught:
        read_camera_maps(_write(tmp_path / "m.npy", data), transposed=False)
    assert "median" in caught.value.hint


def test_files_that_hold_no_maps(tmp_path: Path) -> None:
    _write(tmp_path / "two.npy", np.ones((2, 5, 7)))
    _write(tmp_path / "one.npy", np.ones((5, 7)))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    (tmp_path / "bad.tif").write_bytes(b"no TIFF")
    scipy.io.savemat(tmp_path / "other.mat", {"a": np.ones((5, 7))})
    scipy.io.savemat(tmp_path / "twice.mat", {"gain": np.ones((5, 7)), "gain2": np.ones((5, 7))})
    scipy.io.savemat(tmp_path / "sizes.mat", {"gain": np.ones((5, 7)), "var": np.ones((5, 6))})
    scipy.io.savemat(tmp_path / "var.mat", {"var": np.ones((5, 7))})
    for name, words in (
        ("two.npy", "not that of camera maps"),
        ("one.npy", "does not say of what"),
        ("text.npy", "no numbers"),
        ("bad.tif", "cannot be read"),
        ("other.mat", "holds a, no camera maps"),
        ("twice.mat", "several maps of the gain"),
        ("sizes.mat", "differ in size"),
        ("var.mat", "no gain to turn it into electrons"),
        ("none.npy", "does not exist"),
    ):
        with pytest.raises(CameraError, match=words) as caught:
            read_camera_maps(tmp_path / name)
        assert caught.value.hint


# ---------------------------------------------------------------- the job


def run(file: Path, out: Path, **settings: Any) -> dict[str, Any]:
    spec = ImportCamerasSpec(file=str(file), out=str(out), **settings)
    return import_cameras.run(spec, JobContext())


def test_the_real_maps_suit_the_real_movie(shared_data: Path, tmp_path: Path) -> None:
    """Means as the data's own list states them; which pixels are noisy as the map says."""
    source = shared_data / "camera_metadata/storm-analysis_sCMOS_calib.npy"
    out = tmp_path / "camera.json"
    summary = run(source, out, pixel_size_x_nm=160.0, name="sCMOS of the example", transposed=True)
    assert summary["kind"] == "maps"
    camera = read_camera(out)
    assert camera.map_shape == (256, 256)
    raw = np.load(source)
    assert [float(plane.mean()) for plane in raw] == pytest.approx([90.4, 13.64, 2.11], abs=0.06)
    assert float(np.mean(camera.offset_adu)) == pytest.approx(90.4, abs=0.06)
    assert float(np.mean(camera.e_per_adu)) == pytest.approx(1 / 2.11, abs=0.001)
    with open_movie(shared_data / "raw_movies/storm-analysis_sCMOS_sample.dax") as movie:
        camera.require_frame_size(movie.height_px, movie.width_px)
        frames = movie.read(0, 10)
    photons = camera.adu_to_photons(frames)
    assert 0 < np.median(photons) < 30
    # The map must explain which pixels are noisy; 65,536 of them make 0.02 five standard errors.
    noise, seen = np.log(camera.read_noise_e).ravel(), np.log(frames.var(axis=0) + 1)
    assert np.corrcoef(noise, seen.ravel())[0, 1] > 0.3
    assert abs(np.corrcoef(noise, seen.T.ravel())[0, 1]) < 0.02


def test_a_stack_of_numpy_must_be_said_to_be_transposed_or_not(tmp_path: Path) -> None:
    data = stack()
    path = _write(tmp_path / "m.npy", data)
    with pytest.raises(CameraError, match="rows or with columns") as caught:
        read_camera_maps(path)
    assert "--transposed true" in caught.value.hint
    turned = read_camera_maps(path, transposed=True)
    assert turned.offset_adu is not None
    np.testing.assert_allclose(turned.offset_adu, data[0].T, rtol=1e-6)
    assert any("exchanged" in note for note in turned.notes)


def test_one_map_at_a_time_says_what_is_missing(tmp_path: Path) -> None:
    _write(tmp_path / "o.tif", stack()[0])
    summary = run(tmp_path / "o.tif", tmp_path / "c.json", pixel_size_x_nm=100.0, map_kind="offset")
    assert any("The conversion is not in the file" in note for note in summary["notes"])
    assert read_camera(tmp_path / "c.json").map_shape == (5, 7)
    with pytest.raises(OutputError, match="exists already"):
        run(tmp_path / "o.tif", tmp_path / "c.json", pixel_size_x_nm=100.0, map_kind="offset")


def test_the_pixel_size_is_asked_for(tmp_path: Path) -> None:
    _write(tmp_path / "m.npy", stack())
    with pytest.raises(ConfigError, match="pixel size") as caught:
        run(tmp_path / "m.npy", tmp_path / "c.json")
    assert "--pixel-size-nm" in caught.value.hint
    with pytest.raises(ConfigError, match="not the name of a camera file"):
        run(tmp_path / "m.npy", tmp_path / "folder", pixel_size_x_nm=100.0)


def test_a_database_becomes_a_folder_all_or_nothing(shared_data: Path, tmp_path: Path) -> None:
    source, out = shared_data / "camera_metadata/SMAP_cameras.mat", tmp_path / "cameras"
    summary = run(source, out)
    assert len(summary["cameras"]) == len(list(out.glob("*.json"))) == 20
    (out / "smap-ueye.json").write_text("mine")
    for path in out.glob("smap-m*.json"):
        path.unlink()
    with pytest.raises(OutputError, match="exists already"):
        run(source, out)
    assert not list(out.glob("smap-m*.json"))
    run(source, out, overwrite=True)
    assert len(list(out.glob("*.json"))) == 20
    with pytest.raises(ConfigError, match="need a folder"):
        run(source, tmp_path / "x.json")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path / "m.npy", stack())
    words = ["import-cameras", str(tmp_path / "m.npy"), "--out", str(tmp_path / "c.json")]
    assert main([*words, "--pixel-size-nm", "100,110", "--transposed", "no", "--json"]) == 0
    camera = read_camera(tmp_path / "c.json")
    assert (camera.pixel_size_x_nm, camera.pixel_size_y_nm) == (100.0, 110.0)
    assert '"kind": "maps"' in capsys.readouterr().out
    assert main([*words[:1], str(tmp_path / "no.yaml"), *words[2:]]) == 2
    assert "does not exist" in capsys.readouterr().err
