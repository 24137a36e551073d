"""Camera presets, what a movie's metadata propose, and saving presets of one's own."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from app.models.camera_presets import (
    CameraPreset,
    apply_mode,
    load_presets,
    matching_presets,
    own_preset,
    save_preset,
)
from app.models.camera_proposal import propose_camera
from decode_engine.contract.configs import CameraConfig
from decode_engine.errors import CameraError
from decode_engine.io.cameras import camera_from_config
from decode_engine.io.movies import MovieMetadata

BASE = CameraConfig(pixel_size_x_nm=117.0, offset_adu=1.0, e_per_adu=9.0)
PRESETS, _ = load_presets()


def _metadata(camera: str, **properties: str) -> MovieMetadata:
    return MovieMetadata(
        kind="Micro-Manager TIFF", camera=camera, properties=MappingProxyType(properties)
    )


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.id)
def test_every_bundled_mode_is_a_possible_camera_with_a_source(preset: CameraPreset) -> None:
    assert len(preset.source) > 30
    for mode in preset.modes:
        config = apply_mode(preset, mode, BASE)
        camera = camera_from_config(config, Path())
        assert camera.pixel_size_x_nm == 117.0  # it depends on the microscope, not the camera
        assert config.offset_adu != BASE.offset_adu
        assert config.name == preset.title


def test_ids_are_the_names_of_the_files_and_unique() -> None:
    ids = [preset.id for preset in PRESETS]
    assert len(set(ids)) == len(ids) >= 8


@pytest.mark.parametrize(
    ("metadata", "expected", "mode"),
    [
        (
            _metadata("Zyla 4.2 CL 10 Tap", **{
                "Sensitivity/DynamicRange": "12-bit (low noise)"}),
            "andor-zyla-4-2", "12 bit, low noise",
        ),
        (_metadata("C11440-22CU"), "hamamatsu-orca-flash4-v2", "Standard scan (100 frames/s)"),
        (_metadata("Orca", ScanMode="1", CameraName="C14440-20UP"), "hamamatsu-orca-fusion",
         "Ultra-quiet scan"),
        (_metadata("Camera-1", Name="Prime95B", Gain="3-Sensitivity"), "photometrics-prime-95b",
         "12 bit, sensitivity"),
    ],
)  # fmt: skip
def test_cameras_are_recognised_with_their_mode(
    metadata: MovieMetadata, expected: str, mode: str
) -> None:
    (preset, found), *_ = matching_presets(PRESETS, metadata)
    assert (preset.id, found.name) == (expected, mode)


def test_an_unknown_camera_is_not_guessed() -> None:
    proposal = propose_camera(_metadata("DemoCamera-MultiMode", Gain="0"), PRESETS)
    assert proposal.empty


def test_the_file_s_own_numbers_go_before_the_preset() -> None:
    metadata = _metadata(
        "C13440-20CU",
        **{"CONVERSION FACTOR COEFF": "0.48", "CONVERSION FACTOR OFFSET": "98"},
    )
    proposal = propose_camera(metadata, PRESETS)
    camera = proposal.applied_to(BASE)
    assert (camera.e_per_adu, camera.offset_adu, camera.read_noise_e) == (0.48, 98.0, 1.6)
    assert "CONVERSION FACTOR COEFF" in proposal.reasons["e_per_adu"]
    assert set(proposal.differs_from(BASE)) == {"e_per_adu", "offset_adu"}
    assert proposal.differs_from(camera) == ()


def test_the_em_gain_is_read_and_em_off_means_no_em_noise() -> None:
    on = propose_camera(_metadata("DU-897_BV", Gain="250"), PRESETS).applied_to(BASE)
    assert (on.kind, on.em_gain) == ("emccd", 250.0)
    off = propose_camera(
        _metadata("DU-897_BV", Gain="250", Output_Amplifier="Conventional"), PRESETS
    ).applied_to(BASE)
    assert (off.kind, off.em_gain) == ("scmos", 1.0)
    camera_from_config(off, Path())


def test_changing_from_emccd_to_scmos_leaves_no_em_gain() -> None:
    emccd = CameraConfig(kind="emccd", pixel_size_x_nm=100, em_gain=300, em_mirrored=True)
    fusion = next(p for p in PRESETS if p.id == "hamamatsu-orca-fusion")
    camera = apply_mode(fusion, fusion.modes[0], emccd)
    assert (camera.em_gain, camera.em_mirrored) == (1.0, False)


def test_an_own_preset_comes_first_and_is_recognised(tmp_path: Path) -> None:
    metadata = _metadata("Zyla 4.2 CL 10 Tap")
    camera = BASE.model_copy(update={"e_per_adu": 0.31})
    path = save_preset(own_preset("Scope 2: Zyla", camera, metadata), tmp_path)
    assert path.name == "scope-2-zyla.json"
    presets, complaints = load_presets(tmp_path)
    assert complaints == []
    assert presets[0].own
    proposal = propose_camera(metadata, presets)
    assert proposal.preset is not None
    assert proposal.preset.model == "Scope 2: Zyla"
    assert proposal.applied_to(CameraConfig(pixel_size_x_nm=1)).pixel_size_x_nm == 117.0


def test_a_damaged_own_preset_is_told_and_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"id": 3}')
    presets, complaints = load_presets(tmp_path)
    assert len(presets) == len(PRESETS)
    assert "bad.json" in complaints[0]


def test_maps_are_no_preset() -> None:
    camera = BASE.model_copy(update={"offset_adu": "maps/offset.npy"})
    with pytest.raises(CameraError, match="per-pixel map"):
        own_preset("x", camera, None)
    with pytest.raises(CameraError, match="needs a name"):
        own_preset("  ", BASE, None)


def test_the_read_out_is_only_proposed_where_the_mode_does_not_say_it() -> None:
    on = {"Output_Amplifier": "Electron Multiplying", "ReadoutMode": "17.000 MHz",
          "Pre-Amp-Gain": "Gain 3", "Gain": "120"}  # fmt: skip
    proposal = propose_camera(_metadata("DU-897_BV", **on), PRESETS)
    assert dict(proposal.values) == {"em_gain": 120.0}
    assert proposal.applied_to(BASE).kind == "emccd"
    off = propose_camera(
        _metadata("DU-897_BV", **{**on, "Output_Amplifier": "Conventional"}), PRESETS
    )
    assert off.mode is not None
    assert off.mode.kind == "scmos"
    assert dict(off.values) == {"em_gain": 1.0}
    camera = off.applied_to(BASE)
    assert (camera.kind, camera.em_gain, camera.em_mirrored) == ("scmos", 1.0, False)
