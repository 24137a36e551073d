"""The calibrate job: files in, calibration and picture out, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from decode_engine.contract.jobs import CalibrateSpec
from decode_engine.contract.messages import EventBody, FinishedEvent, LogEvent, StageEvent
from decode_engine.errors import CancelledError, InputError, OutputError
from decode_engine.io.calibrations import read_calibration
from decode_engine.jobs.calibrate import run
from decode_engine.jobs.context import CancelToken, JobContext
from tests.unit.engine import bead_fields as sim
from tests.unit.engine.bead_fields import CONFIG, Bead


@pytest.fixture(scope="module")
def field_tif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good beads and one at the border."""
    path = tmp_path_factory.mktemp("beads") / "field.tif"
    beads = [Bead(20.2, 19.7), Bead(55.4, 20.1, 1.5), Bead(20.3, 55.2, -2), Bead(73, 55)]
    stack = sim.record(sim.expected_photons(beads, (75, 75)), np.random.default_rng(0))
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"})
    return path


def spec(out: Path, *beads: Path, **changes: object) -> CalibrateSpec:
    config = CONFIG.model_validate({**CONFIG.model_dump(), **changes})
    return CalibrateSpec(beads=tuple(map(str, beads)), out=str(out), config=config)


@pytest.mark.parametrize("name", ["beads.h5", "beads_3dcal.mat"])
def test_writes_calibration_and_picture(field_tif: Path, tmp_path: Path, name: str) -> None:
    events: list[EventBody] = []
    summary = run(spec(tmp_path / name, field_tif), JobContext(emit=events.append))
    assert summary["beads_used"] == 3
    assert len(summary["beads_rejected"]) == 1
    assert ": the border leaves room for" in summary["beads_rejected"][0]
    assert FinishedEvent(reason="completed", summary=summary).summary == summary
    assert summary["z_slope"] == pytest.approx(1, abs=0.02)
    calibration = read_calibration(tmp_path / name)
    assert calibration.z_range_nm == pytest.approx((summary["z_min_nm"], summary["z_max_nm"]))
    with Image.open(summary["report"]) as picture:
        assert picture.size == (1200, 800)
        assert len(np.unique(np.asarray(picture.convert("L")))) > 100
    stages = [e.name for e in events if isinstance(e, StageEvent)]
    assert stages == [
        "Finding beads",
        "Registering beads",
        "Laying the spline",
        "Fitting the beads",
        "Writing",
    ]
    logs = [e.text for e in events if isinstance(e, LogEvent)]
    assert any("Not used: bead at x 73" in text for text in logs)


def test_our_file_keeps_quality_and_provenance(field_tif: Path, tmp_path: Path) -> None:
    run(spec(tmp_path / "a.h5", field_tif), JobContext())
    calibration = read_calibration(tmp_path / "a.h5")
    assert calibration.quality is not None
    assert calibration.quality.beads_used == 3
    assert len(calibration.provenance["sha256 of field.tif"]) == 64
    assert '"dz_nm":25.0' in calibration.provenance["config"]


def test_several_files_are_read_one_after_the_other(field_tif: Path, tmp_path: Path) -> None:
    other = tmp_path / "crop.tif"
    crop = sim.expected_photons([Bead(14.6, 15.1, 1)], (30, 30))
    tifffile.imwrite(other, sim.record(crop, np.random.default_rng(1)))
    summary = run(spec(tmp_path / "a.h5", field_tif, other), JobContext())
    assert summary["beads_used"] == 4


def test_does_not_replace_a_file_unasked(field_tif: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.h5"
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        run(spec(out, field_tif), JobContext())
    assert out.read_bytes() == b"mine"
    run(spec(out, field_tif, overwrite=True), JobContext())
    assert out.read_bytes() != b"mine"


def test_refuses_an_unknown_suffix_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"neither a \.h5 nor a \.mat"):
        run(spec(tmp_path / "a.json", tmp_path / "missing.tif"), JobContext())


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64, 3), np.uint8),
        np.arange(64 * 64, dtype=np.uint16).reshape(64, 64),
        np.random.default_rng(0).poisson(100, (20, 64, 64)).astype(np.uint16),
    ],
    ids=["rgb", "single image", "no bead"],
)
def test_bad_input_leaves_nothing_behind(image: NDArray[np.generic], tmp_path: Path) -> None:
    tif, out = tmp_path / "in.tif", tmp_path / "out.h5"
    photometric = "rgb" if image.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(tif, image, photometric=photometric)
    with pytest.raises(InputError) as caught:
        run(spec(out, tif), JobContext())
    assert caught.value.hint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif"]


def test_cancelling_leaves_nothing_behind(field_tif: Path, tmp_path: Path) -> None:
    token = CancelToken()

    def cancel_while_registering(event: EventBody) -> None:
        if isinstance(event, StageEvent) and event.name == "Registering beads":
            token.cancel()

    context = JobContext(emit=cancel_while_registering, cancel=token)
    with pytest.raises(CancelledError):
        run(spec(tmp_path / "a.h5", field_tif), context)
    assert list(tmp_path.iterdir()) == []


def test_says_when_the_file_states_another_pixel_size(field_tif: Path, tmp_path: Path) -> None:
    """Regression: only the size along x was compared."""
    tif = tmp_path / "stated.tif"
    per_um_x, per_um_y = 1000 / CONFIG.pixel_size_x_nm, 1000 / 160
    tifffile.imwrite(
        tif,
        tifffile.imread(field_tif),
        imagej=True,
        resolution=(per_um_x, per_um_y),
        metadata={"axes": "ZYX", "unit": "um"},
    )
    events: list[EventBody] = []
    run(spec(tmp_path / "a.h5", tif), JobContext(emit=events.append))
    warnings = [e.text for e in events if isinstance(e, LogEvent) and e.level == "warning"]
    assert any("160 nm along y" in text for text in warnings)
    assert not any("along x" in text for text in warnings)
