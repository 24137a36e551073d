"""Whatever stands in a movie's metadata or a camera file, the database answers sensibly."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import MappingProxyType

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from decode_engine.contract.camera_presets import (
    CameraMode,
    CameraPreset,
    MetadataRule,
    ModeValues,
)
from decode_engine.contract.configs import CameraConfig
from decode_engine.io.camera_database import camera_for_movie, load_presets, save_preset
from decode_engine.io.camera_import_smap import parse_expression
from decode_engine.io.camera_maps import read_camera_maps
from decode_engine.io.cameras import camera_from_config
from decode_engine.io.movies import MovieMetadata

FEW = settings(derandomize=True, max_examples=40, deadline=None)
BUNDLED, _ = load_presets()
BASE = CameraConfig(pixel_size_x_nm=100.0)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
names = st.sampled_from(
    ["Gain", "Port", "ReadoutMode", "Output_Amplifier", "Pre-Amp-Gain", "ScanMode"]
)
words = st.sampled_from(["iXon Ultra 897", "C15440-20UP", "Evolve", "Zyla 4.2", "pco.edge 4.2 bi"])
values = st.sampled_from(
    ["Conventional", "Electron Multiplying", "Gain 2", "0", "-3", "17.000 MHz"]
)


@FEW
@given(words | texts, st.dictionaries(names | texts, values | texts, max_size=6))
def test_any_metadata_give_a_possible_camera_or_none(name: str, found: dict[str, str]) -> None:
    metadata = MovieMetadata(kind="TIFF", camera=name, properties=MappingProxyType(found))
    camera = camera_for_movie(BUNDLED, metadata, BASE)
    if camera is not None:
        model = camera_from_config(camera, Path())  # complains about impossible values
        assert model.pixel_size_x_nm == 100.0


@FEW
@given(st.text(max_size=40))
def test_no_expression_is_run_or_crashes(text: str) -> None:
    parsed = parse_expression(text)
    if parsed is not None and parsed[0] == "number":
        assert np.isfinite(parsed[2])


@st.composite
def presets(draw: st.DrawFn) -> CameraPreset:
    number = st.none() | st.floats(0.01, 1e4)
    mode = st.builds(
        CameraMode,
        name=texts,
        match=st.lists(texts, max_size=2).map(tuple),
        when=st.dictionaries(texts, texts, max_size=2),
        kind=st.none() | st.just("scmos"),
        values=st.builds(ModeValues, offset_adu=number, e_per_adu=number, em_gain=number),
    )
    rule = st.builds(
        MetadataRule, field=st.just("em_gain"), property=texts, factor=st.floats(0.1, 10)
    )
    return CameraPreset(
        id="own",
        vendor=draw(texts),
        model=draw(texts),
        kind="emccd",
        identity=draw(st.dictionaries(texts, texts, max_size=2)),
        rules=draw(st.lists(rule, max_size=2).map(tuple)),
        modes=draw(st.lists(mode, min_size=1, max_size=3).map(tuple)),
        source=draw(texts),
        own=True,
    )


@FEW
@given(presets())
def test_a_camera_file_comes_back_as_it_was(preset: CameraPreset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save_preset(preset, Path(folder))
        found, complaints = load_presets(Path(folder))
    assert complaints == []
    assert found[0] == preset


@FEW
@given(
    hnp.arrays(np.float64, (3, 4, 5), elements=st.floats(0.05, 1e3)),
    st.booleans(),
    st.sampled_from(["adu_per_e", "e_per_adu"]),
)
def test_maps_mean_the_same_whichever_way_they_are_written(
    data: np.ndarray, transposed: bool, gain_means: str
) -> None:
    """Photons of the maps equal (ADU - offset) / gain or * gain, in the frame's orientation."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.npy"
        np.save(path, data)
        maps = read_camera_maps(path, gain_means=gain_means, transposed=transposed)  # type: ignore[arg-type]
    offset, variance, gain = (plane.T if transposed else plane for plane in data)
    conversion = 1 / gain if gain_means == "adu_per_e" else gain
    assert maps.e_per_adu is not None
    assert maps.read_noise_e is not None
    np.testing.assert_allclose(maps.offset_adu, offset, rtol=1e-6)
    np.testing.assert_allclose(maps.e_per_adu, conversion, rtol=1e-6)
    np.testing.assert_allclose(maps.read_noise_e, np.sqrt(variance) * conversion, rtol=1e-6)
