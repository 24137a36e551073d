"""Camera files and the errors a user can make in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import CameraError, OutputError
from decode_engine.io.cameras import camera_from_config, read_camera, write_camera

GOOD: dict[str, Any] = {"kind": "scmos", "pixel_size_x_nm": 100, "e_per_adu": 0.46}


def camera_file(folder: Path, **values: Any) -> Path:
    path = folder / "camera.json"
    path.write_text(json.dumps({**GOOD, **values}))
    return path


def test_smallest_file_and_defaults(tmp_path: Path) -> None:
    path = tmp_path / "camera.json"
    path.write_text('{"pixel_size_x_nm": 100}')
    camera = read_camera(path)
    assert (camera.pixel_size_x_nm, camera.pixel_size_y_nm) == (100.0, 100.0)
    assert (camera.kind, camera.offset_adu, camera.e_per_adu, camera.em_gain) == (
        "scmos",
        100.0,
        1.0,
        1.0,
    )


def test_file_of_a_windows_editor(tmp_path: Path) -> None:
    path = tmp_path / "camera.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({**GOOD, "name": "Zyla µ"}).encode())
    assert read_camera(path).name == "Zyla µ"


@pytest.mark.parametrize(
    ("values", "words", "way_out"),
    [
        ({"e_per_adu": 0}, "conversion of 0.0 e-/ADU", "above 0"),
        ({"e_per_adu": -0.5}, "-0.5 e-/ADU", "data sheet"),
        ({"em_gain": 0}, "EM gain of 0", "leave the EM gain at 1"),
        ({"em_gain": None}, "em_gain is empty", "leave em_gain out"),
        ({"em_gain": "off"}, 'em_gain is "off"', "leave em_gain out"),
        ({"em_gain": 300}, "has no EM gain", "emccd"),
        ({"kind": "emccd", "em_gain": 0.5}, "EM gain 0.5 is below 1", "30-300"),
        ({"schema_version": 2}, "schema_version is 2", "later version"),
        ({"kind": "ccd"}, 'kind is "ccd"', "ideal, emccd or scmos"),
        ({"pixel_size_x_nm": 0}, "pixel size of 0.0", "80-160"),
        ({"pixel_size_x_nm": None}, "pixel_size_x_nm is empty", "80-160"),
        ({"pixel_size_x_nm": float("inf")}, "inf", "finite"),
        ({"offset_adu": float("nan")}, "not finite", "NaN"),
        ({"read_noise_e": -1.0}, "read noise of -1.0", "negative"),
        ({"quantum_efficiency": 90}, "quantum efficiency of 90", "fraction"),
        ({"spurious_charge_e": -0.1}, "spurious charge", "negative"),
        ({"saturation_adu": 50}, "saturation of 50.0", "above the offset"),
        ({"kind": "ideal", "read_noise_e": 1}, "ideal camera", "scmos"),
        ({"offset_adu": True, "em_mirrored": "maybe"}, "em_mirrored", "EM read-out"),
    ],
)
def test_impossible_values(
    tmp_path: Path, values: dict[str, Any], words: str, way_out: str
) -> None:
    with pytest.raises(CameraError) as caught:
        read_camera(camera_file(tmp_path, **values))
    assert words in caught.value.message
    assert way_out in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("em_gian", "em_gain"),
        ("offset", "offset_adu"),
        ("baseline", "offset_adu"),
        ("px_size", "pixel_size_x_nm"),
        ("pixel_size_nm", "pixel_size_x_nm"),
        ("Read_Sigma", "read_noise_e"),
        ("quantum_eficiency", "quantum_efficiency"),
        ("xyzzy", "Known keys are kind"),
    ],
)
def test_unknown_key_suggests_the_nearest(tmp_path: Path, key: str, meant: str) -> None:
    with pytest.raises(CameraError, match=f"unknown key '{key}'") as caught:
        read_camera(camera_file(tmp_path, **{key: 1}))
    assert meant in caught.value.hint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a JSON file"),
        (b"{'kind': 'scmos'}", "not a JSON file"),
        (b"\xff\xfe\x00", "not a JSON file"),
        (b"[1, 2]", "holds a list"),
        (b"{}", "lacks pixel_size_x_nm"),
    ],
)
def test_files_that_are_no_camera(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "camera.json"
    path.write_bytes(content)
    with pytest.raises(CameraError, match=words) as caught:
        read_camera(path)
    assert caught.value.hint


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="does not exist"):
        read_camera(tmp_path / "no.json")
    with pytest.raises(CameraError, match="is a folder"):
        read_camera(tmp_path)


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_maps_beside_the_file(tmp_path: Path, suffix: str) -> None:
    offset = np.random.default_rng(1).uniform(90, 110, (5, 7)).astype(np.float32)
    if suffix == ".npy":
        np.save(tmp_path / "offset.npy", offset.astype(np.float64))
    else:
        tifffile.imwrite(tmp_path / "offset.tif", offset)
    camera = read_camera(camera_file(tmp_path, offset_adu=f"offset{suffix}"))
    np.testing.assert_array_equal(camera.offset_adu, offset)
    assert camera.map_shape == (5, 7)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (np.zeros((3, 4, 5)), r"shape \(3, 4, 5\)"),
        (np.zeros((3, 4), np.complex128), "complex128"),
        (np.array([["a"]]), "numbers"),
        (b"not numpy", "cannot be read"),
        (np.array([[{}]], dtype=object), "cannot be read"),
        (np.zeros((2, 2)), "e-/ADU"),
        (np.full((2, 2), np.nan), "not finite"),
    ],
)
def test_maps_that_cannot_be_used(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "map.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(CameraError, match=words):
        read_camera(camera_file(tmp_path, e_per_adu="map.npy"))


def test_maps_of_two_sizes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 4)))
    np.save(tmp_path / "b.npy", np.ones((4, 5)))
    with pytest.raises(CameraError, match="differ in size"):
        read_camera(camera_file(tmp_path, offset_adu="a.npy", e_per_adu="b.npy"))


def test_real_scmos_maps(tmp_path: Path, shared_data: Path) -> None:
    """Maps of a real Hamamatsu camera: (offset ADU, variance ADU^2, gain ADU/e-), 256 x 256."""
    stack = np.load(shared_data / "camera_metadata" / "storm-analysis_sCMOS_calib.npy")
    offset, variance, gain = stack
    camera = CameraModel(
        kind="scmos",
        pixel_size_x_nm=160,
        pixel_size_y_nm=160,
        offset_adu=offset,
        e_per_adu=1 / gain,
        read_noise_e=np.sqrt(variance) / gain,
    )
    write_camera(camera, tmp_path / "flash.json", overwrite=False)
    found = read_camera(tmp_path / "flash.json")
    assert found == camera
    assert found.fingerprint() == camera.fingerprint()
    assert found.map_shape == (256, 256)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "flash.e_per_adu.npy",
        "flash.json",
        "flash.offset_adu.npy",
        "flash.read_noise_e.npy",
    ]
    # The definition of the maps, in float64: photons and their read-out variance.
    adu = np.full((256, 256), 150.0)
    np.testing.assert_allclose(found.adu_to_photons(adu), (adu - offset) / gain, rtol=1e-4)
    np.testing.assert_allclose(
        np.asarray(found.read_variance_photons2), variance / gain**2, rtol=1e-5
    )
    found.require_frame_size(256, 256)
    with pytest.raises(CameraError, match="256 x 256 pixels"):
        found.require_frame_size(256, 512)


def test_write_refuses_before_it_writes(tmp_path: Path) -> None:
    camera = CameraModel(
        kind="scmos", pixel_size_x_nm=100, pixel_size_y_nm=100, offset_adu=np.ones((3, 3))
    )
    path = tmp_path / "new folder" / "camera.json"
    write_camera(camera, path, overwrite=False)
    path.unlink()
    with pytest.raises(OutputError, match=r"offset_adu\.npy exists already"):
        write_camera(camera, path, overwrite=False)
    assert not path.exists()
    write_camera(camera, path, overwrite=True)
    assert read_camera(path) == camera


def test_config_of_a_bundle(tmp_path: Path) -> None:
    """A configuration without a file gives the same camera."""
    config = CameraConfig(kind="emccd", pixel_size_x_nm=100, em_gain=300, e_per_adu=45)
    camera = camera_from_config(config, tmp_path)
    assert (camera.em_gain, camera.excess_noise) == (300.0, 2.0)


def test_equal_cameras_have_equal_fingerprints() -> None:
    """Regression: 100 and 100.0 nm gave two fingerprints of one camera."""
    whole = CameraModel(kind="scmos", pixel_size_x_nm=100, pixel_size_y_nm=100)
    other = CameraModel(kind="scmos", pixel_size_x_nm=np.float32(100), pixel_size_y_nm=100.0)
    assert whole == other
    assert hash(whole) == hash(other)
    assert whole.fingerprint() == other.fingerprint()
    map_camera = CameraModel(
        kind="scmos", pixel_size_x_nm=100, pixel_size_y_nm=100, offset_adu=np.zeros((2, 2))
    )
    assert map_camera != whole


def test_a_bottomless_file_is_no_camera(tmp_path: Path) -> None:
    """Regression: JSON nested beyond Python's limit ended as an internal error."""
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(CameraError, match="not a JSON file"):
        read_camera(tmp_path / "c.json")
