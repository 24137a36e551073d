"""The jobs, verbs and functions that export and import; any format to any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from decode_engine import api
from decode_engine.cli.main import main
from decode_engine.contract.jobs import ExportFormat, ExportSpec, ImportSpec, RenderSpec
from decode_engine.contract.messages import ArtifactEvent, LogEvent
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError, EngineError, LocalizationsError, OutputError
from decode_engine.io.dialects.base import ImportedTable
from decode_engine.io.dialects.convention import Geometry
from decode_engine.io.dialects.registry import dialects
from decode_engine.io.localizations import (
    LocalizationMetadata,
    read_localization_metadata,
    read_localizations,
    write_localizations,
)
from decode_engine.io.tables import write_localizations_csv
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.registry import run_job

CAMERA = {"kind": "scmos", "pixel_size_x_nm": 127.0, "pixel_size_y_nm": 117.0, "offset_adu": 100.0,
          "e_per_adu": 0.5, "em_gain": 1.0, "read_noise_e": 1.6}  # fmt: skip
METADATA = LocalizationMetadata(
    movie_paths=("cell.tif",), movie_frames=50, frame_stop=50, width_px=300, height_px=200,
    pixel_size_x_nm=127.0, pixel_size_y_nm=117.0, method="localize", camera=CAMERA,
)  # fmt: skip
FORMATS = ExportFormat.__args__  # type: ignore[attr-defined]


def events(context: JobContext) -> list[object]:
    found: list[object] = []
    context.emit = found.append
    return found


@pytest.fixture
def result(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    n = 40
    table = Localizations(
        frame=np.sort(rng.integers(0, 50, n)),
        x_nm=rng.uniform(300, 30_000, n),
        y_nm=rng.uniform(300, 20_000, n),
        z_nm=rng.uniform(-500, 500, n),
        photons=rng.uniform(500, 5000, n),
        background=rng.uniform(5, 50, n),
        probability=rng.uniform(0.5, 1, n),
        sigma_x_nm=rng.uniform(4, 20, n),
        sigma_y_nm=rng.uniform(4, 20, n),
        sigma_z_nm=rng.uniform(10, 60, n),
    )
    path = tmp_path / "cell.h5"
    write_localizations(path, table, METADATA)
    return path


def test_every_format_can_be_named() -> None:
    assert set(FORMATS) == {one.name for one in dialects() if one.can_write}


@pytest.mark.parametrize("name", FORMATS)
def test_there_and_back(tmp_path: Path, result: Path, name: str) -> None:
    """Every format returns each molecule to its place, frame, height and brightness."""
    suffix = next(one.suffix for one in dialects() if one.name == name)
    context = JobContext()
    said = events(context)
    out = tmp_path / "out" / f"cell{suffix}"
    spec = ExportSpec(localizations=str(result), out=str(out), format=name, roi_origin_px=(12, 34))  # type: ignore[arg-type]
    summary = run_job(spec, context)
    assert summary["n_localizations"] == 40
    assert summary["out"] == str(out)
    written = [e.path for e in said if isinstance(e, ArtifactEvent)]
    assert written == summary["outputs"]
    assert all(Path(path).is_file() for path in written)

    back = tmp_path / "back.h5"
    options = {"pixel_size_x_nm": 127.0, "pixel_size_y_nm": 117.0}
    imported = api.import_table(out, out=back, **options)
    assert imported.dialect == name.removesuffix("-smap")
    ours, theirs = read_localizations(result), read_localizations(back)
    assert len(theirs) == 40
    order = np.lexsort((theirs.x_nm, theirs.frame))
    expected = np.lexsort((ours.x_nm, ours.frame))
    np.testing.assert_array_equal(theirs.frame[order], ours.frame[expected])
    np.testing.assert_allclose(theirs.x_nm[order], ours.x_nm[expected], atol=0.01)
    np.testing.assert_allclose(theirs.y_nm[order], ours.y_nm[expected], atol=0.01)
    np.testing.assert_allclose(theirs.z_nm[order], ours.z_nm[expected], atol=0.01)
    np.testing.assert_allclose(theirs.photons[order], ours.photons[expected], rtol=1e-5, atol=0.01)


def test_an_import_keeps_what_the_file_says(tmp_path: Path, result: Path) -> None:
    api.export(result, out=tmp_path / "cell.csv", format="thunderstorm")
    api.import_table(tmp_path / "cell.csv", out=tmp_path / "back.h5")
    metadata = read_localization_metadata(tmp_path / "back.h5")
    assert (metadata.pixel_size_x_nm, metadata.pixel_size_y_nm) == (127.0, 117.0)
    assert (metadata.width_px, metadata.height_px) == (300, 200)
    assert (metadata.method, metadata.is_3d, metadata.frame_stop) == ("import", True, 50)
    assert metadata.config["format"] == "thunderstorm"
    assert metadata.camera["e_per_adu"] == 0.5
    assert any(note.startswith("guessed: pixel size") for note in metadata.notes)


def test_our_own_provenance_survives_parquet(tmp_path: Path, result: Path) -> None:
    api.export(result, out=tmp_path / "cell.parquet", format="parquet")
    api.import_table(tmp_path / "cell.parquet", out=tmp_path / "back.h5")
    metadata = read_localization_metadata(tmp_path / "back.h5")
    assert metadata.movie_paths == ("cell.tif",)
    assert dict(metadata.camera) == CAMERA
    ours, theirs = read_localizations(result), read_localizations(tmp_path / "back.h5")
    for name, values in ours.columns().items():
        np.testing.assert_array_equal(theirs.columns()[name], values)


def test_the_place_on_the_chip_comes_back(tmp_path: Path, result: Path) -> None:
    """SMAP counts from the chip's corner; the import takes it off, the next export adds it."""
    settings = {"format": "smap-sml", "roi_origin_px": (12, 34)}
    api.export(result, out=tmp_path / "a_sml.mat", **settings)
    api.import_table(tmp_path / "a_sml.mat", out=tmp_path / "back.h5")
    api.export(tmp_path / "back.h5", out=tmp_path / "b_sml.mat", format="smap-sml")
    again = api.import_table(tmp_path / "b_sml.mat")
    assert again.geometry.roi_origin_px == (12, 34)
    np.testing.assert_allclose(again.table.x_nm, read_localizations(result).x_nm, atol=0.01)


