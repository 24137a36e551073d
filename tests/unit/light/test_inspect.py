from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from decode_engine.contract.jobs import ExportSpec, InspectSpec
from decode_engine.contract.messages import EventBody, FinishedEvent, LogEvent
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.errors import CalibrationError, EngineError, InputError, OutputError
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.localizations import (
    LocalizationMetadata,
    LocalizationWriter,
    read_localizations,
    write_localizations,
)
from decode_engine.io.movies import write_movie
from decode_engine.io.tables import read_localizations_csv, write_emitters_csv
from decode_engine.jobs import export, inspect
from decode_engine.jobs.context import JobContext

COLUMNS = ("x_nm", "y_nm", "z_nm", "photons", "background")
METADATA = LocalizationMetadata(
    movie_paths=("movie.tif",), width_px=64, height_px=48, pixel_size_x_nm=100.0,
    pixel_size_y_nm=110.0, frame_stop=20, method="localize", model_id="ab" * 32,
    notes=("the movie was cut off",),
)  # fmt: skip


def table(n: int = 5) -> Localizations:
    columns = {name: np.linspace(1, 2, n, dtype=np.float32) for name in COLUMNS}
    return Localizations(frame=np.arange(n), sigma_x_nm=np.ones(n, np.float32), **columns)


def look(path: Path) -> dict[str, Any]:
    facts = inspect.run(InspectSpec(file=str(path)), JobContext())
    FinishedEvent(reason="completed", summary=facts)  # what the protocol can carry
    assert facts["path"] == str(path)
    assert all(isinstance(line, str) for line in facts["lines"])
    return facts


def test_movie(tmp_path: Path) -> None:
    frames = np.full((3, 6, 8), 120, np.uint16)
    write_movie(tmp_path / "m.tif", iter(frames), frames.shape, pixel_size_x_nm=100)
    facts = look(tmp_path / "m.tif")
    assert facts["kind"] == "movie"
    assert (facts["n_frames"], facts["width_px"], facts["height_px"]) == (3, 8, 6)
    assert facts["pixel_size_x_nm"] == pytest.approx(100)
    assert "3 frames of 8 x 6 pixels, uint16" in facts["lines"][0]
    assert "median 120" in facts["lines"][1]


def test_cut_movie_says_so(tmp_path: Path) -> None:
    frames = np.full((9, 6, 8), 120, np.uint16)
    write_movie(tmp_path / "m.tif", iter(frames), frames.shape, pixel_size_x_nm=100)
    content = (tmp_path / "m.tif").read_bytes()
    (tmp_path / "m.tif").write_bytes(content[: content.find(frames[0].tobytes()) + 5 * 96 + 7])
    facts = look(tmp_path / "m.tif")
    assert facts["n_frames"] == 5
    assert "4 are missing" in facts["warnings"][0]
    assert any(line.startswith("note:") and "4 are missing" in line for line in facts["lines"])


def test_calibration(tmp_path: Path) -> None:
    psf = GaussianPsf(sigma0_x_nm=130, sigma0_y_nm=140, depth_nm=400, z_min_nm=-500, z_max_nm=600)
    calibration = Calibration(psf=psf, pixel_size_x_nm=100.0, pixel_size_y_nm=100.0)
    write_calibration(calibration, tmp_path / "c.h5", overwrite=False)
    facts = look(tmp_path / "c.h5")
    assert facts["kind"] == "calibration"
    assert facts["z_range_nm"] == [-500.0, 600.0]


def test_camera(tmp_path: Path) -> None:
    camera = {"kind": "emccd", "pixel_size_x_nm": 120.0, "em_gain": 100, "read_noise_e": 30.0}
    (tmp_path / "c.json").write_text(json.dumps(camera))
    facts = look(tmp_path / "c.json")
    assert (facts["kind"], facts["format"], facts["em_gain"]) == ("camera", "emccd", 100)
    assert any("EM gain 100" in line for line in facts["lines"])


def test_finished_and_unfinished_localizations(tmp_path: Path) -> None:
    write_localizations(tmp_path / "l.h5", table(), METADATA)
    facts = look(tmp_path / "l.h5")
    assert (facts["kind"], facts["n_rows"], facts["complete"]) == ("localizations", 5, True)
    assert (facts["first_frame"], facts["last_frame"]) == (0, 4)
    assert "note: the movie was cut off" in facts["lines"]
    with LocalizationWriter.create(tmp_path / "k.h5", METADATA) as writer:
        writer.append(table(), frames_done=8)
    facts = look(tmp_path / "k.partial")
    assert facts["complete"] is False
    assert "unfinished, 8 of 20 frames done" in facts["lines"][0]


