"""What the tests of the session share."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytestqt.qtbot import QtBot

from app.controllers.session import ProjectSession
from app.models.project import CalibrationChoice, MovieEntry, RunRecord
from app.models.project_store import PROJECT_NAME
from app.models.steps import Step
from decode_engine.contract.configs import CameraConfig
from decode_engine.contract.jobs import TrainSpec


def settle(qtbot: QtBot, session: ProjectSession) -> None:
    """Wait until all files of a project were looked at."""
    qtbot.waitUntil(lambda: not session._watch.is_looking, timeout=20_000)


def on_disk(folder: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((folder / PROJECT_NAME).read_text(encoding="utf-8"))
    return tree


def record(run_id: str, folder: Path, **fields: Any) -> RunRecord:
    spec = TrainSpec(calibration="c", camera="k", out=str(folder / "model.decode"))
    values = {
        "run_id": run_id,
        "step": Step.TRAIN,
        "title": "Train",
        "created": "",
        "spec": spec.model_dump(mode="json"),
    }
    return RunRecord(**{**values, **fields})


def trained(session: ProjectSession) -> Path:
    run_id, folder = session.begin_run(Step.TRAIN, "Train")
    session.record_run(record(run_id, folder))
    model = folder / "model.decode"
    model.write_bytes(b"a model")
    session.record_run(record(run_id, folder, state="completed", outputs={"model": str(model)}))
    session.select_model(str(model))
    return model


def ready(session: ProjectSession, folder: Path) -> Path:
    calibration, movie = folder / "c.h5", folder / "movie.tif"
    calibration.write_bytes(b"calibration")
    movie.write_bytes(b"movie")
    session.update(
        "Set up",
        movies=(MovieEntry(path=str(movie)),),
        calibration=CalibrationChoice(mode="file", path=str(calibration)),
        camera=CameraConfig(pixel_size_x_nm=100.0),
    )
    return calibration


def full_disk(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


MakeSession = Callable[..., ProjectSession]
