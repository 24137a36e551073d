"""The whole job by the command line, as a user types it: beads, simulation, training, picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLE = Path(__file__).resolve().parents[2] / "resources" / "example"


def engine(*words: str | Path, code: int = 0) -> str:
    """Run one command; return its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "decode_engine", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make calibration, movie, model and result in a folder whose name has a space."""
    out = tmp_path_factory.mktemp("a folder")
    beads, camera = EXAMPLE / "beads.tif", EXAMPLE / "camera.json"
    engine("calibrate", beads, "--dz-nm", "50", "--pixel-size-nm", "100", "--roi-px", "21",
           "--out", out / "cal.h5")  # fmt: skip
    engine("simulate", "--calibration", out / "cal.h5", "--camera", camera, "--frames", "12",
           "--size", "40,32", "--density", "0.5", "--out", out / "sim")  # fmt: skip
    # The paper's network: after three steps it finds something, if nothing that is there.
    engine("train", "--calibration", out / "cal.h5", "--camera", camera, "--steps", "3",
           "--network", "decode",
           "--set", "network_options.features=6", "--set", "batch_size=2",
           "--set", "validation_frames=8", "--set", "simulation.z_max_nm=600",
           "--out", out / "model.decode")  # fmt: skip
    engine("localize", out / "sim" / "movie.tif", "--model", out / "model.decode",
           "--probability-threshold", "0.01", "--out", out / "locs.h5")  # fmt: skip
    return out


def test_the_calibration_is_recognised_and_good(folder: Path) -> None:
    found = json.loads(engine("inspect", folder / "cal.h5", "--json"))
    assert found["kind"] == "calibration"
    assert found["pixel_size_x_nm"] == 100
    assert found["z_range_nm"] == [-750.0, 750.0]


def test_the_table_can_be_exported_and_scored(folder: Path) -> None:
    engine("export", folder / "locs.h5", "--format", "csv", "--out", folder / "locs.csv")
    header = (folder / "locs.csv").read_text().splitlines()[0]
    assert header.startswith("frame,x_nm,y_nm,z_nm,photons,background,probability,sigma_x_nm")
    scores = {}
    for name in ("locs.h5", "locs.csv"):
        text = engine("evaluate", folder / name, folder / "sim" / "truth.csv", "--json")
        scores[name] = json.loads(text)
    keys = {
        "jaccard",
        "precision",
        "recall",
        "rmse_lateral_nm",
        "rmse_axial_nm",
        "efficiency_lateral",
        "efficiency_axial",
        "efficiency_3d",
        "n_truth",
        "n_localizations",
        "n_matched",
    }
    assert keys <= set(scores["locs.h5"])
    assert scores["locs.h5"]["n_matched"] == scores["locs.csv"]["n_matched"]


def test_maximum_likelihood_finds_what_was_simulated(folder: Path) -> None:
    camera = EXAMPLE / "camera.json"
    engine("fit-mle", folder / "sim" / "movie.tif", "--calibration", folder / "cal.h5",
           "--camera", camera, "--out", folder / "mle.h5")  # fmt: skip
    truth = folder / "sim" / "truth.csv"
    scores = json.loads(
        engine("evaluate", folder / "mle.h5", truth, "--json", "--min-photons", "1000")
    )
    # 0.5 emitters per square micrometre overlap at times: not all are isolated.
    assert scores["recall"] > 0.5
    assert scores["z_score_robust_x"] < 2.0
    picture = folder / "picture.png"
    engine("render", folder / "mle.h5", "--out", picture, "--color", "z")
    with Image.open(picture) as image:
        assert image.mode == "RGB"
        assert max(band[1] for band in image.getextrema()) > 100


def test_an_existing_output_is_never_replaced_unasked(folder: Path) -> None:
    before = (folder / "locs.h5").read_bytes()
    words = ("localize", folder / "sim" / "movie.tif", "--model", folder / "model.decode")
    errors = engine(*words, "--out", folder / "locs.h5", code=2)
    assert "exists already" in errors
    assert (folder / "locs.h5").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("inspect nowhere.tif", "nowhere.tif"),
        ("localize {sim}/truth.csv --model {out}/model.decode --out {out}/x.h5", "truth.csv"),
        ("localize {sim}/movie.tif --model {out}/cal.h5 --out {out}/x.h5", "cal.h5"),
        ("localize {sim}/movie.tif --model {out}/model.decode --out {out}/x.h5 --frames 5:99",
         "5:99"),
        ("localize {sim}/movie.tif --model {out}/model.decode --out {out}/x.h5 --roi 0,0,99,9",
         "beyond the frame"),
        ("localize {sim}/movie.tif --model {out}/model.decode --out {out}/x.h5 "
         "--pixel-size-nm 160", "160"),
        ("localize {sim}/movie.tif --model {out}/model.decode --out {out}/x.h5 --device cuda:7",
         "cuda:7"),
        ("train --calibration {sim}/movie.tif --camera {camera} --steps 1 --out {out}/x.decode",
         "movie.tif"),
        ("train --calibration {out}/cal.h5 --camera {camera} --steps 1 --out {out}/x.decode "
         "--set simulation.z_max_nm=5000", "5000"),
        ("train --calibration {out}/cal.h5 --camera {sim}/truth.csv --steps 1 "
         "--out {out}/x.decode", "truth.csv"),
        ("simulate --calibration {out}/cal.h5 --camera {camera} --frames 2 --size 32 "
         "--density 0.1 --out {sim}", "exists"),
        ("calibrate {sim}/movie.tif --dz-nm 0 --pixel-size-nm 100 --out {out}/y.h5", "0"),
        ("render {sim}/movie.tif --out {out}/y.png", "movie.tif"),
        ("render {out}/locs.h5 --out {out}/y.bmp", ".bmp"),
        ("export {out}/nothing.h5 --out {out}/y.csv", "nothing.h5"),
        ("evaluate {out}/locs.h5 {camera}", "camera.json"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_with_the_value(folder: Path, words: str, said: str) -> None:
    filled = [
        word.format(out=folder, sim=folder / "sim", camera=EXAMPLE / "camera.json")
        for word in words.split()
    ]
    before = sorted(folder.rglob("*"))
    errors = engine(*filled, code=2)
    assert said in errors
    assert "Error: " in errors
    left = [p for p in sorted(folder.rglob("*")) if p not in before and p.name[0] != "."]
    assert left == [], "something was left half-written"
