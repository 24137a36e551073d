"""Model bundles: round trip, identity, refusal of what is not one, checks of what belongs."""

from __future__ import annotations

import dataclasses
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from decode_engine.contract.configs import TrainingConfig
from decode_engine.domain.calibration import Calibration, GaussianPsf, SplinePsf
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import MismatchError, ModelError, OutputError
from decode_engine.io.models import ModelBundle, read_model, require_match, write_model


def bundle() -> ModelBundle:
    rng = np.random.default_rng(1)
    return ModelBundle(
        network="decode",
        network_options={"features": 4},
        weights={
            "b.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
            "a.bias": np.array([0.5, -6.0], np.float32),
        },
        scaling={"photon_max": 1e4, "z_center_nm": -12.5},
        training_config=TrainingConfig(steps=10, learning_rate=1e-3),
        training_record={"steps": 10, "history": [{"rmse_axial_nm": math.nan, "jaccard": 0.5}]},
        calibration=Calibration(
            psf=SplinePsf(
                coefficients=rng.normal(size=(3, 4, 5, 64)).astype(np.float32),
                dz_nm=10.0,
                z0_slice=3.0,
                center_x_px=1.5,
                center_y_px=1.0,
            ),
            pixel_size_x_nm=100.0,
            pixel_size_y_nm=110.0,
            source="beads of today",
        ),
        camera=CameraModel(
            kind="scmos",
            pixel_size_x_nm=100.0,
            pixel_size_y_nm=110.0,
            offset_adu=100.0,
            e_per_adu=rng.uniform(0.4, 0.6, (6, 7)).astype(np.float32),
            read_noise_e=1.6,
            saturation_adu=65535.0,
            name="test",
        ),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.decode"
    write_model(bundle(), path, overwrite=False)
    return path


def test_round_trip(path: Path) -> None:
    a, b = bundle(), read_model(path)
    assert (a.network, a.network_options, a.scaling) == (b.network, b.network_options, b.scaling)
    assert a.training_config == b.training_config
    assert a.training_record == b.training_record
    assert a.weights.keys() == b.weights.keys()
    for name, values in a.weights.items():
        np.testing.assert_array_equal(values, b.weights[name])
        assert values.dtype == b.weights[name].dtype
    assert a.calibration.fingerprint() == b.calibration.fingerprint()
    assert b.calibration.pixel_size_y_nm == 110.0
    assert a.camera.fingerprint() == b.camera.fingerprint()
    assert b.camera.name == "test"
    assert a.model_id == b.model_id


def test_what_json_cannot_say_becomes_null() -> None:
    record = bundle().training_record
    assert record["history"] == [{"rmse_axial_nm": None, "jaccard": 0.5}]


def test_same_model_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.decode"
    write_model(read_model(path), other, overwrite=False)
    members = [zipfile.ZipFile(p) for p in (path, other)]
    for name in ("model.json", "weights.safetensors", "camera.json"):
        assert members[0].read(name) == members[1].read(name)
    assert {i.compress_type for i in members[0].infolist()} == {zipfile.ZIP_STORED}


def test_identity_follows_content() -> None:
    a = bundle()
    weights = {**a.weights, "a.bias": np.array([0.5, -5.0], np.float32)}
    changed = [
        dataclasses.replace(a, weights=weights),
        dataclasses.replace(a, scaling={**a.scaling, "photon_max": 2e4}),
        dataclasses.replace(a, camera=dataclasses.replace(a.camera, read_noise_e=2.0)),
        dataclasses.replace(
            a, calibration=Calibration(psf=GaussianPsf(sigma0_x_nm=130.0, sigma0_y_nm=130.0))
        ),
    ]
    assert len({a.model_id, *(b.model_id for b in changed)}) == 5
    renamed = dataclasses.replace(a, camera=dataclasses.replace(a.camera, name="other"))
    assert renamed.model_id == a.model_id
    slower = dataclasses.replace(a, training_record={**a.training_record, "elapsed_s": 1e4})
    assert slower.model_id == a.model_id


def test_half_precision(tmp_path: Path) -> None:
    path = tmp_path / "half.decode"
    write_model(bundle().with_half_precision(), path, overwrite=False)
    half = read_model(path)
    for name, values in bundle().weights.items():
        assert half.weights[name].dtype == np.float16
        np.testing.assert_allclose(half.weights[name], values, rtol=2**-11, atol=1e-7)


def test_existing_file_is_kept(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write_model(bundle(), path, overwrite=False)
    assert path.read_bytes() == before
    write_model(bundle(), path, overwrite=True)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        read_model(tmp_path / "none.decode")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken", bytes(1000)])
def test_not_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.decode"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.decode is not a model"):
        read_model(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_model(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError):
        read_model(path)


def rewrite(path: Path, changes: dict[str, bytes | None]) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**entries, **changes}.items():
            if content is not None:
                archive.writestr(name, content)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights.safetensors": None}, "lacks weights.safetensors"),
        ({"weights.safetensors": b"nonsense"}, "damaged"),
        ({"model.json": b"{"}, "damaged"),
        ({"model.json": b"[]"}, "not a model"),
        ({"model.json": b"{}"}, "not a model"),
        ({"camera.json": b"{}"}, "damaged"),
        ({"camera.e_per_adu.npy": None}, "damaged"),
        ({"calibration.h5": b"nonsense"}, "calibration"),
    ],
)
def test_damaged_parts(path: Path, changes: dict[str, bytes | None], words: str) -> None:
    rewrite(path, changes)
    with pytest.raises(ModelError, match=words):
        read_model(path)


