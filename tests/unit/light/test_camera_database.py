"""The camera database: recognising a camera and its read-out, importing SMAP's and Picasso's."""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import scipy.io
from pydantic import ValidationError

from decode_engine.contract.camera_presets import (
    CameraMode,
    CameraPreset,
    MetadataRule,
    ModeValues,
)
from decode_engine.contract.configs import CameraConfig
from decode_engine.errors import CameraError
from decode_engine.io.camera_database import (
    camera_for_movie,
    load_presets,
    matching_presets,
    read_setting,
    save_preset,
    stated_values,
)
from decode_engine.io.camera_import_picasso import read_picasso_cameras
from decode_engine.io.camera_import_smap import parse_expression, read_smap_cameras
from decode_engine.io.cameras import camera_from_config
from decode_engine.io.movies import MovieMetadata, open_movie
from decode_engine.io.movies.micromanager import frame_facts
from decode_engine.io.resources import resource_path

BASE = CameraConfig(pixel_size_x_nm=99.0, read_noise_e=1.5)
IXON = "| iXon Ultra | DU897_BV | 8172 |"


def movie(camera: str = "Cam", device: str = "Andor", **settings: str) -> MovieMetadata:
    return MovieMetadata(
        kind="Micro-Manager TIFF", camera=camera, device=device,
        properties=MappingProxyType(settings),
    )  # fmt: skip


def andor(**changes: str) -> MovieMetadata:
    settings = {
        "Camera": IXON, "Output_Amplifier": "Electron Multiplying", "Gain": "250",
        "Pre-Amp-Gain": "Gain 1", "ReadoutMode": "17.000 MHz",
    }  # fmt: skip
    return movie(**{**settings, **{k.replace("_Amp_", "-Amp-"): v for k, v in changes.items()}})


# ---------------------------------------------------------------- recognising


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Port", "EM"),
        ("Camera-1-Port", "EM"),  # with the device's label, which its owner chose
        ("Andor iXon-Pre-Amp-Gain", "Gain 2"),
        ("Gain", "7"),  # not the end of Pre-Amp-Gain
        ("Exposure", None),
    ],
)
def test_settings_are_found_with_and_without_the_label(name: str, value: str | None) -> None:
    metadata = movie(**{"Port": "EM", "Pre-Amp-Gain": "Gain 2", "Gain": "7"})
    assert read_setting(metadata, name) == value


def preset(name: str, **changes: Any) -> CameraPreset:
    values: dict[str, Any] = {
        "id": name, "vendor": "", "model": name, "kind": "scmos", "source": "made up",
        "modes": (CameraMode(name="all", values=ModeValues(e_per_adu=1.0)),),
    }  # fmt: skip
    return CameraPreset(**{**values, **changes})


def test_a_serial_number_goes_before_words_and_own_before_bundled() -> None:
    presets = [
        preset("word", match=("Zyla 4.2 CL 10 Tap",)),
        preset("own word", match=("Zyla",), own=True),
        preset("serial", identity={"CameraID": "VSC-1"}),
        preset("other serial", identity={"CameraID": "VSC-2"}),
    ]
    metadata = movie("Zyla 4.2 CL 10 Tap", CameraID="VSC-1")
    assert [p.id for p, _ in matching_presets(presets, metadata)] == ["serial", "own word", "word"]


def test_the_mode_whose_settings_all_hold_is_taken() -> None:
    modes = tuple(
        CameraMode(name=name, when=when, values=ModeValues(e_per_adu=gain))
        for name, when, gain in (
            ("port only", {"Port": "EM"}, 1.0),
            ("port and rate", {"Port": "EM", "Rate": "10 MHz"}, 2.0),
            ("other rate", {"Port": "EM", "Rate": "5 MHz"}, 3.0),
            ("fallback", {}, 4.0),
        )
    )
    camera = preset("x", match=("cam",), modes=modes)

    def found(**settings: str) -> str:
        return matching_presets([camera], movie(**settings))[0][1].name

    assert found(Port="EM", Rate="10  MHz") == "port and rate"  # spaces do not count
    assert found(Port="EM", Rate="1 MHz") == "port only"
    assert found(Port="Normal", Rate="10 MHz") == "fallback"
    assert found() == "fallback"