def test_table_of_localizations_and_of_truth(tmp_path: Path) -> None:
    truth = Emitters(frame=np.arange(4), **{n: np.ones(4, np.float32) for n in COLUMNS})
    write_emitters_csv(tmp_path / "truth.csv", truth)
    facts = look(tmp_path / "truth.csv")
    assert (facts["kind"], facts["n_rows"], facts["last_frame"]) == ("emitters", 4, 3)
    write_localizations(tmp_path / "l.h5", table(), METADATA)
    spec = ExportSpec(localizations=str(tmp_path / "l.h5"), out=str(tmp_path / "l.csv"))
    export.run(spec, JobContext())
    facts = look(tmp_path / "l.csv")
    assert (facts["kind"], facts["n_rows"]) == ("localizations", 5)


def test_table_without_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("frame,x_nm,y_nm,z_nm,photons,extra\n")
    facts = look(tmp_path / "t.csv")
    assert (facts["n_rows"], facts["first_frame"]) == (0, None)
    assert facts["lines"][-1] == "note: columns that are not used: extra"


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "a picture"),
        ("a.txt", b"hello\n", "without the columns"),
        ("a.tif", b"", "is empty"),
        ("a.czi", b"ZISRAWFILE" + b"\0" * 40, "vendor's file"),
        ("a.nd2", b"\xda\xce\xbe\x0a" + b"\0" * 40, "cannot be read as ND2"),
        ("a.bin", bytes(range(128, 256)), "unknown type"),
        ("a.mat", b"MATLAB 5.0 MAT-file".ljust(200), "a.mat"),
        ("a.xlsx", b"PK\x03\x04" + b"\0" * 40, "a spreadsheet"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        inspect.run(InspectSpec(file=str(tmp_path / name)), JobContext())
    assert word in caught.value.message
    assert caught.value.hint


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        inspect.run(InspectSpec(file=str(tmp_path / "none")), JobContext())


def test_export(tmp_path: Path) -> None:
    write_localizations(tmp_path / "l.h5", table(), METADATA)
    spec = ExportSpec(localizations=str(tmp_path / "l.h5"), out=str(tmp_path / "l.csv"))
    events: list[EventBody] = []
    summary = export.run(spec, JobContext(emit=events.append))
    assert summary["n_localizations"] == 5
    assert summary["columns"] == list(table().columns())
    found = read_localizations_csv(tmp_path / "l.csv")
    np.testing.assert_allclose(found.x_nm, table().x_nm, atol=5e-4)
    with pytest.raises(OutputError, match="exists already"):
        export.run(spec, JobContext())


def test_export_of_an_unfinished_result_warns(tmp_path: Path) -> None:
    with LocalizationWriter.create(tmp_path / "l.h5", METADATA) as writer:
        writer.append(table(), frames_done=8)
    events: list[EventBody] = []
    spec = ExportSpec(localizations=str(tmp_path / "l.partial"), out=str(tmp_path / "l.csv"))
    export.run(spec, JobContext(emit=events.append))
    (warning,) = [e for e in events if isinstance(e, LogEvent)]
    assert "8 of 20 frames" in warning.text


def test_real_files_are_told_apart(shared_data: Path) -> None:
    expected = {
        "calibrations/smap_made_real_bead_small_3dcal.mat": "calibration",
        "calibrations/SMAP_cal_3DAcal.mat": "calibration",
        "raw_movies/Locan_images.tif": "movie",
        "raw_movies/storm-analysis_sCMOS_sample.dax": "movie",
        "camera_metadata/bstore_Cos7_A647_WF1_MMStack_Pos0.ome.tif": "movie",
        "loc_tables/picasso_egfr_mols.hdf5": "localizations",
        "loc_tables/Locan_decode_dstorm_data.h5": "localizations",
        "loc_tables/Locan_smap_dstorm_data_sml.mat": "localizations",
        "loc_tables/Locan_Thunderstorm_dstorm_data.csv": "localizations",
        "loc_tables/SMAP_cme_2um_site_uncorrected_sml.csv": "localizations",
        "loc_tables/challenge2013_BundledTubulin_GT.xlsx": "localizations",
    }
    for name, kind in expected.items():
        assert look(shared_data / name)["kind"] == kind
    for name in (
        "calibrations/SMAP_3Daberrationcorrection_v5.mat",
        "calibrations/SMAP_3Daberrationcorrection_v73.mat",
        "loc_tables/bstore_HeLaS_A647_1_locResults_Fids.dat",
        "loc_tables/picasso_egfr_mols.yaml",
    ):
        with pytest.raises(EngineError) as caught:
            look(shared_data / name)
        assert caught.value.exit_code == 2
        assert caught.value.hint


def _write_damaged(path: Path, attributes: dict[str, Any], provenance: Any, columns: Any) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        if columns is not None:
            for name in ("frame", "x_nm", "y_nm", "z_nm", "photons", "background"):
                file[f"localizations/{name}"] = columns
        if provenance is not None:
            file["provenance"] = provenance


_OURS = {"format": "decode-desktop localizations", "format_version": 1}


@pytest.mark.parametrize(
    ("attributes", "provenance", "columns", "word"),
    [
        ({"format": np.array([1, 2])}, None, None, "neither localizations nor"),
        ({"format": _OURS["format"]}, None, None, "no format version"),
        ({**_OURS, "format_version": "abc"}, None, None, "no format version"),
        ({**_OURS, "format_version": 9}, None, None, "format version 9"),
        (_OURS, "{}", None, "no table"),
        (_OURS, "{}", np.zeros(3), "provenance"),
        (_OURS, "not json", np.zeros(3), "provenance"),
        (_OURS, 5, np.zeros(3), "provenance"),
    ],
)
def test_damaged_localization_files(
    tmp_path: Path, attributes: dict[str, Any], provenance: Any, columns: Any, word: str
) -> None:
    """Regression: each of these ended as an internal error."""
    _write_damaged(tmp_path / "l.h5", attributes, provenance, columns)
    with pytest.raises(InputError, match=word) as caught:
        look(tmp_path / "l.h5")
    assert caught.value.hint


def test_columns_of_text_are_refused(tmp_path: Path) -> None:
    """Regression: text where numbers belong ended as an internal error."""
    _write_damaged(tmp_path / "l.h5", _OURS, None, ["a", "b"])
    with pytest.raises(InputError, match="cannot be read"):
        read_localizations(tmp_path / "l.h5")


def test_a_cut_hdf5_file_is_called_so(tmp_path: Path) -> None:
    """Regression: a truncated calibration was called the file of another program."""
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["x"] = np.arange(10_000)
    content = (tmp_path / "c.h5").read_bytes()
    (tmp_path / "c.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be opened") as caught:
        look(tmp_path / "c.h5")
    assert "cut off" in caught.value.hint


def test_a_folder_of_tiffs_with_some_metadata_json_is_a_movie(tmp_path: Path) -> None:
    """Regression: such a folder was taken for an unfinished result."""
    (tmp_path / "metadata.json").write_text("{}")
    tifffile.imwrite(tmp_path / "a.tif", np.ones((5, 8, 8), np.uint16))
    assert look(tmp_path)["kind"] == "movie"


def test_an_empty_file_is_not_called_a_movie(tmp_path: Path) -> None:
    """Regression: of an empty camera or table it said that the movie should be exported again."""
    (tmp_path / "camera.json").touch()
    with pytest.raises(InputError, match="0 bytes") as caught:
        look(tmp_path / "camera.json")
    assert "movie" not in caught.value.hint


def test_a_spline_with_nan_does_not_pass_for_a_calibration(tmp_path: Path) -> None:
    """Regression: only the header was looked at, and the file was called a calibration."""
    coefficients = np.zeros((6, 6, 5, 64), np.float32)
    coefficients[2, 3, 1, 7] = np.nan
    cspline = {"coeff": coefficients, "dz": 10.0, "z0": 3.0, "x0": 4.0}
    path = tmp_path / "bead_3dcal.mat"
    scipy.io.savemat(path, {"SXY": {"cspline": cspline, "EMon": 0}})
    with pytest.raises(CalibrationError, match="1 coefficients that are NaN"):
        look(path)
