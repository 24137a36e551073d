"""Curves and histograms in the colours of the window (pyqtgraph behind a small door)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyqtgraph as pg
from numpy.typing import ArrayLike, NDArray
from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QColor, QGuiApplication, QPalette, QWheelEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QVBoxLayout,
    QWidget,
)

from app.views.chart_legend import ChartLegend
from app.views.form_fields import FieldProblem, parse_number
from app.views.naming import named

__all__ = ["CurveChart", "HistogramChart", "series_color"]

CurveStyle = Literal["line", "dots", "dashed"]

# Okabe and Ito's colours, which colour-blind readers tell apart; darker on white, lighter on black.
_ON_LIGHT = ("#0072B2", "#D55E00", "#00805C", "#AA4488", "#8C6D00", "#3A7CA5")
_ON_DARK = ("#56B4E9", "#FF9F4A", "#2FD0A0", "#E39AC8", "#F0E442", "#A6CEE3")
_SYMBOLS = ("o", "s", "t", "d", "+", "x")
_FEW_POINTS = 80  # up to here each curve also carries its own symbol: never colour alone
_THROTTLE_MS = 40


def series_color(index: int, palette: QPalette) -> QColor:
    """Return the colour of the n-th curve on the palette's base."""
    colors = _ON_DARK if palette.color(QPalette.ColorRole.Base).lightness() < 128 else _ON_LIGHT
    return QColor(colors[index % len(colors)])


@dataclass(slots=True, kw_only=True)
class _Series:
    """One drawn curve, kept so that it can be drawn anew in other colours."""

    index: int
    item: Any
    style: CurveStyle
    n: int = 0


