"""Quitting, and going on where the last session stopped."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.models.job_state import JobState
from app.shell.main_window import MainWindow
from app.shell.questions import Choice
from app.views.naming import named

__all__ = ["Closing", "QuitDialog"]

_PATIENCE_MS = 1500  # engines that take longer to stop are spoken of


class Closing(QObject):
    """Lets the window close when its jobs are in safety."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._jobs = window.context.jobs
        self._stopping = False
        self._closed = False
        self._when_done = False
        self._dialog: QDialog | None = None
        self._offers: dict[str, Callable[[], None]] = {}  # run -> what withdraws the question
        window.may_close = self._may_close
        self._jobs.all_closed.connect(self._on_all_closed)
        self._jobs.job_changed.connect(self._on_job)
        self._slow = QTimer(self)
        self._slow.setSingleShot(True)
        self._slow.setInterval(_PATIENCE_MS)
        self._slow.timeout.connect(self._say_that_it_takes_time)
        window.context.session.project_opened.connect(self._offer_later)
        self._offer = QTimer(self)
        self._offer.setSingleShot(True)
        self._offer.timeout.connect(self.offer_interrupted)

    def quit_now(self) -> None:
        """Quit without a question: jobs keep what they have and can be resumed."""
        if not self._stopping:
            self._window.hide()
            self._stop()

    def offer_interrupted(self) -> None:
        """Offer to go on with runs that were interrupted; the latest one of each step."""
        session, latest = self._window.context.session, {}
        for run in session.project.runs:
            latest[run.step] = run
        for run in latest.values():
            if run.state == "interrupted" and self._jobs.can_resume(run.run_id):
                self._offers[run.run_id] = self._window.questions.ask(
                    f"“{run.title}” was interrupted. What it did so far is kept.",
                    [
                        Choice(
                            text="Resume",
                            chosen=lambda r=run: self._resume(r.run_id),  # type: ignore[misc]
                            tooltip="Go on from where it stopped",
                        )
                    ],
                )

    def _resume(self, run_id: str) -> None:
        run = self._window.context.session.run(run_id)
        if run is not None and self._jobs.can_resume(run_id):
            self._jobs.resume_run(run_id)
            self._window.show_step(run.step)

    def _offer_later(self) -> None:
        for withdraw in self._offers.values():
            withdraw()
        self._offers.clear()
        # The session marks runs as interrupted after it said that a project is open.
        self._offer.start(0)

    def _may_close(self) -> bool:
        if self._closed:
            return True
        if self._stopping:
            return False
        if self._jobs.running():
            self._ask()
        else:
            self.quit_now()
        return False

    def _ask(self) -> None:
        earlier = self._window.findChild(QDialog, "quit-dialog")
        if earlier is not None and earlier.isVisible():
            earlier.raise_()
            return
        session = self._window.context.session
        runs = [run.title for job in self._jobs.running() if (run := session.run(job))]
        dialog = QuitDialog(runs or ["A job"], self._window)
        dialog.stop.clicked.connect(self._stop)
        dialog.wait.clicked.connect(self._wait)
        dialog.open()

    def _stop(self) -> None:
        self._stopping = True
        self._window.setEnabled(False)
        self._slow.start()
        self._jobs.shutdown("keep")

    def _wait(self) -> None:
        self._when_done = True
        self._window.jobs_bar.showMessage("The app quits when the jobs are finished.")

    def _on_job(self, job_id: str, _state: JobState) -> None:
        if job_id in self._offers:  # resumed on its page
            self._offers.pop(job_id)()
        if self._when_done and not self._stopping and not self._jobs.running():
            self._stop()

    def _say_that_it_takes_time(self) -> None:
        if self._closed:
            return
        dialog = QDialog(self._window)
        dialog.setObjectName("stopping-dialog")
        dialog.setWindowTitle("Closing")
        words = QLabel("Saving what the jobs have done so far …")
        now = named(QPushButton("Do not wait"), "stopping-now")
        now.setToolTip("What was written before is safe; the last minute of work may be lost")
        now.clicked.connect(lambda: self._jobs.shutdown("kill"))
        row = QHBoxLayout(dialog)
        row.addWidget(words, 1)
        row.addWidget(now)
        self._dialog = dialog
        # A disabled parent would disable the button, too.
        self._window.setEnabled(True)
        dialog.setModal(True)
        dialog.show()

    def _on_all_closed(self) -> None:
        if self._stopping and not self._closed:
            self._slow.stop()
            self._closed = True
            if self._dialog is not None:
                self._dialog.close()
            self._window.close()


class QuitDialog(QDialog):
    """Three plain choices while jobs run."""

    def __init__(self, titles: list[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("quit-dialog")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("A job is running" if len(titles) == 1 else "Jobs are running")
        self.setMinimumWidth(460)
        what = named(QLabel("Still running: " + ", ".join(titles)), "quit-what")
        what.setWordWrap(True)
        font = what.font()
        font.setBold(True)
        what.setFont(font)
        words = QLabel(
            "A job needs the app. If you stop it now, what it did is kept, and the app offers to "
            "resume it when you open this project again."
        )
        words.setWordWrap(True)
        self.stop = named(QPushButton("Stop and resume next time"), "quit-stop")
        self.wait = named(QPushButton("Quit when finished"), "quit-wait")
        stay = named(QPushButton("Do not quit"), "quit-stay")
        stay.setDefault(True)
        row = QHBoxLayout()
        for button in (self.stop, self.wait, stay):
            button.clicked.connect(self.close)
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setSpacing(12)
        column.addWidget(what)
        column.addWidget(words)
        column.addLayout(row)