@pytest.mark.parametrize(
    "values",
    [
        {"field": "em_on", "property": "Port", "form": "number"},
        {"field": "em_gain", "property": "Port", "form": "equals", "argument": "1"},
        {"field": "em_on", "property": "Port", "form": "above", "argument": "x"},
        {"field": "exposure", "property": "Port"},
    ],
)
def test_rules_that_make_no_sense_are_refused(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        MetadataRule.model_validate(values)


def test_a_file_written_by_a_user_is_read_and_a_damaged_one_told(tmp_path: Path) -> None:
    path = save_preset(preset("own", identity={"CameraID": "1"}), tmp_path / "cameras")
    (path.parent / "bad.json").write_text('{"id": "x", "modes": []}')
    presets, complaints = load_presets(path.parent)
    assert (presets[0].id, presets[0].own) == ("own", True)
    assert len(complaints) == 1
    assert "bad.json" in complaints[0]


@pytest.mark.parametrize(
    ("changes", "mode", "kind", "e_per_adu", "em_gain"),
    [
        ({}, "EM amplifier, 17 MHz, pre-amp 1", "emccd", 15.3, 250.0),
        ({"ReadoutMode": "10.000 MHz", "Pre_Amp_Gain": "Gain 3"},
         "EM amplifier, 10 MHz, pre-amp 3", "emccd", 5.1, 250.0),
        ({"ReadoutMode": "1.000 MHz", "Output_Amplifier": "Conventional",
          "Pre_Amp_Gain": "Gain 2"},
         "Conventional amplifier (EM off), 1 MHz, pre-amp 2", "scmos", 3.0, 1.0),
        ({"ReadoutMode": "5.000 MHz"}, "EM amplifier, 17 MHz, pre-amp 1", "emccd", 15.3, 250.0),
    ],
)  # fmt: skip
def test_the_bundled_ixon_follows_amplifier_rate_and_gain(
    changes: dict[str, str], mode: str, kind: str, e_per_adu: float, em_gain: float
) -> None:
    presets, _ = load_presets()
    metadata = andor(**changes)
    (found, taken), *_ = matching_presets(presets, metadata)
    assert (found.id, taken.name) == ("andor-ixon-ultra-897", mode)
    camera = camera_for_movie(presets, metadata, BASE)
    assert camera is not None
    assert (camera.kind, camera.e_per_adu, camera.em_gain) == (kind, e_per_adu, em_gain)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pco.edge 4.2 bi - SN:11A49DB", "pco-edge-4-2-bi"),
        ("pco.edge 4.2", "pco-edge-4-2"),
        ("C15550-20UP", "hamamatsu-orca-quest"),
        ("C15440-20UP", "hamamatsu-orca-fusion"),
    ],
)
def test_the_longest_word_decides_between_sisters(name: str, expected: str) -> None:
    presets, _ = load_presets()
    assert matching_presets(presets, movie(name))[0][0].id == expected


def test_the_example_of_the_documentation_is_one(tmp_path: Path) -> None:
    text = resource_path("cameras", "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "own.json").write_text(example)
    presets, complaints = load_presets(tmp_path)
    assert complaints == []
    camera = camera_for_movie(presets, andor(), BASE)
    assert camera is not None
    assert (camera.e_per_adu, camera.em_gain, camera.pixel_size_x_nm) == (14.61, 250.0, 131.5)


# ---------------------------------------------------------------- SMAP


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("str2double(X)", ("number", "", 1.0)),
        ("str2num(X)", ("number", "", 1.0)),
        ("str2double(X)*1000", ("number", "", 1000.0)),
        ("X", ("number", "", 1.0)),
        ("", ("number", "", 1.0)),
        ("~strcmp(X,'Conventional')", ("differs", "Conventional", 1.0)),
        ("(~strcmp(X,'Normal'))", ("differs", "Normal", 1.0)),
        ("strcmp(X,'On')", ("equals", "On", 1.0)),
        ("str2double(X)>0", ("above", "0.0", 1.0)),
        ("str2num(strrep(X,'-',' '))", None),
        ("split(X,',')", None),
        ("system('rm -rf /')", None),
        ("str2double(X)*1e", None),
        ("str2double(X)*1e999", None),
    ],
)
def test_matlab_expressions(text: str, expected: object) -> None:
    assert parse_expression(text) == expected


