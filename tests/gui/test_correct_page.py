"""The Correct page: cut lines, suggestions, undo, and what they do to the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from app.controllers.correct import CorrectController
from app.controllers.page_controller import AppContext
from app.models.explore_filters import FILTER_FIELDS, cuts_of
from app.models.filter_summary import filter_summary, suggested_filters
from decode_engine.analysis.filtering import FilterSpec
from decode_engine.contract.configs import FilterConfig, FilterRange
from decode_engine.domain.localizations import Localizations
from decode_engine.io.tables import write_localizations_csv

N = 1000


def _table() -> Localizations:
    rng = np.random.default_rng(0)
    return Localizations(
        frame=np.arange(N, dtype=np.int32),
        x_nm=rng.uniform(0, 5000, N).astype(np.float32),
        y_nm=rng.uniform(0, 3000, N).astype(np.float32),
        z_nm=rng.uniform(-300, 300, N).astype(np.float32),
        photons=np.arange(N, dtype=np.float32),
        background=np.full(N, 10, np.float32),
        sigma_x_nm=np.where(np.arange(N) < 100, 90, 10).astype(np.float32),
        sigma_y_nm=np.full(N, 10, np.float32),
    )


@pytest.fixture
def controller(qtbot: QtBot, app_context: AppContext, tmp_path: Path) -> CorrectController:
    write_localizations_csv(tmp_path / "locs.csv", _table())
    controller = CorrectController(app_context)
    qtbot.addWidget(controller.page)
    controller.page.resize(1040, 720)
    controller.page.show()
    controller.activate()
    app_context.session.update("open", localizations=str(tmp_path / "locs.csv"))
    qtbot.waitUntil(lambda: "1,000 of 1,000" in _words(controller), timeout=10_000)
    return controller


def _words(controller: CorrectController) -> str:
    return controller.page.filters.words.text()


def test_each_quantity_of_the_table_has_a_chart(controller: CorrectController) -> None:
    assert list(controller.page.filters.charts.charts) == ["photons", "sigma_lateral", "z", "frame"]


def test_moving_a_cut_changes_the_project_and_can_be_undone(
    qtbot: QtBot, controller: CorrectController
) -> None:
    session, panel = controller.context.session, controller.page.filters
    panel.charts.charts["photons"].cuts_changed.emit(500.0, np.inf)
    qtbot.waitUntil(lambda: "500 of 1,000" in _words(controller), timeout=10_000)
    assert session.settings.filters.ranges == (FilterRange(column="photons", low=500.0),)
    qtbot.waitUntil(lambda: panel.left_out.words.startswith("500"), timeout=5_000)
    session.undo()
    qtbot.waitUntil(lambda: "1,000 of 1,000" in _words(controller), timeout=10_000)
    assert panel.charts.charts["photons"].cuts == (-np.inf, np.inf)


def test_suggested_limits_cut_the_tail(qtbot: QtBot, controller: CorrectController) -> None:
    panel = controller.page.filters
    qtbot.mouseClick(panel.suggest, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "900 of 1,000" in _words(controller), timeout=10_000)
    assert panel.charts.charts["sigma_lateral"].cuts == (-np.inf, 30.0)
    qtbot.mouseClick(panel.reset, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "1,000 of 1,000" in _words(controller), timeout=10_000)


def test_a_damaged_table_is_a_card(qtbot: QtBot, app_context: AppContext, tmp_path: Path) -> None:
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF rubbish")
    controller = CorrectController(app_context)
    qtbot.addWidget(controller.page)
    controller.page.show()
    controller.activate()
    app_context.session.update("open", localizations=str(tmp_path / "bad.h5"))
    label = controller.page.findChild(QLabel, "problem-message")
    assert label is not None
    qtbot.waitUntil(lambda: "bad.h5" in label.text() and label.isVisible(), timeout=10_000)


def test_suggestion_and_summary_in_numbers() -> None:
    table = _table()
    filters = suggested_filters(table, FilterConfig())
    lateral = next(f for f in FILTER_FIELDS if f.key == "sigma_lateral")
    assert cuts_of(filters, lateral) == (-np.inf, 30.0)  # three times the median of 10 nm
    kept = FilterSpec.from_config(filters).mask(table)
    assert int(kept.sum()) == 900
    words = filter_summary(table, kept)
    assert "900 of 1,000 localizations stay (90%)" in words
    few = np.arange(N) < 50
    assert "Most are left out" in filter_summary(table, few)
    assert "0 of 0" in filter_summary(Localizations.empty(), None)


def test_a_limit_that_has_no_chart_is_named() -> None:
    """Regression: a limit of z, left from 3D data, hid all of a 2D table."""
    flat = _table().replace(z_nm=np.full(N, np.nan, np.float32))
    limit = FilterConfig(ranges=(FilterRange(column="z_nm", low=-300.0),))
    words = filter_summary(flat, FilterSpec.from_config(limit).mask(flat), limit)
    assert "1,000 of 1,000" in words
    assert "A limit is set for z, which these localizations do not have" in words
    assert "do not have" not in filter_summary(_table(), None, limit)