class _Chart(QWidget):
    """A plot that follows the palette; the base of both charts."""

    def __init__(
        self, x_label: str, y_label: str, title: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._labels = {"bottom": x_label, "left": y_label}
        self._title = title
        self._series: dict[str, _Series] = {}
        self._plot = pg.PlotWidget(parent=self, enableMenu=False)
        self._item = self._plot.getPlotItem()
        self._item.setMenuEnabled(False)
        # Made without a parent, it would stay behind as a window of its own.
        menu = self._item.ctrlMenu
        menu.setParent(self._plot, menu.windowFlags())  # without its flags it would be shown
        self._item.hideButtons()
        self._item.showGrid(x=True, y=True, alpha=0.15)
        for side in ("bottom", "left"):
            self._item.getAxis(side).enableAutoSIPrefix(False)
        self._plot.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._plot.setFrameShape(pg.QtWidgets.QFrame.Shape.NoFrame)
        self._plot.viewport().installEventFilter(self)
        self._plot.setAccessibleName(title or f"{y_label} against {x_label}")
        self._plot.setToolTip(
            "Click, then turn the wheel to zoom; double-click to see all; right-click for more."
        )
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(0)
        self._legend = ChartLegend()
        self._box.addWidget(self._legend)
        self._box.addWidget(self._plot, 1)
        self.setMinimumSize(160, 110)
        self._add_actions()
        self._restyle()

    def save_data(self, path: Path) -> None:
        """Write all curves as a table: name, x, y, one point a line."""
        lines = ["curve,x,y"]
        for name, series in self._series.items():
            x, y = series.item.getOriginalDataset()
            if x is None or y is None:
                continue
            quoted = '"' + name.replace('"', '""') + '"'
            lines += [f"{quoted},{a:.9g},{b:.9g}" for a, b in zip(x, y, strict=False)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _add_actions(self) -> None:
        """Offer, on a right click, what one wants of a chart: its picture and its numbers."""
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        for text, act in (
            ("Show all", self._item.enableAutoRange),
            ("Copy picture", lambda: QGuiApplication.clipboard().setPixmap(self.grab())),
            ("Save numbers as CSV…", self._ask_and_save),
        ):
            action = QAction(text, self)
            action.triggered.connect(lambda _=False, act=act: act())
            self.addAction(action)

    def _ask_and_save(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Save the numbers of the chart", "chart.csv", "Tables (*.csv)"
        )
        if not chosen:
            return
        try:
            self.save_data(Path(chosen))
        except OSError as error:
            QMessageBox.warning(
                self,
                "Not saved",
                f"{chosen} cannot be written: {error.strerror}. Choose another place.",
            )

    def clear(self) -> None:
        """Take all curves away."""
        for name in list(self._series):
            self._remove(name)

    def changeEvent(self, event: QEvent) -> None:
        """Follow the window's colours."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._restyle()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave the wheel to the page unless the chart was clicked; double-click shows all."""
        if isinstance(event, QWheelEvent) and not self._plot.hasFocus():
            event.ignore()
            return True
        if event.type() == QEvent.Type.MouseButtonDblClick:
            self._item.enableAutoRange()
            return True
        return super().eventFilter(watched, event)

    def _entry(self, name: str, style: CurveStyle) -> _Series:
        """Return the curve of a name, made at its first use."""
        if name not in self._series:
            taken = {series.index for series in self._series.values()}
            index = next(i for i in range(len(taken) + 1) if i not in taken)
            item = pg.PlotDataItem(antialias=True, connect="finite")
            item.setDownsampling(auto=True, method="peak")
            item.setClipToView(True)
            self._item.addItem(item)
            self._series[name] = _Series(index=index, item=item, style=style)
        series = self._series[name]
        series.style = style
        return series

    def _remove(self, name: str) -> None:
        series = self._series.pop(name, None)
        if series is not None:
            self._item.removeItem(series.item)
            self._show_legend()

    def _restyle(self) -> None:
        palette = self.palette()
        text = palette.color(QPalette.ColorRole.Text)
        self._plot.setBackground(palette.color(QPalette.ColorRole.Base))
        for side, label in self._labels.items():
            axis = self._item.getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)
            axis.setLabel(label, color=text.name())
        if self._title:
            self._item.setTitle(self._title, color=text.name(), size="10pt")
        for series in self._series.values():
            self._paint(series)
        self._show_legend()

    def _show_legend(self) -> None:
        self._legend.show_entries(
            [
                (name, self._sign(series), series_color(series.index, self.palette()))
                for name, series in self._series.items()
            ]
        )

    @property
    def legend_text(self) -> str:
        """What the legend says; empty where there is none."""
        return "" if self._legend.isHidden() else self._legend.text()

    @staticmethod
    def _sign(series: _Series) -> str:
        """Return the symbol of a curve, or "line" or "dashed" for one that is drawn without."""
        few = series.style == "line" and 0 < series.n <= _FEW_POINTS
        if series.style == "dots" or few:
            return _SYMBOLS[series.index % len(_SYMBOLS)]
        return series.style

    def _paint(self, series: _Series) -> None:
        color = series_color(series.index, self.palette())
        line = Qt.PenStyle.DashLine if series.style == "dashed" else Qt.PenStyle.SolidLine
        sign = self._sign(series)
        pen = None if series.style == "dots" else pg.mkPen(color, width=2, style=line)
        series.item.setPen(pen)
        series.item.setSymbol(sign if sign in _SYMBOLS else None)
        series.item.setSymbolSize(6)
        series.item.setSymbolPen(pg.mkPen(color))
        series.item.setSymbolBrush(color)


class CurveChart(_Chart):
    """Named curves over a common x axis, with units in the labels.

    Parameters
    ----------
    x_label, y_label : str
        With their units in parentheses.
    log_y : bool
        Draw y on a logarithmic axis; values that are not positive are left out.
    title : str

    Signals
    -------
    x_clicked : float
        Where along x the chart was clicked.
    """

    x_clicked = Signal(float)

    def __init__(
        self,
        x_label: str,
        y_label: str,
        *,
        log_y: bool = False,
        title: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(x_label, y_label, title, parent)
        self._log_y = log_y
        self._item.setLogMode(y=log_y)
        self._marker: Any = None
        self._plot.scene().sigMouseClicked.connect(self._clicked)

    def set_marker(self, x: float | None) -> None:
        """Show where along x one is, by a vertical line; None takes it away."""
        if x is None:
            if self._marker is not None:
                self._item.removeItem(self._marker)
                self._marker = None
            return
        if self._marker is None:
            self._marker = pg.InfiniteLine(angle=90, movable=False)
            self._marker.setPen(pg.mkPen(self.palette().color(QPalette.ColorRole.Text), width=1))
            self._item.addItem(self._marker, ignoreBounds=True)
        self._marker.setValue(x)

    def _restyle(self) -> None:
        super()._restyle()
        marker = getattr(self, "_marker", None)
        if marker is not None:
            marker.setPen(pg.mkPen(self.palette().color(QPalette.ColorRole.Text), width=1))

    def _clicked(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton and not event.double():
            self.x_clicked.emit(float(self._item.vb.mapSceneToView(event.scenePos()).x()))

    def set_curve(
        self, name: str, x: ArrayLike, y: ArrayLike, *, style: CurveStyle = "line"
    ) -> None:
        """Draw a curve, or replace the one of the same name; gaps are NaN."""
        x_values = np.asarray(x, dtype=np.float64).ravel()
        y_values = np.asarray(y, dtype=np.float64).ravel()
        drawable = np.isfinite(x_values) & np.isfinite(y_values)
        if self._log_y:
            drawable &= y_values > 0
        series = self._entry(name, style)
        series.n = int(np.count_nonzero(drawable))
        # A gap is a NaN in y; x must be finite for clipping to the view.
        keep = np.isfinite(x_values)
        series.item.setData(x_values[keep], np.where(drawable, y_values, np.nan)[keep])
        self._paint(series)
        self._show_legend()

    def set_y_range(self, low: float, high: float) -> None:
        """Show y between fixed ends, until the user zooms."""
        self._item.setYRange(low, high, padding=0.02)

    def remove_curve(self, name: str) -> None:
        """Take a curve away; an unknown name is no error."""
        self._remove(name)

    @property
    def curve_names(self) -> tuple[str, ...]:
        """Names of the curves that are drawn."""
        return tuple(self._series)

    def curve(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return x and y of a curve as they were set (gaps as NaN)."""
        x, y = self._series[name].item.getOriginalDataset()
        empty = np.zeros(0)
        return (empty if x is None else x), (empty if y is None else y)


class HistogramChart(_Chart):
    """Histograms over each other, and two cut lines that can be dragged or typed.

    A cut at or beyond the end of the histogram, or an empty number, is no cut: minus or plus
    infinity.

    Parameters
    ----------
    label, unit : str
        Of the quantity.
    title : str
    with_cuts : bool
        Offer the cut lines.
    """

    cuts_changed = Signal(float, float)

    def __init__(
        self,
        label: str,
        unit: str,
        *,
        title: str = "",
        with_cuts: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(f"{label} ({unit})" if unit else label, "count", title, parent)
        self._extent: tuple[float, float] | None = None
        self._cuts = (-math.inf, math.inf)
        self._region: Any = None
        self._pending = QTimer(self)
        self._pending.setSingleShot(True)
        self._pending.setInterval(_THROTTLE_MS)
        self._pending.timeout.connect(lambda: self.cuts_changed.emit(*self._cuts))
        if with_cuts:
            self._add_cuts(label, unit)

    def set_histogram(self, name: str, edges: ArrayLike, counts: ArrayLike) -> None:
        """Draw a histogram (n + 1 edges, n counts), or replace the one of the same name."""
        edge_values = np.asarray(edges, dtype=np.float64).ravel()
        count_values = np.asarray(counts, dtype=np.float64).ravel()
        if edge_values.size != count_values.size + 1:
            raise ValueError(f"{edge_values.size} edges do not fit {count_values.size} counts")
        series = self._entry(name, "line")
        series.item.setClipToView(False)  # it knows no steps
        series.item.setDownsampling(auto=False)
        series.item.setData(edge_values, count_values, stepMode="center", fillLevel=0)
        self._paint(series)
        self._show_legend()
        spans = [s.item.getOriginalDataset()[0] for s in self._series.values()]
        self._extent = (min(float(s[0]) for s in spans), max(float(s[-1]) for s in spans))
        self._show_cuts()

    def set_cuts(self, low: float, high: float) -> None:
        """Place the cut lines without emitting; infinities take a line to the end."""
        self._cuts = (low, high)
        self._show_cuts()

    @property
    def cuts(self) -> tuple[float, float]:
        """The cuts as they are."""
        return self._cuts

    def clear(self) -> None:
        """Take all histograms away; the cuts stay."""
        super().clear()
        self._extent = None
        self._show_cuts()

    @staticmethod
    def _sign(series: _Series) -> str:
        return ("line", "dashed", "dotted")[series.index % 3]

    def _paint(self, series: _Series) -> None:
        color = series_color(series.index, self.palette())
        line = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine)[series.index % 3]
        series.item.setPen(pg.mkPen(color, width=2, style=line))
        fill = QColor(color)
        fill.setAlpha(70)
        series.item.setFillBrush(fill)

    def _restyle(self) -> None:
        super()._restyle()
        region = getattr(self, "_region", None)
        if region is not None:
            fill = self.palette().color(QPalette.ColorRole.Highlight)
            fill.setAlpha(45)
            region.setBrush(fill)
            for line in region.lines:
                line.setPen(pg.mkPen(self.palette().color(QPalette.ColorRole.Text), width=2))

    def _add_cuts(self, label: str, unit: str) -> None:
        self._region = pg.LinearRegionItem()
        self._region.setZValue(10)
        self._region.sigRegionChanged.connect(self._dragged)
        self._item.addItem(self._region)
        row = QHBoxLayout()
        row.setContentsMargins(0, 4, 0, 4)
        row.setSpacing(6)
        self._edits: list[QLineEdit] = []
        suffix = f" {unit}" if unit else ""
        for name, words in (("low", "from"), ("high", "to")):
            edit = named(QLineEdit(), f"cut-{name}")
            edit.setPlaceholderText("no limit")
            edit.setMaximumWidth(110)
            edit.setAccessibleName(f"{label}, {words}{suffix}")
            edit.setToolTip(
                f"{'Lowest' if name == 'low' else 'Highest'} {label} that is kept"
                f"{f', in {unit}' if unit else ''}. "
                "Empty for no limit; or drag the line in the histogram."
            )
            edit.editingFinished.connect(self._typed)
            row.addWidget(QLabel(words))
            row.addWidget(edit)
            self._edits.append(edit)
        row.addWidget(QLabel(unit))
        self._complaint = named(QLabel(), "cut-complaint")
        self._complaint.setWordWrap(True)
        row.addWidget(self._complaint, 1)
        self._box.addLayout(row)
        self._restyle()
        self._show_cuts()

    def _show_cuts(self) -> None:
        if self._region is None:
            return
        self._region.setVisible(self._extent is not None)
        self._complaint.setText("")
        for edit, value in zip(self._edits, self._cuts, strict=True):
            edit.setText(f"{value:.6g}" if math.isfinite(value) else "")
        if self._extent is None:
            return
        low, high = (
            value if math.isfinite(value) else end
            for value, end in zip(self._cuts, self._extent, strict=True)
        )
        self._region.blockSignals(True)
        self._region.setRegion((low, max(low, high)))
        self._region.blockSignals(False)

    def _dragged(self) -> None:
        if self._extent is None:
            return
        low, high = self._region.getRegion()
        left, right = self._extent
        self._cuts = (
            -math.inf if low <= left else float(low),
            math.inf if high >= right else float(high),
        )
        for edit, value in zip(self._edits, self._cuts, strict=True):
            edit.setText(f"{value:.6g}" if math.isfinite(value) else "")
        if not self._pending.isActive():
            self._pending.start()

    def _typed(self) -> None:
        """Take typed cuts; what is none stays, with the reason beside it, and cuts nothing."""
        values: list[float] = []
        for edit, end in zip(self._edits, (-math.inf, math.inf), strict=True):
            try:
                values.append(parse_number(edit.text()) if edit.text().strip() else end)
            except FieldProblem as problem:
                self._complaint.setText(str(problem))
                return
        low, high = values
        if low > high:
            self._complaint.setText("The lower limit lies above the upper one.")
            return
        changed = (low, high) != self._cuts
        self.set_cuts(low, high)
        if changed:
            self.cuts_changed.emit(low, high)
