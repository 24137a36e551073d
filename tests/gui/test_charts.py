"""Curves and histograms: what is drawn, cut lines by mouse and keys, colours of the window."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QPalette, QWheelEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from app.views.charts import CurveChart, HistogramChart

EDGES = np.linspace(0.0, 1000.0, 11)
COUNTS = np.arange(10.0)


def test_curves_are_kept_by_name_with_gaps(qtbot: QtBot) -> None:
    chart = CurveChart("time (min)", "error (nm)")
    qtbot.addWidget(chart)
    chart.set_curve("a", [0, 1, 2], [1.0, math.nan, 3.0])
    chart.set_curve("a", [0, 1, 2, math.nan], [1.0, math.nan, 4.0, 5.0])
    chart.set_curve("ideal", [0, 2], [1, 1], style="dashed")
    x, y = chart.curve("a")
    np.testing.assert_array_equal(x, [0, 1, 2])
    np.testing.assert_array_equal(y, [1.0, math.nan, 4.0])
    assert chart.curve_names == ("a", "ideal")
    chart.remove_curve("a")
    chart.remove_curve("never there")
    assert chart.curve_names == ("ideal",)
    chart.clear()
    assert chart.curve_names == ()
    chart.grab()


def test_a_logarithmic_axis_leaves_out_what_has_no_logarithm(qtbot: QtBot) -> None:
    chart = CurveChart("step", "loss", log_y=True)
    qtbot.addWidget(chart)
    chart.set_curve("loss", [0, 1, 2], [10.0, -1.0, 0.0])
    np.testing.assert_array_equal(chart.curve("loss")[1], [10.0, math.nan, math.nan])
    chart.grab()


def test_empty_and_unknown_curves_draw_nothing(qtbot: QtBot) -> None:
    chart = CurveChart("x", "y")
    qtbot.addWidget(chart)
    chart.set_curve("empty", [], [])
    chart.set_curve("unknown", [math.nan], [math.nan])
    chart.grab()
    assert not len(chart.curve("empty")[1])
    assert np.isnan(chart.curve("unknown")[1]).all()


def test_the_background_follows_the_palette(qtbot: QtBot) -> None:
    chart = CurveChart("x", "y", title="T")
    qtbot.addWidget(chart)
    chart.set_curve("a", [0, 1], [0, 1])
    palette = QPalette(QColor("#202020"))
    palette.setColor(QPalette.ColorRole.Base, QColor("#101418"))
    chart.setPalette(palette)
    chart.resize(300, 200)
    corner = chart.grab().toImage().pixelColor(2, 2)
    assert corner == QColor("#101418")


def test_the_wheel_belongs_to_the_page_until_the_chart_is_clicked(qtbot: QtBot) -> None:
    chart = CurveChart("x", "y")
    qtbot.addWidget(chart)
    chart.set_curve("a", [0, 1], [0, 1])
    chart.resize(300, 200)
    chart.show()
    viewport = chart._plot.viewport()
    before = chart._item.viewRange()
    event = QWheelEvent(
        QPointF(100, 80),
        QPointF(100, 80),
        QPoint(0, 0),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(viewport, event)
    assert chart._item.viewRange() == before


def test_the_legend_stands_above_the_plot_and_names_each_curve(qtbot: QtBot) -> None:
    chart = CurveChart("x", "y")
    qtbot.addWidget(chart)
    chart.resize(400, 300)
    chart.show()
    chart.set_curve("rising", [0, 1], [0, 1])
    assert not chart.legend_text  # one curve is named by the axis
    chart.set_curve("not <b>", [0, 1], [1, 0])
    chart.grab()
    assert "rising" in chart.legend_text
    assert "not&nbsp;&lt;b&gt;" in chart.legend_text
    assert "●" in chart.legend_text
    assert "■" in chart.legend_text
    legend = chart.findChild(QLabel, "chart-legend")
    assert legend is not None
    assert legend.geometry().bottom() < chart._plot.geometry().top()
    chart.remove_curve("rising")
    assert not chart.legend_text


def test_a_long_legend_takes_more_lines_and_no_more_width(qtbot: QtBot) -> None:
    chart = CurveChart("x", "y")
    qtbot.addWidget(chart)
    chart.resize(300, 300)
    chart.show()
    for i in range(6):
        chart.set_curve(f"sideways, training {i}", [0, 1], [0, i])
    chart.grab()
    legend = chart.findChild(QLabel, "chart-legend")
    assert legend is not None
    qtbot.waitUntil(lambda: legend.height() > 2 * legend.fontMetrics().height())
    assert chart.width() == 300


def test_numbers_are_saved_as_a_table(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart = CurveChart("x", "y")
    qtbot.addWidget(chart)
    chart.set_curve("a, first", [0, 1], [0.5, math.nan])
    chart.show()
    target = tmp_path / "numbers.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    next(a for a in chart.actions() if "CSV" in a.text()).trigger()
    assert target.read_text() == 'curve,x,y\n"a, first",0,0.5\n"a, first",1,nan\n'


def _cut(chart: HistogramChart, name: str) -> QLineEdit:
    edit = chart.findChild(QLineEdit, f"cut-{name}")
    assert edit is not None
    return edit


def _complaint(chart: HistogramChart) -> str:
    label = chart.findChild(QLabel, "cut-complaint")
    assert label is not None
    return label.text()


@pytest.fixture
def histogram(qtbot: QtBot) -> HistogramChart:
    chart = HistogramChart("photons", "photon", with_cuts=True)
    qtbot.addWidget(chart)
    chart.set_histogram("yours", EDGES, COUNTS)
    chart.resize(400, 300)
    chart.show()
    return chart


def test_setting_cuts_shows_them_and_emits_nothing(qtbot: QtBot, histogram: HistogramChart) -> None:
    with qtbot.assertNotEmitted(histogram.cuts_changed, wait=60):
        histogram.set_cuts(200.0, math.inf)
    assert histogram.cuts == (200.0, math.inf)
    assert _cut(histogram, "low").text() == "200"
    assert _cut(histogram, "high").text() == ""


def test_cuts_are_typed(qtbot: QtBot, histogram: HistogramChart) -> None:
    low = _cut(histogram, "low")
    with qtbot.waitSignal(histogram.cuts_changed) as signal:
        qtbot.keyClicks(low, "1.5e2")
        qtbot.keyClick(low, Qt.Key.Key_Return)
    assert signal.args == [150.0, math.inf]
    for text, words in (("abc", "not a number"), ("1,5", "as a point"), ("nan", "finite")):
        low.clear()
        qtbot.keyClicks(low, text)
        with qtbot.assertNotEmitted(histogram.cuts_changed):
            qtbot.keyClick(low, Qt.Key.Key_Return)
        assert low.text() == text
        assert words in _complaint(histogram)
        assert histogram.cuts == (150.0, math.inf)
    low.clear()
    with qtbot.waitSignal(histogram.cuts_changed) as signal:
        qtbot.keyClick(low, Qt.Key.Key_Return)
    assert signal.args == [-math.inf, math.inf]
    assert _complaint(histogram) == ""


def test_cuts_that_cross_are_not_taken(qtbot: QtBot, histogram: HistogramChart) -> None:
    histogram.set_cuts(200.0, 400.0)
    low = _cut(histogram, "low")
    low.clear()
    qtbot.keyClicks(low, "500")
    with qtbot.assertNotEmitted(histogram.cuts_changed):
        qtbot.keyClick(low, Qt.Key.Key_Return)
    assert histogram.cuts == (200.0, 400.0)
    assert "above the upper" in _complaint(histogram)
    histogram.set_cuts(200.0, 400.0)
    assert low.text() == "200"
    assert _complaint(histogram) == ""


def test_dragging_a_line_emits_and_the_end_means_no_cut(
    qtbot: QtBot, histogram: HistogramChart
) -> None:
    histogram.set_cuts(200.0, 800.0)
    with qtbot.waitSignal(histogram.cuts_changed) as signal:
        histogram._region.setRegion((300.0, 700.0))
    assert signal.args == [300.0, 700.0]
    assert _cut(histogram, "low").text() == "300"
    with qtbot.waitSignal(histogram.cuts_changed) as signal:
        histogram._region.setRegion((-10.0, 1000.0))
    assert signal.args == [-math.inf, math.inf]


def test_edges_must_fit_the_counts(histogram: HistogramChart) -> None:
    with pytest.raises(ValueError, match="11 edges do not fit 9 counts"):
        histogram.set_histogram("x", EDGES, COUNTS[:9])


def test_clearing_keeps_the_cuts_for_the_next_histogram(histogram: HistogramChart) -> None:
    histogram.set_cuts(200.0, 400.0)
    histogram.clear()
    histogram.set_histogram("next", EDGES * 2, COUNTS)
    assert histogram._region.getRegion() == (200.0, 400.0)