def _smap(shared_data: Path) -> list[CameraPreset]:
    return list(read_smap_cameras(shared_data / "camera_metadata/SMAP_cameras.mat").presets)


def test_every_camera_of_smaps_real_database_comes_over(shared_data: Path) -> None:
    """Names, tags, values and states, compared with what scipy reads."""
    path = shared_data / "camera_metadata/SMAP_cameras.mat"
    raw = scipy.io.loadmat(path, struct_as_record=False)["cameras"].ravel()
    presets = _smap(shared_data)
    assert len(presets) == len(raw) == 20
    assert len({p.id for p in presets}) == 20
    n_states = 0
    for found, theirs in zip(presets, raw, strict=True):
        name, tag, value = (
            _word(getattr(theirs.ID[0, 0], key)) for key in ("name", "tag", "value")
        )
        assert found.model == name
        assert found.identity == ({} if tag == "select" else {tag: value})
        rows = {_word(row[0]): row for row in theirs.par}
        for state in theirs.state.ravel():
            when = {_word(r[0]): _word(r[1]) for r in state.defpar if _word(r[0]) != "select"}
            if not when:
                continue
            n_states += 1
            (mode,) = (m for m in found.modes if m.when == when)
            own = {_word(row[0]): _word(row[1]) for row in state.par}
            for key, field in (("conversion", "e_per_adu"), ("offset", "offset_adu")):
                depends = _word(rows[key][1]) == "state dependent"
                expected = own[key] if depends else _word(rows[key][2])
                assert getattr(mode.values, field) == float(expected)
        fallback = found.modes[-1]
        assert fallback.when == {}
        sizes = [1e3 * float(s) for s in _word(rows["cam_pixelsize_um"][2]).split()]
        assert fallback.values.pixel_size_x_nm == pytest.approx(sizes[0])
    assert n_states == 17
    assert sum(p.kind == "emccd" for p in presets) == 8


def _word(value: Any) -> str:
    return str(value.ravel()[0]).strip() if value.size else ""


@pytest.mark.parametrize(
    ("metadata", "kind", "e_per_adu", "offset", "em_gain"),
    [
        # photons per ADU is conversion / EM gain where EM is on, else conversion (SMAP's rule)
        (andor(), "emccd", 14.61, 187.0, 250.0),
        (andor(ReadoutMode="10.000 MHz"), "emccd", 15.46, 196.0, 250.0),
        (andor(ReadoutMode="3.000 MHz", Output_Amplifier="Conventional", Pre_Amp_Gain="Gain 3"),
         "scmos", 1.4, 200.0, 1.0),
        (andor(ReadoutMode="1.000 MHz"), "emccd", 1.0, 100.0, 250.0),  # no such state: fixed values
        (movie("Evolve", "Evolve512", SerialNumber="A14G150010", Port="Multiplication Gain",
               Gain="1", ReadoutRate="20MHz 16bit", MultiplierGain="300"),
         "emccd", 6.4, 421.0, 300.0),
        (movie("Evolve", "Evolve512", SerialNumber="A14G150010", Port="Normal",
               Gain="2", ReadoutRate="0.625MHz 16bit", MultiplierGain="300"),
         "scmos", 0.974, 402.6, 1.0),
        (movie("iXon", "Andor iXon X-9603", Camera="| iXon Ultra | DU897_BV | 9603 |",
               EMSwitch="Off", Gain="3"), "scmos", 3.7, 100.0, 1.0),
        (movie("C15440-20UP", "HamamatsuHam_DCAM", CameraName="C15440-20UP"),
         "scmos", 0.24, 100.0, 1.0),
    ],
)  # fmt: skip
def test_smaps_cameras_give_smaps_values(
    shared_data: Path, metadata: MovieMetadata, kind: str, e_per_adu: float, offset: float,
    em_gain: float,
) -> None:  # fmt: skip
    camera = camera_for_movie(_smap(shared_data), metadata, BASE)
    assert camera is not None
    assert (camera.kind, camera.e_per_adu, camera.offset_adu) == (kind, e_per_adu, offset)
    assert camera.em_gain == em_gain
    assert camera.em_mirrored == (kind == "emccd")
    assert camera.read_noise_e == BASE.read_noise_e  # SMAP has none: the one before stays
    model = camera_from_config(camera, Path())
    photons = model.adu_to_photons(np.array([[offset + 1000.0]], np.float32))
    assert photons[0, 0] == pytest.approx(1000 * e_per_adu / em_gain, rel=1e-5)