def test_filters_and_tables_of_other_programs(tmp_path: Path, result: Path) -> None:
    """An export may start from any table that is known, not only from our results."""
    table = tmp_path / "a.csv"
    api.export(result, out=table, format="thunderstorm")
    words = ["export", str(table), "--out", str(tmp_path / "b.csv"), "--format", "challenge",
             "--filter", "photons=2000:"]  # fmt: skip
    assert main(words) == 0
    kept = read_localizations(result)
    n = len((tmp_path / "b.csv").read_text().splitlines()) - 1
    assert n == int(np.count_nonzero(kept.photons >= 2000))


def test_pixel_size_asked_for_and_given(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("frame,x_nm,y_nm\n0,100,200\n")
    words = ["export", str(tmp_path / "t.csv"), "--format", "thunderstorm", "--out"]
    assert main([*words, str(tmp_path / "o.csv")]) == 2
    assert not (tmp_path / "o.csv").exists()
    assert main([*words, str(tmp_path / "o.csv"), "--pixel-size-nm", "100,120"]) == 0
    assert (tmp_path / "o.csv").read_text().splitlines()[1].startswith("1,150.00000,260.00000,")


def test_explain_says_why_what_and_which_guesses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        '"id","frame","x [nm]","y [nm]","intensity [photon]","chi2","uncertainty [nm]"\n'
        "1,1,50,60,1000,2,9\n2,2,NaN,60,1000,2,9\n"
    )
    assert main(["import", str(path), "--explain"]) == 0
    shown = capsys.readouterr().out
    assert "format: thunderstorm (1.3 or earlier, 2D)" in shown
    assert "rows: 2, localizations: 1" in shown
    assert "recognised: its columns are named as ThunderSTORM names them" in shown
    assert "guessed origin: left as in the file" in shown
    assert "left out: 1 rows, x is not a number" in shown
    assert "x_nm: 50 to 50 nm" in shown
    assert "not taken over: chi2" in shown
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_a_mapping_suggested_corrected_and_used(tmp_path: Path) -> None:
    path, preset = tmp_path / "t.csv", tmp_path / "m.json"
    path.write_text("Frame No,Pos X,Pos Y,Intensity\n1,10,20,1000\n")
    assert main(["import", str(path), "--out", str(tmp_path / "o.h5")]) == 2
    assert main(["import", str(path), "--suggest-mapping", str(preset)]) == 0
    values = json.loads(preset.read_text())
    values["columns"] |= {"frame": "Frame No", "x_nm": "Pos X", "y_nm": "Pos Y"}
    values |= {"first_frame": 1, "xy_unit": "um"}
    preset.write_text(json.dumps(values))
    words = ["import", str(path), "--out", str(tmp_path / "o.h5"), "--mapping", str(preset)]
    assert main(words) == 0
    table = read_localizations(tmp_path / "o.h5")
    assert (table.frame[0], table.x_nm[0], table.y_nm[0]) == (0, 10_000.0, 20_000.0)
    assert table.photons[0] == 1000.0


