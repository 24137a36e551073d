"""The curves of trainings in tabs, several runs over each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PySide6.QtWidgets import QTabWidget, QWidget

from app.models.training_curves import TrainingCurves
from app.views.charts import CurveChart
from app.views.naming import named

__all__ = ["TrainCurves"]

_TIME = "computing time (min)"


@dataclass(frozen=True, slots=True)
class _Tab:
    """One chart: title, axis, metrics by name in the legend, the ideal, and what it means."""

    title: str
    y_label: str
    metrics: Mapping[str, str]  # words in the legend -> name of `contract.metrics`
    ideal: float | None
    tooltip: str
    compared: tuple[str, ...]  # what is drawn of several runs: fewer curves, to tell them apart
    y_range: tuple[float, float] | None = None  # None: as the curves need it


_TABS = (
    _Tab(
        "Molecules found",
        "share (0 to 1)",
        {"Jaccard index": "jaccard", "found of all": "recall", "true of found": "precision"},
        None,
        "Jaccard index: molecules found, divided by all that are true or claimed. 1 is perfect; "
        "0.6 to 0.8 is good in dense frames.",
        ("jaccard",),
        (0.0, 1.0),
    ),
    _Tab(
        "Error",
        "error, root mean square (nm)",
        {"sideways (x, y)": "rmse_lateral_nm", "in height (z)": "rmse_axial_nm"},
        None,
        "How far localizations of simulated molecules are from the truth.",
        ("rmse_lateral_nm", "rmse_axial_nm"),
    ),
    _Tab(
        "Limit",
        "error / best possible (CRLB)",
        {
            "x": "rmse_over_crlb_robust_x",
            "y": "rmse_over_crlb_robust_y",
            "z": "rmse_over_crlb_robust_z",
        },
        1.0,
        "The typical error relative to the Cramér-Rao bound (CRLB), the best that the photons of "
        "a lone molecule allow. Dense frames stay above 1.",
        ("rmse_over_crlb_robust_x", "rmse_over_crlb_robust_z"),
    ),
    _Tab(
        "Uncertainty",
        "spread of error / stated sigma",
        {"x": "z_score_x", "y": "z_score_y", "z": "z_score_z"},
        1.0,
        "1: the uncertainty that the network states for each localization is true. Above 1: it "
        "is too sure of itself; below 1: too cautious.",
        ("z_score_x", "z_score_z"),
    ),
    _Tab(
        "Loss",
        "loss (lower is better)",
        {"while learning": "loss", "on test frames": "validation_loss"},
        None,
        "What the training minimises; it falls steeply at first and then levels off. It has no "
        "unit.",
        ("validation_loss",),
    ),
)


class TrainCurves(QTabWidget):
    """Draws the metrics of one run, and those of other runs for comparison."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        named(self, "train-curves")
        self._charts: list[tuple[_Tab, CurveChart]] = []
        for tab in _TABS:
            chart = CurveChart(_TIME, tab.y_label)
            chart.setToolTip(tab.tooltip)
            if tab.y_range is not None:
                chart.set_y_range(*tab.y_range)
            index = self.addTab(chart, tab.title)
            self.setTabToolTip(index, tab.tooltip)
            self._charts.append((tab, chart))

    def show_runs(self, runs: Mapping[str, TrainingCurves]) -> None:
        """Draw runs by their names; a single one goes without its name in the legend."""
        for tab, chart in self._charts:
            names: set[str] = set()
            end = 0.0
            for run, curves in runs.items():
                for words, metric in tab.metrics.items():
                    if len(runs) > 1 and metric not in tab.compared:
                        continue
                    curve = curves.curve(metric)
                    if not np.isfinite(curve.values).any():
                        continue
                    name = words if len(runs) == 1 else f"{words}, {run}"
                    names.add(name)
                    chart.set_curve(name, curve.minutes, curve.values)
                    if np.isfinite(curve.minutes).any():
                        end = max(end, float(np.nanmax(curve.minutes)))
            if tab.ideal is not None and names:
                names.add("ideal")
                chart.set_curve("ideal", [0.0, max(end, 1e-3)], [tab.ideal] * 2, style="dashed")
            for old in chart.curve_names:
                if old not in names:
                    chart.remove_curve(old)

    def chart(self, title: str) -> CurveChart:
        """Return the chart of a tab."""
        return next(chart for tab, chart in self._charts if tab.title == title)