def test_the_real_zyla_movie_is_recognised_by_a_bundled_preset(shared_data: Path) -> None:
    presets, _ = load_presets()
    name = "bstore_HeLaS_Control_53BP1_IF_FISH_A488_WF1_MMStack_Pos0.ome.tif"
    with open_movie(shared_data / "camera_metadata" / name) as source:
        assert source.metadata.device == "Andor Zyla 4.2"
        (found, mode), *_ = matching_presets([*_smap(shared_data), *presets], source.metadata)
    assert (found.id, mode.name) == ("andor-zyla-4-2", "16 bit, low noise and high well")


def test_what_smap_has_and_we_do_not_take_is_said(shared_data: Path) -> None:
    notes = read_smap_cameras(shared_data / "camera_metadata/SMAP_cameras.mat").notes
    assert any("Orca M4" in n and "_var.mat" in n for n in notes)  # a per-pixel map
    assert any("Default" in n and "never recognised" in n for n in notes)
    assert not any("LaCie" in n for n in notes)  # no folders of another's computer
    other = read_smap_cameras(shared_data / "camera_metadata/SMAP_cameras_Hamamatsu.mat")
    assert [p.model for p in other.presets] == ["Default", "OrcaFusion"]


def _smap_file(path: Path, expression: str = "str2double(X)", **changes: Any) -> Path:
    rows = np.empty((2, 7), object)
    rows[0] = ["conversion", "metadata", "0.5", "Cam-Sensitivity", "", expression, ""]
    rows[1] = ["offset", "fix", "100", "select", "", "str2double(X)", ""]
    camera = {
        "ID": {"name": "Mine", "tag": "Cam-Serial", "value": "7"}, "par": rows,
        "state": np.zeros((0, 0)), **changes,
    }  # fmt: skip
    scipy.io.savemat(path, {"cameras": camera})
    return path


def test_an_expression_that_is_not_understood_is_named_and_skipped(tmp_path: Path) -> None:
    found = read_smap_cameras(_smap_file(tmp_path / "c.mat", "str2double(X(3:end))/2"))
    assert "'str2double(X(3:end))/2' of conversion is not understood" in found.notes[0]
    assert "0.5" in found.notes[0]
    (mode,) = found.presets[0].modes
    assert (mode.values.e_per_adu, found.presets[0].rules) == (0.5, ())
    good = read_smap_cameras(_smap_file(tmp_path / "d.mat")).presets[0]
    (stated,) = stated_values(good, movie(Serial="7", Sensitivity="0.31 e/ADU"))
    assert (stated.field, stated.value) == ("e_per_adu", 0.31)
    assert "Cam-Sensitivity" in stated.reason


def test_a_damaged_camera_hides_no_other(tmp_path: Path, shared_data: Path) -> None:
    found = read_smap_cameras(_smap_file(tmp_path / "c.mat", par="nothing"))
    assert found.presets == ()
    assert "cannot be read" in found.notes[0]
    for path, words in (
        (shared_data / "calibrations/SMAP_cal_3DAcal.mat", "holds outforfit, not SMAP's cameras"),
        (tmp_path / "no.mat", "no.mat"),
    ):
        with pytest.raises(CameraError, match=re.escape(words)) as caught:
            read_smap_cameras(path)
        assert caught.value.hint


# ---------------------------------------------------------------- Picasso

# The forms of Picasso's own template and of its older files; the numbers are made up.
PICASSO = """
Cameras:
  Zyla left:
    Baseline: 101
    Pixelsize: 130
    Quantum Efficiency: 0.8
    Sensitivity Categories: [PixelReadoutRate, Sensitivity/DynamicRange]
    Sensitivity:
      540 MHz:
        12-bit (low noise): 0.31
        16-bit (low noise & high well capacity): 0.47
      200 MHz:
        12-bit (low noise): 0.27
  iXon:
    Baseline: 90
    Gain Property Name: Gain
    Sensitivity Categories: [Output_Amplifier, ReadoutMode]
    Sensitivity: {Electron Multiplying: {17.000 MHz: 15.9}, Conventional: {1.000 MHz: 4.1}}
    Quantum Efficiency: {489: 0.95, 640: 0.9}
  Simple: {Baseline: 100, Sensitivity: 0.5}
  Andor:
    iXon Ultra:
      DU897_BV:
        9603:
          Baseline: 100
          Sensitivity:
            true: {17.000 MHz: [15.7, 9.3, 5.26]}
            false: {1.000 MHz: [4.0, 3.1, 1.45]}
  Broken: {Sensitivity: {a: much}}
"""