def test_where_to_write_must_be_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("frame,x_nm,y_nm\n0,100,200\n")
    with pytest.raises(ConfigError, match="file to write is missing"):
        run_job(ImportSpec(file=str(tmp_path / "t.csv")), JobContext())
    (tmp_path / "o.h5").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        api.import_table(tmp_path / "t.csv", out=tmp_path / "o.h5")
    with pytest.raises(OutputError, match="input of this job"):
        api.import_table(tmp_path / "t.csv", out=tmp_path / "t.csv", overwrite=True)


def test_warnings_of_rows_that_were_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("frame,x_nm,y_nm\n0,nan,200\n1,2,3\n")
    context = JobContext()
    said = events(context)
    run_job(ImportSpec(file=str(tmp_path / "t.csv"), out=str(tmp_path / "o.h5")), context)
    warnings = [e.text for e in said if isinstance(e, LogEvent) and e.level == "warning"]
    assert warnings == ["1 rows were left out: x is not a number."]
    assert (
        "1 rows were left out: x is not a number"
        in read_localization_metadata(tmp_path / "o.h5").notes
    )


def test_a_format_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("frame,x_nm,y_nm\n0,100,200\n")
    with pytest.raises(ConfigError, match="no format 'excel'") as caught:
        api.import_table(tmp_path / "t.csv", format="excel")
    assert "thunderstorm" in caught.value.hint
    with pytest.raises(LocalizationsError, match="no column"):
        api.import_table(tmp_path / "t.csv", format="thunderstorm", pixel_size_x_nm=100)


