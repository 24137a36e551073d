"""The words of the command line become specifications, and bad words become one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from decode_engine.cli.flags import join_negative
from decode_engine.cli.main import build_parser, main
from decode_engine.cli.verbs import VERBS, build_spec
from decode_engine.contract.jobs import CalibrateSpec, LocalizeSpec, SimulateSpec, TrainSpec
from decode_engine.errors import ConfigError
from decode_engine.jobs.registry import JOB_MODULES


def parse(words: str) -> Any:
    namespace = build_parser().parse_args(words.split())
    return build_spec(namespace.verb, namespace)


def test_the_contract_of_the_issue_parses() -> None:
    assert parse("inspect a.tif --json").file == "a.tif"
    calibrate = parse("calibrate a.tif b.tif --dz-nm 10 --pixel-size-nm 100 --out c.h5")
    assert isinstance(calibrate, CalibrateSpec)
    assert calibrate.beads == ("a.tif", "b.tif")
    assert calibrate.config.dz_nm == 10
    assert calibrate.config.pixel_size_x_nm == calibrate.config.pixel_size_y_nm == 100
    simulate = parse(
        "simulate --calibration c.h5 --camera k.json --frames 7 --size 64 --density 0.5 --out d"
    )
    assert isinstance(simulate, SimulateSpec)
    assert simulate.size_px == (64, 64)
    assert simulate.density_per_um2 == 0.5
    train = parse(
        "train --calibration c --camera k --minutes 2 --network decode --init m "
        "--set simulation.flux_mean=900 --set batch_size=4 --out o"
    )
    assert isinstance(train, TrainSpec)
    assert train.config.minutes == 2
    assert train.config.simulation.flux_mean == 900
    assert train.config.batch_size == 4
    localize = parse("localize a.tif b.tif --model m --frames 5:9 --roi 1,2,30,40 --out o")
    assert isinstance(localize, LocalizeSpec)
    assert localize.config.frames == (5, 9)
    assert localize.config.roi == (1, 2, 30, 40)
    assert parse("fit-mle a.tif --calibration c --camera k --out o").config.fit_px == 13
    render = parse("render l.h5 --out i.png --pixel-size-nm 5 --mode histogram --color z")
    assert (render.config.pixel_size_nm, render.config.mode, render.config.color) == (
        5,
        "histogram",
        "z",
    )
    assert parse("evaluate l.h5 t.csv --json").truth == "t.csv"
    assert parse("export l.h5 --format csv --out f.csv").format == "csv"


def test_sizes_may_differ_and_pixels_too() -> None:
    words = "simulate --calibration c --camera k --frames 7 --size 64,48 --out d"
    assert parse(words).size_px == (64, 48)
    config = parse("calibrate a.tif --dz-nm 10 --pixel-size-nm 100,120 --out c.h5").config
    assert (config.pixel_size_x_nm, config.pixel_size_y_nm) == (100, 120)


def test_a_job_file_gives_defaults_that_flags_override(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(
        json.dumps(
            {
                "calibration": "c",
                "camera": "k",
                "out": "o",
                "config": {"batch_size": 3, "minutes": 9.0},
            }
        )
    )
    spec = parse(f"train --config {file} --minutes 1")
    assert (spec.config.batch_size, spec.config.minutes) == (3, 1)


def test_words_may_come_from_the_job_file(tmp_path: Path) -> None:
    """Regression: no word on the command line erased the movies of the job file."""
    (tmp_path / "job.json").write_text('{"movies": ["a.tif", "b.tif"], "model": "m", "out": "o"}')
    assert parse(f"localize --config {tmp_path / 'job.json'}").movies == ("a.tif", "b.tif")
    assert parse(f"localize c.tif --config {tmp_path / 'job.json'}").movies == ("c.tif",)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("train --set simulation.flux_men=3", "simulation.flux_men", "simulation.flux_mean"),
        ("train --set flux_men=3", "flux_men", "simulation.flux_mean"),
        ("train --set batchsize=3", "batchsize", "batch_size"),
        ("train --set batch_size", "has no value", "key=value"),
        ("train --out o --camera k", "calibration is missing", "--calibration"),
        ("train --calibration c --camera k --out o --minutes 0", "given: 0", "schema"),
        ("train --calibration c --camera k --out o --network-options {", "JSON", "name"),
        ("localize --model m --out o", "'movies' is missing", "localize MOVIES"),
        ("evaluate l.h5", "'truth' is missing", "evaluate TRUTH"),
        ("inspect a --set nonsense=1", "nonsense", "schema"),
        ("export l.h5 --out o --set overwrit=1", "overwrit", "'overwrite'"),
        ("localize a --model m --out o --frames 10:", "frames needs 2 values", "schema"),
        ("localize a --model m --out o --roi 1,2,3", "roi needs 4 values, not 3", "schema"),
        ("localize a --model m --out o --frames 1:2:3", "2 values, not 3", "schema"),
        ("render l --out i.png --pixel-size-nm inf", "given: inf", "schema"),
        ("render l --out i.png --z-min-nm nan", "given: nan", "schema"),
        ("simulate --calibration c --camera k --frames 2 --size 8,8,8 --out d", "size_px", ""),
        ("simulate --calibration c --camera k --frames 2 --size 0 --out d", "size_px", ""),
        ("simulate --calibration c --camera k --frames 2 --size 64000 --out d", "8192", ""),
        ("calibrate a --dz-nm 9 --pixel-size-nm 1,2,3 --out c", "'1,2,3'", "100,120"),
        ("calibrate a --pixel-size-nm 100 --out c", "dz_nm is missing", "--dz-nm"),
        ("train --config nowhere.json", "nowhere.json", "path"),
        (
            "simulate --calibration c --camera k --frames 2 --size 8 --out d "
            "--background-min 9 --background-max 3",
            "background_min=9",
            "schema",
        ),
    ],
)
def test_bad_words_name_the_value_and_the_way_out(words: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(words)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_lists_may_begin_with_a_negative_number() -> None:
    """Regression: argparse took ``-100,…`` for a flag, so half of all fields could not be said."""
    words = join_negative(["render", "l", "--field-nm", "-100,-50.5,200,300", "--out", "i.png"])
    namespace = build_parser().parse_args(words)
    config = build_spec(namespace.verb, namespace).config  # type: ignore[union-attr]
    assert config.field_nm == (-100, -50.5, 200, 300)  # type: ignore[union-attr]
    assert join_negative(["--z-min-nm", "-5", "-x", "--out=a", "-1,2"]) == [
        "--z-min-nm", "-5", "-x", "--out=a", "-1,2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"config": 5}', "not a group"), ('{"config": {"simulation": 5}}', "not a group")],
)
def test_a_job_file_with_a_number_for_a_group_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    """Regression: this ended as an internal error."""
    (tmp_path / "job.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        parse(f"train --config {tmp_path / 'job.json'} --set simulation.flux_mean=9")


def test_a_job_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Regression: Windows editors write one."""
    (tmp_path / "job.json").write_text('{"out": "o.png"}', encoding="utf-8-sig")
    assert parse(f"render l.h5 --config {tmp_path / 'job.json'}").out == "o.png"