def _picasso(folder: Path, text: str = PICASSO) -> Path:
    (folder / "config.yaml").write_text(text)
    return folder / "config.yaml"


def test_picassos_cameras_come_over(tmp_path: Path) -> None:
    found = read_picasso_cameras(_picasso(tmp_path))
    names = [p.model for p in found.presets]
    assert names == ["Zyla left", "iXon", "Simple", "Andor iXon Ultra DU897_BV 9603"]
    assert any("Broken" in note and "left out" in note for note in found.notes)
    assert any("0.95 at 489 nm" in note for note in found.notes)
    zyla = movie(
        "Zyla 4.2", "Zyla left",
        **{"PixelReadoutRate": "200 MHz", "Sensitivity/DynamicRange": "12-bit (low noise)"},
    )  # fmt: skip
    camera = camera_for_movie(found.presets, zyla, BASE)
    assert camera is not None
    assert (camera.e_per_adu, camera.offset_adu, camera.pixel_size_x_nm) == (0.27, 101.0, 130.0)
    assert (camera.quantum_efficiency, camera.kind) == (0.8, "scmos")


@pytest.mark.parametrize(
    ("settings", "kind", "e_per_adu", "em_gain"),
    [
        (
            {"Output_Amplifier": "Electron Multiplying", "ReadoutMode": "17.000 MHz"},
            "emccd",
            15.9,
            120.0,
        ),
        ({"Output_Amplifier": "Conventional", "ReadoutMode": "1.000 MHz"}, "scmos", 4.1, 1.0),
    ],
)
def test_picassos_em_camera(
    tmp_path: Path, settings: dict[str, str], kind: str, e_per_adu: float, em_gain: float
) -> None:
    presets = read_picasso_cameras(_picasso(tmp_path)).presets
    frame = {"Camera": "iXon", "iXon-Gain": "120"}
    facts = frame_facts({**frame, **{f"iXon-{name}": text for name, text in settings.items()}})
    camera = camera_for_movie(presets, MovieMetadata(kind="Micro-Manager TIFF", **facts), BASE)
    assert camera is not None
    assert (camera.kind, camera.e_per_adu, camera.em_gain) == (kind, e_per_adu, em_gain)


def test_the_old_nested_form_keeps_every_state(tmp_path: Path) -> None:
    old = read_picasso_cameras(_picasso(tmp_path)).presets[-1]
    assert old.match == ("iXon Ultra | DU897_BV | 9603",)
    assert {mode.name: (mode.values.e_per_adu, mode.kind) for mode in old.modes} == {
        "17.000 MHz, Gain 1": (15.7, None),
        "17.000 MHz, Gain 2": (9.3, None),
        "17.000 MHz, Gain 3": (5.26, None),
        "1.000 MHz, Gain 1, EM off": (4.0, "scmos"),
        "1.000 MHz, Gain 2, EM off": (3.1, "scmos"),
        "1.000 MHz, Gain 3, EM off": (1.45, "scmos"),
    }
    metadata = andor(Camera="| iXon Ultra | DU897_BV | 9603 |", Pre_Amp_Gain="Gain 2")
    (_, mode), *_ = matching_presets([old], metadata)
    assert mode.name == "17.000 MHz, Gain 2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Cameras: []", "has no cameras"),
        ("a: 1", "has no cameras"),
        ("", "has no cameras"),
        ("a: [", "cannot be read as YAML"),
        ("!!python/object/apply:os.system ['true']", "cannot be read as YAML"),
    ],
)
def test_yaml_that_holds_no_cameras(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CameraError, match=words) as caught:
        read_picasso_cameras(_picasso(tmp_path, text))
    assert "config.yaml" in caught.value.hint
