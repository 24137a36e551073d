"""The Export page: files of every kind, made by the engine's own jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from app.controllers.export import ExportController
from app.controllers.page_controller import AppContext
from app.models.export_kinds import (
    EXPORT_KINDS,
    ExportInputs,
    calibration_for_smap,
    filter_words,
    free_path,
)
from app.models.project import CalibrationChoice, Project, ProjectSettings, RunRecord
from app.models.steps import Step
from app.views.export_page import ExportPage
from decode_engine.contract.configs import FilterConfig, FilterRange, RenderConfig
from decode_engine.contract.jobs import ExportSpec
from decode_engine.domain.localizations import Localizations
from decode_engine.io.tables import read_localizations_csv, write_localizations_csv


def _table() -> Localizations:
    n = 200
    rng = np.random.default_rng(0)
    return Localizations(
        frame=np.arange(n, dtype=np.int32),
        x_nm=rng.uniform(0, 1000, n).astype(np.float32),
        y_nm=rng.uniform(0, 1000, n).astype(np.float32),
        z_nm=rng.uniform(-300, 300, n).astype(np.float32),
        photons=np.arange(n, dtype=np.float32),
        background=np.full(n, 10, np.float32),
        sigma_x_nm=np.full(n, 10, np.float32),
        sigma_y_nm=np.full(n, 10, np.float32),
    )


@pytest.fixture
def page(qtbot: QtBot, app_context: AppContext, tmp_path: Path) -> ExportPage:
    write_localizations_csv(tmp_path / "cell.csv", _table())
    controller = ExportController(app_context)
    qtbot.addWidget(controller.page)
    controller.page.resize(1040, 720)
    controller.page.show()
    app_context.session.update(
        "set up",
        localizations=str(tmp_path / "cell.csv"),
        filters=FilterConfig(ranges=(FilterRange(column="photons", low=50.0),)),
    )
    return controller.page


def _states(page: ExportPage) -> list[str]:
    items = [page.files.item(row, 2) for row in range(page.files.rowCount())]
    return [item.text() for item in items if item is not None]


def _export(qtbot: QtBot, page: ExportPage, names: set[str]) -> None:
    for name, box in page.kinds.items():
        if box.isChecked() != (name in names):
            qtbot.mouseClick(
                box, Qt.MouseButton.LeftButton, pos=box.rect().center().__class__(8, 8)
            )
    before = page.files.rowCount()
    qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    wanted = before + len(names)
    qtbot.waitUntil(lambda: _states(page) == ["done"] * wanted, timeout=60_000)


def test_all_kinds_are_written_filtered_and_never_replaced(
    qtbot: QtBot, page: ExportPage, app_context: AppContext
) -> None:
    _export(qtbot, page, {"csv", "png", "tiff"})
    folder = app_context.session.folder / "exports"
    table = read_localizations_csv(folder / "cell.csv")
    assert table.photons.min() == 50
    assert len(table) == 150
    assert (folder / "cell.png").stat().st_size > 1000
    density = tifffile.imread(folder / "cell.tif")
    assert density.dtype == np.float32
    assert density.sum() == pytest.approx(150, rel=0.1)  # a little reaches across the border
    _export(qtbot, page, {"csv"})
    assert (folder / "cell-2.csv").is_file()


def test_the_image_to_measure_in_holds_what_the_table_holds(
    qtbot: QtBot, page: ExportPage, app_context: AppContext, tmp_path: Path
) -> None:
    """Regression: the TIFF left out sigma above 100 nm and improbable ones without a word."""
    table = _table()
    sigma = np.where(np.arange(200) < 150, 10, 150).astype(np.float32)
    probability = np.linspace(0, 1, 200, dtype=np.float32)
    probability[180] = np.nan
    vague = table.replace(sigma_x_nm=sigma, sigma_y_nm=sigma, probability=probability)
    write_localizations_csv(tmp_path / "vague.csv", vague)
    session = app_context.session
    render = session.settings.render.model_copy(
        update={"mode": "histogram", "probability_min": 0.5, "field_nm": (-9.0, -9.0, 1e3, 1e3)}
    )
    session.update("other table", localizations=str(tmp_path / "vague.csv"), render=render)
    _export(qtbot, page, {"csv", "tiff", "png"})
    folder = session.folder / "exports"
    written = read_localizations_csv(folder / "vague.csv")
    assert tifffile.imread(folder / "vague.tif").sum() == len(written) == 150
    drawn = {run.title: run.summary.get("n_drawn") for run in session.runs_of(Step.EXPORT)}
    assert drawn["Export vague.png"] == 50  # a picture to look at keeps its limits


def test_files_that_wait_to_be_written_are_not_written_twice(
    qtbot: QtBot, page: ExportPage, app_context: AppContext
) -> None:
    """Regression: a second click before the first file was there asked for the same file."""
    page.folder.setText("mine")
    page.folder.editingFinished.emit()
    for name, box in page.kinds.items():
        box.setChecked(name == "csv")
    for _ in range(2):
        qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: _states(page) == ["done", "done"], timeout=60_000)
    folder = app_context.session.folder / "mine"  # a bare name lies in the project
    assert sorted(path.name for path in folder.iterdir()) == ["cell-2.csv", "cell.csv"]


def test_without_filters_everything_is_written(
    qtbot: QtBot, page: ExportPage, app_context: AppContext
) -> None:
    page.filtered.setChecked(False)
    assert page.filter_words.text() == "Everything is exported."
    _export(qtbot, page, {"csv"})
    assert len(read_localizations_csv(app_context.session.folder / "exports" / "cell.csv")) == 200


def test_nothing_to_export_is_said(qtbot: QtBot, app_context: AppContext) -> None:
    controller = ExportController(app_context)
    qtbot.addWidget(controller.page)
    controller.page.show()
    assert not controller.page.start.isEnabled()
    assert "Localize a movie first" in controller.page.why_not.text()


def test_a_folder_that_cannot_be_is_a_card(
    qtbot: QtBot, page: ExportPage, app_context: AppContext, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    page.folder.setText(str(tmp_path / "file" / "below"))
    page.folder.editingFinished.emit()
    qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    label = page.findChild(QLabel, "problem-message")
    assert label is not None
    assert label.isVisible()
    assert str(tmp_path / "file") in label.text()


def test_a_table_that_is_gone_is_a_card(qtbot: QtBot, page: ExportPage, tmp_path: Path) -> None:
    (tmp_path / "cell.csv").unlink()
    qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    label = page.findChild(QLabel, "problem-message")
    assert label is not None
    qtbot.waitUntil(label.isVisible, timeout=30_000)
    assert "cell.csv" in label.text()
    qtbot.waitUntil(lambda: _states(page) == ["failed", "failed"], timeout=30_000)


def test_commands_and_paths_are_copied(qtbot: QtBot, page: ExportPage) -> None:
    qtbot.mouseClick(page.command, Qt.MouseButton.LeftButton)
    lines = QGuiApplication.clipboard().text().splitlines()
    assert [line.split()[1] for line in lines] == ["export", "render"]
    assert all("--filter photons=50.0:" in line for line in lines)


def test_words_and_names() -> None:
    assert filter_words(FilterConfig()) == "No filter is set."
    filters = FilterConfig(
        ranges=(
            FilterRange(column="sigma_x_nm", high=30.0),
            FilterRange(column="sigma_y_nm", high=30.0),
            FilterRange(column="z_nm", low=-300.0, high=300.0),
        )
    )
    words = "Filters: lateral precision at most 30 nm; z -300 to 300 nm."
    assert filter_words(filters) == words


def test_free_names(tmp_path: Path) -> None:
    names: Callable[[], str] = lambda: free_path(tmp_path, "a", ".csv").name  # noqa: E731 - short
    assert names() == "a.csv"
    (tmp_path / "a.csv").touch()
    (tmp_path / "a-2.csv").touch()
    assert names() == "a-3.csv"


def _project(*, localizations: str, calibration: str) -> Project:
    run = RunRecord(
        run_id="localize-001",
        step=Step.LOCALIZE,
        title="Localize cell",
        created="2026-11-25T20:00:00Z",
        spec={},
        outputs={"localizations": "/p/runs/localize-001/cell.h5"},
    )
    choice = CalibrationChoice(mode="file", path=calibration)
    settings = ProjectSettings(localizations=localizations, calibration=choice)
    return Project(settings=settings, runs=(run,))


def test_smap_is_told_the_calibration_of_results_made_here() -> None:
    """Regression: SMAP could not prepare a training from our file; it named no calibration."""
    made_here = "/p/runs/localize-001/cell.h5"
    project = _project(localizations=made_here, calibration="/beads/b_3dcal.mat")
    calibration = calibration_for_smap(project)
    inputs = ExportInputs(
        localizations=made_here,
        filters=FilterConfig(),
        render=RenderConfig(),
        calibration=calibration,
    )
    for kind in EXPORT_KINDS:
        spec = kind.spec(inputs, Path("/p/exports/out"))
        wanted = "/beads/b_3dcal.mat" if kind.name == "smap-sml" else ""
        if isinstance(spec, ExportSpec):
            assert spec.calibration_file == wanted, kind.name


@pytest.mark.parametrize(
    ("localizations", "calibration"),
    [
        ("/elsewhere/other.h5", "/beads/b_3dcal.mat"),  # made with other beads
        ("/p/runs/localize-001/cell.h5", "/p/runs/calibrate-001/calibration.h5"),  # not SMAP's
    ],
)
def test_smap_is_told_no_calibration_that_is_not_known_or_not_read(
    localizations: str, calibration: str
) -> None:
    project = _project(localizations=localizations, calibration=calibration)
    assert calibration_for_smap(project) == ""
