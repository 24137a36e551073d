"""The list of steps with their marks."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import (
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QRectF,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QFocusEvent, QFont, QKeyEvent, QPainter, QPalette, QPen
from PySide6.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from app.models.steps import STEP_INFO, Step, StepState, StepStatus
from app.shell.marks import draw_house, draw_mark
from app.shell.theme import status_color

__all__ = ["Sidebar"]

_STATE = Qt.ItemDataRole.UserRole
_WIDTH_PX = 156
_ROW_PX = 46
_MARK_PX = 16
_TURN_MS = 120
_BY_KEYBOARD = (
    Qt.FocusReason.TabFocusReason,
    Qt.FocusReason.BacktabFocusReason,
    Qt.FocusReason.ShortcutFocusReason,
)


class Sidebar(QListWidget):
    """Shows the steps; the current one is the page that is shown.

    Signals
    -------
    step_chosen : Step
        The user chose a step by mouse or keyboard.
    """

    step_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("sidebar")
        self.setAccessibleName("Steps")
        self.setFixedWidth(_WIDTH_PX)
        self.setViewportMargins(0, 6, 0, 0)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self._delegate = _StepDelegate(self)
        self.setItemDelegate(self._delegate)
        for step in Step:
            item = QListWidgetItem(STEP_INFO[step].title)
            item.setSizeHint(QSize(_WIDTH_PX, _ROW_PX))
            self.addItem(item)
        self._turning = QTimer(self)
        self._turning.setInterval(_TURN_MS)
        self._turning.timeout.connect(self._turn)
        self._quiet = False
        self.show_states({})
        self.currentRowChanged.connect(self._on_row)

    def show_states(self, states: Mapping[Step, StepState]) -> None:
        """Show the marks."""
        for row, step in enumerate(Step):
            state = states.get(step, StepState())
            item = self.item(row)
            item.setData(_STATE, state)
            words = f"{STEP_INFO[step].title}: {state.status.value}"
            if step is Step.START:
                words = STEP_INFO[step].title
            reason = f"\n{state.reason}" if state.reason else ""
            item.setToolTip(words + (reason or f"\n{STEP_INFO[step].subtitle}"))
            item.setData(Qt.ItemDataRole.AccessibleTextRole, words)
            item.setData(Qt.ItemDataRole.AccessibleDescriptionRole, state.reason)
        running = any(s.status is StepStatus.RUNNING for s in states.values())
        if running and not self._turning.isActive():
            self._turning.start()
        elif not running:
            self._turning.stop()

    def show_current(self, step: Step) -> None:
        """Mark the step whose page is shown, without asking for it."""
        self._quiet = True
        self.setCurrentRow(list(Step).index(step))
        self._quiet = False

    def state_of(self, step: Step) -> StepState:
        """Return the state that is shown beside a step."""
        state: StepState = self.item(list(Step).index(step)).data(_STATE)
        return state

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show where the keyboard is once it is used; a click shows it anyway."""
        self._delegate.ring = event.reason() in _BY_KEYBOARD
        super().focusInEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Show where the keyboard is."""
        self._delegate.ring = True
        self.viewport().update()
        super().keyPressEvent(event)

    def _on_row(self, row: int) -> None:
        if row >= 0 and not self._quiet:
            self.step_chosen.emit(list(Step)[row])

    def _turn(self) -> None:
        self._delegate.turn = (self._delegate.turn + 30) % 360
        for row, step in enumerate(Step):
            if self.state_of(step).status is StepStatus.RUNNING:
                self.viewport().update(self.visualItemRect(self.item(row)))


class _StepDelegate(QStyledItemDelegate):
    """Mark, name, and the status in a word under it."""

    turn = 0.0
    ring = False  # around the step that has the keyboard

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        """Draw one step."""
        rect: QRect = option.rect
        palette: QPalette = option.palette
        flags: QStyle.StateFlag = option.state
        state: StepState = index.data(_STATE)
        step = list(Step)[index.row()]
        chosen = bool(flags & QStyle.StateFlag.State_Selected)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        row = QRectF(rect.adjusted(6, 2, -6, -2))
        if chosen or flags & QStyle.StateFlag.State_MouseOver:
            role = QPalette.ColorRole.Highlight if chosen else QPalette.ColorRole.Midlight
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(palette.color(role))
            painter.drawRoundedRect(row, 6, 6)
        if self.ring and flags & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QPen(palette.color(QPalette.ColorRole.WindowText), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(row.adjusted(1, 1, -1, -1), 5, 5)
        text = QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.WindowText
        color = palette.color(text)
        box = QRectF(row.left() + 10, row.center().y() - _MARK_PX / 2, _MARK_PX, _MARK_PX)
        if step is Step.START:
            draw_house(painter, box, color)
        else:
            mark = color if chosen else status_color(state.status, palette)
            draw_mark(painter, box, state.status, mark, self.turn)
        painter.setPen(color)
        shown = state if step is not Step.START else StepState()
        self._draw_words(painter, row.adjusted(38, 5, -6, -5), index, shown)
        painter.restore()

    def _draw_words(
        self,
        painter: QPainter,
        box: QRectF,
        index: QModelIndex | QPersistentModelIndex,
        state: StepState,
    ) -> None:
        quiet = state.status is StepStatus.NOT_YET
        font = QFont(painter.font())
        font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        vertical = Qt.AlignmentFlag.AlignVCenter if quiet else Qt.AlignmentFlag.AlignTop
        painter.drawText(box, vertical | Qt.AlignmentFlag.AlignLeft, str(index.data()))
        if not quiet:
            font.setWeight(QFont.Weight.Normal)
            font.setPointSizeF(font.pointSizeF() * 0.85)
            painter.setFont(font)
            place = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft
            painter.drawText(box, place, state.status.value)
