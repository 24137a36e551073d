"""Record what the real engine says, for the scripted one to replay.

``python -m tests.gui.record [JOB ...]`` writes ``recordings/<job>.jsonl``: a line with the files
that were kept, then one event a line. Paths of the job stand as ``{out}``, ``{movie}`` and so on;
files that were announced and are small are kept in ``recordings/<job>/``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from decode_engine.contract.configs import LocalizeConfig
from decode_engine.contract.jobs import (
    CalibrateSpec,
    JobSpec,
    LocalizeSpec,
    PreviewSpec,
    PsfPreviewSpec,
    SimulateSpec,
)
from decode_engine.contract.messages import (
    ArtifactEvent,
    Event,
    FailedEvent,
    FinishedEvent,
    PreviewEvent,
    ShutdownCommand,
    SubmitCommand,
    decode_event,
    encode_line,
)
from tests.gui.scripted_engine import RECORDINGS, path_values
from tests.training_samples import train_spec, write_inputs
from tests.unit.engine import bead_fields

_MAX_FILE = 1_000_000
_EXAMPLE = Path(__file__).parents[2] / "resources" / "example"


def _train(folder: Path) -> JobSpec:
    write_inputs(folder)
    return train_spec(
        folder,
        steps=240,
        batch_size=4,
        network_options={"features": 4},
        validate_every_steps=24,
        validation_frames=32,
        patch_px=24,
    )


def _localize(folder: Path) -> JobSpec:
    return LocalizeSpec(
        movies=(str(_EXAMPLE / "movie.tif"),),
        model=str(_EXAMPLE / "model.decode"),
        out=str(folder / "out.h5"),
        config=LocalizeConfig(frames=(0, 60), batch_frames=4, chunk_frames=10),
    )


def _preview(folder: Path) -> JobSpec:
    return PreviewSpec(
        movie=str(_EXAMPLE / "movie.tif"),
        model=str(_EXAMPLE / "model.decode"),
        frame=3,
        out=str(folder / "out"),
    )


def _psf_preview(folder: Path) -> JobSpec:
    write_inputs(folder)
    return PsfPreviewSpec(calibration=str(folder / "cal.h5"), out=str(folder / "out"), slices=21)


def _simulate(folder: Path) -> JobSpec:
    write_inputs(folder)
    return SimulateSpec(
        calibration=str(folder / "cal.h5"),
        camera=str(folder / "cam.json"),
        out=str(folder / "out"),
        frames=8,
        size_px=(40, 32),
    )


def _calibrate(folder: Path) -> JobSpec:
    rng = np.random.default_rng(0)
    photons = bead_fields.expected_photons(bead_fields.scattered(3, rng), (90, 90))
    # Every second slice and a small PSF: the file has to be small.
    tifffile.imwrite(folder / "beads.tif", bead_fields.record(photons[::2], rng))
    config = bead_fields.CONFIG.model_copy(update={"dz_nm": 2 * bead_fields.DZ_NM, "roi_px": 13})
    return CalibrateSpec(
        beads=(str(folder / "beads.tif"),), out=str(folder / "out.h5"), config=config
    )


JOBS: dict[str, Callable[[Path], JobSpec]] = {
    "calibrate": _calibrate,
    "train": _train,
    "localize": _localize,
    "preview": _preview,
    "psf-preview": _psf_preview,
    "simulate": _simulate,
}


def record(job: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = JOBS[job](folder)
        events = _run(spec)
        target = RECORDINGS / job
        shutil.rmtree(target, ignore_errors=True)
        files = _keep_files(events, spec, target)
        texts = [_with_placeholders(e.model_dump_json(), spec) for e in events]
        header = json.dumps({"files": {_with_placeholders(p, spec): n for p, n in files.items()}})
        lines = "\n".join([header, *texts]) + "\n"
        assert str(folder) not in lines, "a machine's path would be recorded"
        (RECORDINGS / f"{job}.jsonl").write_text(lines, encoding="utf-8")
    print(job, len(events), "events", list(files.values()))


def _run(spec: JobSpec) -> list[Event]:
    command = [sys.executable, "-m", "decode_engine", "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(encode_line(SubmitCommand(job_id="recorded", spec=spec)))
        process.stdin.flush()
        events: list[Event] = []
        for line in process.stdout:
            event = decode_event(line)
            if event.job_id is None:
                continue
            if isinstance(event.body, FailedEvent):
                raise RuntimeError(event.body)
            events.append(event)
            if isinstance(event.body, FinishedEvent):
                break
        process.stdin.write(encode_line(ShutdownCommand()))
    return events[1:]  # the scripted engine accepts by itself


def _keep_files(events: list[Event], spec: JobSpec, target: Path) -> dict[str, str]:
    kept: dict[str, str] = {}
    for event in events:
        if isinstance(event.body, ArtifactEvent | PreviewEvent):
            path = Path(event.body.path)
            if str(path) in kept or not path.is_file() or path.stat().st_size > _MAX_FILE:
                continue
            target.mkdir(parents=True, exist_ok=True)
            kept[str(path)] = f"{len(kept)}{path.suffix}"
            shutil.copyfile(path, target / kept[str(path)])
    return kept


def _with_placeholders(text: str, spec: JobSpec) -> str:
    # The longest first: one path may begin another.
    for name, value in sorted(path_values(spec).items(), key=lambda item: -len(item[1])):
        text = text.replace(json.dumps(value)[1:-1], f"{{{name}}}")
    return text


if __name__ == "__main__":
    RECORDINGS.mkdir(exist_ok=True)
    for wanted in sys.argv[1:] or JOBS:
        record(wanted)