def test_inspecting_another_programs_table(
    tmp_path: Path, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.export(result, out=tmp_path / "cell_locs.hdf5", format="picasso")
    assert main(["inspect", str(tmp_path / "cell_locs.hdf5")]) == 0
    shown = capsys.readouterr().out
    assert "picasso" in shown
    assert "40 rows" in shown
    (tmp_path / "list.bin").write_bytes(b"M425" + bytes(12))
    assert main(["inspect", str(tmp_path / "list.bin")]) == 0
    assert "The pixel size is needed" in capsys.readouterr().out


def test_scores_against_the_truth_of_a_challenge(tmp_path: Path, result: Path) -> None:
    """Corner, first frame and sign of z are converted with the pixel size of the localizations."""
    api.export(result, out=tmp_path / "truth.csv", format="challenge")
    scores = api.evaluate(result, tmp_path / "truth.csv")
    assert scores["n_matched"] == 40
    assert scores["rmse_lateral_nm"] < 0.01
    assert scores["rmse_axial_nm"] < 0.01


def test_smap_gets_the_whole_path_of_the_calibration(
    tmp_path: Path, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a relative path went into the file, and SMAP looks from a folder of its own."""
    (tmp_path / "beads_3dcal.mat").touch()
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "cell_sml.mat"
    context = JobContext()
    said = events(context)
    for given, wanted, warned in (
        ("beads_3dcal.mat", str(tmp_path / "beads_3dcal.mat"), ""),
        ("gone_3dcal.mat", "gone_3dcal.mat", "is not there"),
        ("cal.h5", "cal.h5", "SMAP reads calibrations as .mat"),
    ):
        said.clear()
        spec = ExportSpec(
            localizations=str(result),
            out=str(out),
            format="smap-sml",
            calibration_file=given,
            overwrite=True,
        )
        run_job(spec, context)
        content = scipy.io.loadmat(out, squeeze_me=True, struct_as_record=False)
        fitted = content["saveloc"].file.savefit.fitparameters.MLE_GPU_Yiming
        assert fitted.cal_3Dfile == wanted
        warnings = [e.text for e in said if isinstance(e, LogEvent) and e.level == "warning"]
        assert bool(warnings) == bool(warned)
        assert warned in " ".join(warnings)


def test_a_table_in_pixels_is_drawn_with_the_size_that_is_given(tmp_path: Path) -> None:
    """Regression: a picture of Picasso's table without its .yaml could not be made at all."""
    result = tmp_path / "cell.csv"
    table = Localizations(
        frame=np.array([0, 1], np.int32),
        x_nm=np.array([1000, 2000], np.float32),
        y_nm=np.array([500, 1500], np.float32),
        z_nm=np.array([np.nan, np.nan], np.float32),
        photons=np.array([1000, 1000], np.float32),
        background=np.array([10, 10], np.float32),
        sigma_x_nm=np.array([10, 10], np.float32),
        sigma_y_nm=np.array([10, 10], np.float32),
    )
    write_localizations_csv(result, table)
    out = tmp_path / "cell_locs.hdf5"
    run_job(
        ExportSpec(
            localizations=str(result), out=str(out), format="picasso", pixel_size_x_nm=100.0
        ),
        JobContext(),
    )
    out.with_suffix(".yaml").unlink()
    picture = str(tmp_path / "picture.tif")
    with pytest.raises(EngineError, match="pixel"):
        run_job(RenderSpec(localizations=str(out), out=picture), JobContext())
    spec = RenderSpec(localizations=str(out), out=picture, camera_pixel_size_nm=(100.0, 100.0))
    summary = run_job(spec, JobContext())
    assert summary["n_drawn"] == 2
    assert summary["left_nm"] == pytest.approx(1000.0, abs=60.0)


def _imported(camera: dict[str, object]) -> ImportedTable:
    return ImportedTable(
        table=Localizations.empty(),
        geometry=Geometry(pixel_size_x_nm=127.0, pixel_size_y_nm=117.0),
        camera=camera,
        n_rows_file=0,
        dialect="decode-h5",
    )


def test_a_camera_of_which_only_the_pixel_size_is_known_is_none() -> None:
    """Regression: offset 100 and one electron a count were exported as if the file said so."""
    assert _imported({"pixel_size_x_nm": 100.0, "name": "Zyla"}).camera_config() is None
    known = _imported({"pixel_size_x_nm": 100.0, "offset_adu": 93.0}).camera_config()
    assert known is not None
    assert (known.offset_adu, known.pixel_size_x_nm, known.pixel_size_y_nm) == (93.0, 127.0, 117.0)
    assert _imported({"offset_adu": "no number", "kind": "?"}).camera_config() is None