def test_members_that_zipfile_cannot_unpack_are_bad_input(path: Path) -> None:
    """Regression: a damaged or encrypted member ended as an internal error."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in content.items():
            archive.writestr(name, member)
    whole = bytearray(path.read_bytes())
    start = whole.find(b"model.json") + len("model.json")
    damaged = whole[:start] + b"\xff" * 40 + whole[start + 40 :]
    encrypted = bytearray(whole)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := encrypted.find(magic, place + 1)) >= 0:
            encrypted[place + offset] |= 1
    for bad in (damaged, encrypted):
        path.write_bytes(bad)
        with pytest.raises(ModelError, match="damaged"):
            read_model(path)


@pytest.mark.parametrize("name", ["network_options", "scaling", "training_record"])
def test_lists_in_place_of_groups_are_bad_input(path: Path, name: str) -> None:
    """Regression: these were read without a word, or ended as an internal error."""
    with zipfile.ZipFile(path) as archive:
        text = json.loads(archive.read("model.json"))
    rewrite(path, {"model.json": json.dumps({**text, name: [1]}).encode()})
    with pytest.raises(ModelError, match="damaged"):
        read_model(path)


def test_later_version(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        text = json.loads(archive.read("model.json"))
    rewrite(path, {"model.json": json.dumps({**text, "schema_version": 2}).encode()})
    with pytest.raises(ModelError, match="version 2") as error:
        read_model(path)
    assert "Update" in error.value.hint


def test_pickled_map_is_refused(path: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.npy"
    np.save(evil, np.array([print], object), allow_pickle=True)
    rewrite(path, {"camera.e_per_adu.npy": evil.read_bytes()})
    with pytest.raises(ModelError):
        read_model(path)


def test_weights_that_are_not_finite_are_refused() -> None:
    a = bundle()
    with pytest.raises(ModelError, match=r"'a\.bias' contain values that are not finite"):
        dataclasses.replace(a, weights={"a.bias": np.array([np.nan], np.float32)})
    with pytest.raises(ModelError, match="float64"):
        dataclasses.replace(a, weights={"a.bias": np.zeros(1)})


def test_match_accepts_its_own() -> None:
    a = bundle()
    renamed = dataclasses.replace(a.camera, name="another name")
    require_match(a, calibration=a.calibration, camera=renamed, pixel_size_nm=(100.05, 110.0))


def test_mismatch_names_what_differs_with_both_values() -> None:
    a = bundle()
    other_psf = dataclasses.replace(a.calibration.psf, z0_slice=2.0)
    with pytest.raises(MismatchError, match="calibration") as error:
        require_match(
            a, calibration=dataclasses.replace(a.calibration, psf=other_psf, source="yesterday")
        )
    assert "beads of today" in error.value.message
    assert "yesterday" in error.value.message
    camera = CameraModel(
        kind="emccd", em_gain=300.0, pixel_size_x_nm=130.0, pixel_size_y_nm=110.0, offset_adu=100.0
    )
    with pytest.raises(MismatchError) as error:
        require_match(a, camera=camera, pixel_size_nm=(130.0, 130.0))
    for words in (
        "camera kind (model: scmos; given: emccd)",
        "camera pixel_size_x_nm (model: 100; given: 130)",
        "camera e_per_adu (model: map of 7 x 6 px",
        "pixel size (model: 100 x 110 nm; given: 130 x 130 nm)",
    ):
        assert words in error.value.message
    assert "offset" not in error.value.message
    assert "allow" in error.value.hint


def test_mirroring_and_the_refractive_index_factor_are_compared() -> None:
    """The same spline with other heights, or of mirrored beads, is another calibration."""
    made = bundle()
    mirrored = dataclasses.replace(made.calibration, em_mirrored=True)
    with pytest.raises(MismatchError, match=r"given: .*, mirrored as EM frames are"):
        require_match(made, calibration=mirrored)
    deeper = dataclasses.replace(made.calibration, refractive_index_factor=0.8)
    with pytest.raises(MismatchError, match=r"given: .*refractive-index factor 0\.8"):
        require_match(made, calibration=deeper)
    em = dataclasses.replace(made.camera, em_mirrored=True)
    with pytest.raises(MismatchError, match="em_mirrored"):
        require_match(made, camera=em)


def test_a_bundle_keeps_the_factor_of_its_calibration(tmp_path: Path) -> None:
    calibration = dataclasses.replace(
        bundle().calibration, refractive_index_factor=0.75, em_mirrored=True
    )
    made = dataclasses.replace(bundle(), calibration=calibration)
    write_model(made, tmp_path / "m.decode", overwrite=False)
    found = read_model(tmp_path / "m.decode").calibration
    assert found == calibration
    assert found.z_range_nm == pytest.approx((-2 * 7.5, 3 * 7.5))


def test_measured_uncertainties_are_kept_and_change_the_identity(tmp_path: Path) -> None:
    plain = bundle()
    measured = dataclasses.replace(plain, uncertainty={"x": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]})
    write_model(measured, tmp_path / "m.decode", overwrite=False)
    again = read_model(tmp_path / "m.decode")
    assert again.uncertainty == measured.uncertainty
    assert again.model_id == measured.model_id != plain.model_id


def test_what_a_starter_knows_of_psfs_is_kept_and_changes_the_identity(tmp_path: Path) -> None:
    plain = bundle()
    starter = dataclasses.replace(plain, conditioning={"mean": np.ones((2, 3, 3), np.float32)})
    write_model(starter, tmp_path / "m.decode", overwrite=False)
    again = read_model(tmp_path / "m.decode")
    assert again.conditioning.keys() == {"mean"}
    np.testing.assert_array_equal(again.conditioning["mean"], starter.conditioning["mean"])
    assert again.model_id == starter.model_id != plain.model_id
    wrong = {"mean": np.full(3, np.nan, np.float32)}
    with pytest.raises(ModelError, match="'mean' contain values that are not finite"):
        dataclasses.replace(plain, conditioning=wrong)


def test_a_model_from_before_has_none(path: Path) -> None:
    assert read_model(path).uncertainty == {}
    assert read_model(path).conditioning == {}
    with zipfile.ZipFile(path) as archive:
        assert "uncertainty" not in json.loads(archive.read("model.json"))
