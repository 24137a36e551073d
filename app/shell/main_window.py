"""The window: the bundled example as picture and numbers, made by the engine."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QCloseEvent, QPixmap
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.engine_link.client import EngineClient
from app.models.job_state import JobState, reduce_event
from app.shell.picture import Picture
from decode_engine.contract.jobs import ExampleSpec
from decode_engine.contract.messages import AcceptedEvent, Event, FailedEvent, HelloEvent

__all__ = ["MainWindow"]

_JOB = "example"
_SUMMARY = (
    ("n_localizations", "Localizations", "{:,.0f}"),
    ("jaccard", "Found of the true emitters (Jaccard)", "{:.0%}"),
    ("rmse_lateral_nm", "Lateral error", "{:.1f} nm"),
    ("rmse_axial_nm", "Axial error", "{:.1f} nm"),
    ("frames_per_s", "Speed", "{:.1f} frames/s"),
)


class MainWindow(QMainWindow):
    """Runs the example and shows what came out, or what went wrong and what to do."""

    def __init__(self, client: EngineClient, results: Path) -> None:
        super().__init__()
        self._client = client
        self._results = results
        self._state = JobState()
        self._build()
        client.hello.connect(self._on_hello)
        client.job_event.connect(self._on_event)
        client.lost.connect(self._on_lost)
        self._show_state()

    def run_example(self) -> None:
        """Start the example in the engine, unless it runs already."""
        if self._state.phase == "running":
            return
        # Shown before the engine answers: a second click must not submit the job again.
        self._state = reduce_event(self._state, AcceptedEvent())
        self._show_state()
        spec = ExampleSpec(out=str(self._results), overwrite=True)
        self._client.submit(_JOB, spec)

    def _build(self) -> None:
        self.setWindowTitle("Decode Desktop")
        self.resize(1000, 700)
        self._title = QLabel("The bundled example")
        font = self._title.font()
        font.setPointSizeF(font.pointSizeF() * 1.6)
        self._title.setFont(font)
        self._status = QLabel("Starting the engine …")
        self._status.setWordWrap(True)
        self._picture = Picture()
        self._numbers = QLabel()
        self._numbers.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        place = self._bar.sizePolicy()
        place.setRetainSizeWhenHidden(True)  # the button beside it keeps its place and size
        self._bar.setSizePolicy(place)
        self._run = QPushButton("Run the example")
        self._run.setEnabled(False)
        self._run.clicked.connect(self.run_example)
        self._cancel = QPushButton("Cancel")
        self._cancel.clicked.connect(lambda: self._client.cancel(_JOB))
        self._lay_out()

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self._bar, 1)
        buttons.addWidget(self._cancel)
        buttons.addWidget(self._run)
        column = QVBoxLayout()
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(12)
        for widget in (self._title, self._status):
            column.addWidget(widget)
        column.addWidget(self._picture, 1)
        column.addWidget(self._numbers)
        column.addLayout(buttons)
        central = QWidget()
        central.setLayout(column)
        self.setCentralWidget(central)

    def _on_hello(self, hello: HelloEvent) -> None:
        self._status.setText(f"Engine {hello.version} is ready on {', '.join(hello.devices)}.")
        self._run.setEnabled(True)

    def _on_event(self, message: Event) -> None:
        if message.job_id == _JOB:
            self._state = reduce_event(self._state, message.body)
            self._show_state()

    def _on_lost(self, failure: FailedEvent) -> None:
        self._state = reduce_event(self._state, failure)
        self._show_state()
        self._run.setEnabled(False)

    def _show_state(self) -> None:
        state = self._state
        running = state.phase == "running"
        self._bar.setVisible(running)
        self._cancel.setVisible(running)
        self._run.setVisible(not running)
        self._bar.setRange(0, 0 if state.fraction is None else 1000)
        self._bar.setValue(round(1000 * (state.fraction or 0.0)))
        if state.failure is not None:
            self._status.setText(f"{state.failure.message} {state.failure.hint}".strip())
        elif running:
            # The last run's picture must not pass for this one's, least of all if it fails.
            self._picture.set_pixmap(QPixmap())
            self._numbers.clear()
            self._status.setText(state.stage or "Working …")
        elif state.phase == "cancelled":
            self._status.setText("Cancelled. What was done so far is kept.")
        elif state.phase == "completed":
            self._status.setText(f"Done. The results are in {self._results}.")
            self._show_result()

    def _show_result(self) -> None:
        values = self._state.summary
        self._picture.set_pixmap(QPixmap(str(values.get("image", ""))))
        lines = [
            f"{label}: {form.format(value)}"
            for key, label, form in _SUMMARY
            if isinstance(value := values.get(key), (int, float))
        ]
        self._numbers.setText("\n".join(lines))

    def closeEvent(self, event: QCloseEvent) -> None:
        """Take the engine along."""
        self._client.close()
        super().closeEvent(event)
