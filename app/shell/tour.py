"""A short walk through the window: bubbles that point at its parts."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.models.steps import Step
from app.shell.main_window import MainWindow
from app.views.naming import named

__all__ = ["STOPS", "Stop", "Tour"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One stop: what is pointed at, on which page, and what is said."""

    title: str
    text: str
    step: Step
    target: str  # object name of a widget; the page where it is not there


STOPS = (
    Stop(
        title="From movie to picture in steps",
        text="Each line is a step of the work. Go back and forth as you like; the mark says "
        "whether a step is done ✓, needs you !, is running ●, or is out of date ↻.",
        step=Step.START,
        target="sidebar",
    ),
    Stop(
        title="Your movie",
        text="Drop a movie anywhere on the window. Here you look through its frames and choose "
        "the region and the frames that count.",
        step=Step.MOVIE,
        target="pages",
    ),
    Stop(
        title="How a molecule looks",
        text="The calibration says how one molecule looks at each height. It comes from SMAP, "
        "uiPSF, or from bead stacks right here.",
        step=Step.CALIBRATION,
        target="pages",
    ),
    Stop(
        title="Teach the network",
        text="The network learns from simulated frames that look like yours. The example brings "
        "a trained one, so you can skip this for now.",
        step=Step.TRAIN,
        target="pages",
    ),
    Stop(
        title="Find the molecules",
        text="Look at a preview first. Then the whole movie is fitted while the picture grows.",
        step=Step.LOCALIZE,
        target="pages",
    ),
    Stop(
        title="What is running",
        text="Jobs go on while you look around, each with its remaining time. A click leads to "
        "its page.",
        step=Step.LOCALIZE,
        target="status-bar",
    ),
    Stop(
        title="Help is here",
        text="Each page explains itself beside it, each field when you point at it. F1 shows "
        "and hides this.",
        step=Step.LOCALIZE,
        target="help-panel",
    ),
)


class Tour(QObject):
    """Leads through `STOPS`; remembers that it was seen."""

    finished = Signal()

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._overlay: _Overlay | None = None
        self._place = 0

    @property
    def running(self) -> bool:
        """Whether the tour is on."""
        return self._overlay is not None

    def start(self) -> None:
        """Begin at the first stop."""
        self._place = 0
        self._window.hold(True)
        if self._overlay is None:
            self._overlay = _Overlay(self._window)
            self._overlay.moved.connect(self._move)
            self._overlay.skipped.connect(self.stop)
        self._show()

    def stop(self) -> None:
        """End the tour; it does not start by itself again."""
        if self._overlay is not None:
            self._overlay.hide()
            self._overlay.deleteLater()
            self._overlay = None
            self._window.hold(False)
            self._window.context.settings.update(tour_seen=True)
            self.finished.emit()

    def _move(self, by: int) -> None:
        self._place = max(0, self._place + by)
        if self._place >= len(STOPS):
            self.stop()
        else:
            self._show()

    def _show(self) -> None:
        assert self._overlay is not None
        stop = STOPS[self._place]
        self._window.show_step(stop.step)
        target: QWidget | None = self._window.findChild(QWidget, stop.target)
        if target is None or not target.isVisible():
            page = self._window.current_page
            target = page.findChild(QWidget, "page-help") or self._window.sidebar
        self._overlay.show_stop(stop, target, self._place)


class _Overlay(QWidget):
    """Dims the window but for the target, and holds the bubble."""

    moved = Signal(int)
    skipped = Signal()

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self.setObjectName("tour")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._target: QWidget | None = None
        self._bubble = named(QFrame(self), "tour-bubble")
        self._bubble.setProperty("card", True)
        self._bubble.setFixedWidth(340)
        self._title = named(QLabel(), "tour-title")
        font = self._title.font()
        font.setBold(True)
        self._title.setFont(font)
        self._text = named(QLabel(), "tour-text")
        self._text.setWordWrap(True)
        self._count = named(QLabel(), "tour-count")
        self._count.setProperty("muted", True)
        self._skip = named(QPushButton("Skip the tour", flat=True), "tour-skip")
        self._back = named(QPushButton("Back"), "tour-back")
        self._next = named(QPushButton("Next"), "tour-next")
        self._next.setProperty("primary", True)
        self._skip.clicked.connect(self.skipped)
        self._back.clicked.connect(lambda: self.moved.emit(-1))
        self._next.clicked.connect(lambda: self.moved.emit(+1))
        row = QHBoxLayout()
        row.addWidget(self._count)
        row.addStretch()
        for button in (self._skip, self._back, self._next):
            row.addWidget(button)
        column = QVBoxLayout(self._bubble)
        column.setContentsMargins(16, 14, 16, 12)
        column.addWidget(self._title)
        column.addWidget(self._text)
        column.addLayout(row)
        window.installEventFilter(self)

    def show_stop(self, stop: Stop, target: QWidget, place: int) -> None:
        """Point at a widget."""
        self._target = target
        self._title.setText(stop.title)
        self._text.setText(stop.text)
        self._bubble.setAccessibleName(stop.title)
        self._bubble.setAccessibleDescription(stop.text)
        self._count.setText(f"{place + 1} of {len(STOPS)}")
        self._back.setVisible(place > 0)
        last = place + 1 == len(STOPS)
        self._next.setText("Done" if last else "Next")
        self._skip.setVisible(not last)
        self._place()
        self.show()
        self.raise_()
        self._next.setFocus()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the size of the window."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return super().eventFilter(watched, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape ends the tour, the arrows move."""
        key = event.key()
        if key == Qt.Key.Key_Escape:
            self.skipped.emit()
        elif key == Qt.Key.Key_Right:
            self.moved.emit(+1)
        elif key == Qt.Key.Key_Left:
            self.moved.emit(-1)
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Dim what is not meant."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        everything, hole = QPainterPath(), QPainterPath()
        everything.addRect(QRectF(self.rect()))
        hole.addRoundedRect(QRectF(self._hole()), 8, 8)
        painter.fillPath(everything - hole, QColor(0, 0, 0, 110))
        painter.setPen(QPen(self.palette().highlight().color(), 3))
        painter.drawPath(hole)

    def _hole(self) -> QRect:
        if self._target is None:
            return QRect()
        corner = self._target.mapTo(self.window(), QPoint(0, 0))
        return QRect(corner, self._target.size()).adjusted(3, 3, -3, -3)

    def _place(self) -> None:
        """Put the bubble beside the target, inside the window."""
        self.setGeometry(self.window().rect())
        self._bubble.adjustSize()
        hole, size = self._hole(), self._bubble.size()
        if hole.width() > self.width() // 2:  # a page: into its lower right
            place = QPoint(hole.right() - size.width() - 24, hole.bottom() - size.height() - 24)
            if hole.height() < 2 * size.height():  # a bar: above it
                place = QPoint(hole.left() + 24, hole.top() - size.height() - 16)
        elif hole.center().x() < self.width() // 2:
            place = QPoint(hole.right() + 16, hole.top() + 40)
        else:
            place = QPoint(hole.left() - size.width() - 16, hole.top() + 40)
        x = min(max(8, place.x()), self.width() - size.width() - 8)
        y = min(max(8, place.y()), self.height() - size.height() - 8)
        self._bubble.move(x, y)
        self.update()