def test_unlimited_sigma_is_allowed() -> None:
    assert parse("render l --out i.png --sigma-max-nm inf").config.sigma_max_nm == float("inf")


def test_names_that_the_system_refuses_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    """Regression: an over-long name was reported as an internal error, with code 3."""
    assert main(["inspect", "n" * 300]) == 2
    error = capsys.readouterr().err
    assert "cannot be used" in error
    assert "should not" not in error


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file names that are not text")
def test_names_that_are_no_text_are_shown(tmp_path: Path) -> None:
    """Regression: a result whose path cannot be encoded was lost after the work was done."""
    file = tmp_path / os.fsdecode(b"bad\xff.csv")
    file.write_text("frame,x_nm,y_nm,z_nm,photons\n0,1,2,3,4\n")
    for flag, word in (("--json", b"emitters"), ("--json-events", b'"completed"')):
        done = subprocess.run(
            [sys.executable, "-m", "decode_engine", "inspect", str(file), flag],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert word in done.stdout


def test_a_reader_that_leaves_is_no_accident(tmp_path: Path) -> None:
    """Regression: ``decode-engine … | head`` ended in a traceback."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "decode_engine", "schema"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_bad_words_end_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dance"]) == 2
    assert main(["inspect", "--frobnicate"]) == 2
    assert main(["localize", "no-such.tif", "--model", "no-such.decode", "--out", "o.h5"]) == 2
    errors = capsys.readouterr().err
    assert "dance" in errors
    assert "Traceback" not in errors


def test_json_events_report_failures_as_events(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["inspect", "no-such-file.tif", "--json-events"]) == 2
    last = json.loads(capfdbinary.readouterr().out.splitlines()[-1])
    assert last["body"]["event"] == "failed"
    assert "no-such-file.tif" in last["body"]["message"]


def test_json_events_report_bad_words_as_events(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Regression: a driver that asked for events got plain text when a word was wrong."""
    assert main(["inspect", "a", "--frobnicate", "--json-events"]) == 2
    last = json.loads(capfdbinary.readouterr().out.splitlines()[-1])
    assert last["body"]["event"] == "failed"
    assert "--frobnicate" in last["body"]["message"]


@pytest.mark.parametrize("name", [v.name for v in VERBS] + ["SimulationConfig"])
def test_schema_of_every_verb_is_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


def test_schema_of_everything_knows_every_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["discriminator"]["mapping"]) == set(JOB_MODULES)


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        with pytest.raises(SystemExit) as caught:
            main([verb.name, "--help"])
        assert caught.value.code == 0
    assert "[nm]" in capsys.readouterr().out


@pytest.mark.parametrize("start", ["auto", "starter", "starter:2d", "./auto"])
def test_starts_by_name_arrive(start: str) -> None:
    """Regression: "auto" became None, as for all flags that may be left out."""
    train = parse(f"train --calibration c --camera k --out o --init {start}")
    assert train.init == start
    assert parse("train --calibration c --camera k --out o --init none").init is None
    assert parse("localize a.tif --model m --batch-frames auto --out o").config.batch_frames is None
