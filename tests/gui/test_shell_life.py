"""Bad luck: errors of the app itself, hard crashes, quitting while jobs run, the log."""

from __future__ import annotations

import faulthandler
import logging
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, qInstallMessageHandler, qWarning
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QFileDialog, QLabel, QPlainTextEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from app.controllers.page_controller import AppContext
from app.controllers.session import ProjectSession
from app.main import main
from app.models.project import RunRecord
from app.models.steps import Step
from app.settings import SettingsStore
from app.shell.crash import CrashGuard, SessionMark
from app.shell.desktop import Desktop
from app.shell.diagnostics import Diagnostics, diagnostics_text, hide_user
from app.shell.logs import LogBuffer, install_qt_handler, write_to_file
from app.shell.questions import Choice, Questions
from tests.gui.engines import scripted_command
from tests.gui.shell_parts import make_desktop

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def open_desktop(
    qtbot: QtBot, make_context: Callable[..., AppContext], tmp_path: Path
) -> Callable[..., Desktop]:
    def open_one(behaviour: str = "complete") -> Desktop:
        desktop = make_desktop(make_context(behaviour), tmp_path)
        qtbot.addWidget(desktop.window)
        desktop.begin()
        return desktop

    return open_one


def _press(qtbot: QtBot, desktop: Desktop, name: str) -> None:
    button = desktop.window.findChild(QPushButton, name)
    assert button is not None, name
    qtbot.mouseClick(button, LEFT)


def _run_example(qtbot: QtBot, desktop: Desktop) -> str:
    desktop.start_controller.start_example()
    qtbot.waitUntil(lambda: bool(desktop.context.jobs.running()), timeout=30_000)
    run_id = desktop.context.jobs.running()[0]
    qtbot.waitUntil(
        lambda: (
            desktop.context.jobs.state(run_id).phase == "running"
            and desktop.context.jobs.state(run_id).fraction is not None
        ),
        timeout=30_000,
    )
    return run_id


# Quitting


def test_without_jobs_the_window_closes(qtbot: QtBot, open_desktop: Callable[..., Desktop]) -> None:
    desktop = open_desktop()
    with qtbot.waitSignal(desktop.window.closed, timeout=20_000):
        desktop.commands.actions["quit"].trigger()
    assert desktop.context.settings.value.window_geometry


def test_quitting_during_a_fit_asks_and_can_be_taken_back(
    qtbot: QtBot, open_desktop: Callable[..., Desktop]
) -> None:
    desktop = open_desktop("wait")
    _run_example(qtbot, desktop)
    desktop.window.close()
    desktop.window.close()
    assert len(desktop.window.findChildren(QDialog, "quit-dialog")) == 1
    what = desktop.window.findChild(QLabel, "quit-what")
    assert what is not None
    assert "Localize the example movie" in what.text()
    _press(qtbot, desktop, "quit-stay")
    assert desktop.window.isVisible()
    assert desktop.context.jobs.running()


def test_a_fit_is_stopped_and_offered_again(
    qtbot: QtBot, open_desktop: Callable[..., Desktop]
) -> None:
    desktop = open_desktop("wait")
    run_id = _run_example(qtbot, desktop)
    folder = desktop.context.session.folder
    desktop.window.close()
    with qtbot.waitSignal(desktop.window.closed, timeout=30_000):
        _press(qtbot, desktop, "quit-stop")
    run = desktop.context.session.run(run_id)
    assert run is not None
    assert run.state == "interrupted"
    desktop.context.session.close()

    again = open_desktop()
    again.projects.open_folder(folder)
    qtbot.waitUntil(again.window.questions.isVisible, timeout=20_000)
    text = again.window.findChild(QLabel, "question-text")
    assert text is not None
    assert "interrupted" in text.text()
    assert again.context.session.close_project() is None
    assert not again.window.questions.isVisible()
    again.projects.open_folder(folder)
    qtbot.waitUntil(again.window.questions.isVisible, timeout=20_000)
    _press(qtbot, again, "question-0")
    assert again.window.current_step is Step.LOCALIZE
    qtbot.waitUntil(
        lambda: (r := again.context.session.run(run_id)) is not None and r.state == "completed",
        timeout=30_000,
    )
    again.window.may_close = lambda: True


def test_the_app_can_quit_when_the_jobs_are_finished(
    qtbot: QtBot, open_desktop: Callable[..., Desktop]
) -> None:
    desktop = open_desktop("slow")
    run_id = _run_example(qtbot, desktop)
    desktop.window.close()
    with qtbot.waitSignal(desktop.window.closed, timeout=60_000):
        _press(qtbot, desktop, "quit-wait")
    run = desktop.context.session.run(run_id)
    assert run is not None
    assert run.state == "completed"


def test_the_window_comes_back_as_it_was(
    qtbot: QtBot, open_desktop: Callable[..., Desktop]
) -> None:
    first = open_desktop()
    first.window.resize(900, 650)  # the offscreen screen is small
    first.commands.toggle_help()
    with qtbot.waitSignal(first.window.closed, timeout=20_000):
        first.window.close()
    second = open_desktop()
    assert second.window.size() == first.window.size()
    panel = second.window.findChild(QWidget, "help-panel")
    assert panel is not None
    assert panel.isVisible()  # although so narrow a window shows none by itself
    second.window.may_close = lambda: True


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without asking")
def test_a_whole_life_from_start_to_a_polite_end(tmp_path: Path) -> None:
    made = ProjectSession()
    assert made.new(tmp_path / "Actin") is None
    made.set_page(Step.CAMERA)
    made.close()
    settings = tmp_path / "config" / "Decode Desktop" / "settings.json"
    SettingsStore(settings).update(engine_command=scripted_command(), tour_seen=True)
    code = (
        "import os, signal, sys; from app.shell.desktop import Desktop\n"
        "from PySide6.QtCore import QTimer\n"
        "begin = Desktop.begin\n"
        "def watch(self, *a, **k):\n"
        "    begin(self, *a, **k)\n"
        "    self.window.step_shown.connect(lambda step: print(step.value))\n"
        "    self.window.step_shown.connect(lambda step: os.kill(os.getpid(), signal.SIGTERM))\n"
        "Desktop.begin = watch\n"
        "import app.main; sys.exit(app.main.main(sys.argv[1:]))"
    )
    folders = {"XDG_CONFIG_HOME": str(settings.parents[1]), "XDG_DATA_HOME": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "Actin")],
        env={**os.environ, **folders},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["camera"]), done.stderr
    recent = SettingsStore(settings).value.recent_projects
    assert recent == (str(tmp_path / "Actin"),)
    assert not list((tmp_path / "data").rglob("session-*"))
    log = next((tmp_path / "data").rglob("decode-desktop.log")).read_text()
    assert "WARNING" not in log
    assert "ERROR" not in log


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("Decode Desktop ")


def test_a_frozen_app_becomes_an_engine_without_qt(tmp_path: Path) -> None:
    """The engine ends when its input does; Qt in it would cost memory and a second dock icon."""
    code = (
        "import sys, app.main\n"
        "sys.modules['decode_engine.__main__'] = fake = type(sys)('fake')\n"
        "fake.main = lambda words: 7 if words == ['serve'] else 1\n"
        "code = app.main.main(['serve'])\n"
        "sys.exit(code if 'PySide6' not in sys.modules else 2)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


# Errors of the app


def _raise() -> tuple[type[BaseException], BaseException, object]:
    try:
        raise ValueError("a slip of ours")
    except ValueError as error:
        return type(error), error, error.__traceback__


@pytest.mark.expects_warnings
def test_an_error_of_the_app_saves_and_is_told_once_in_words(
    qtbot: QtBot, open_desktop: Callable[..., Desktop]
) -> None:
    desktop = open_desktop()
    session = desktop.context.session
    session.update("Choose device", localize_device="cpu")
    guard = CrashGuard(session.emergency_save, desktop)
    guard.caught.connect(lambda what: desktop.report_crash(what, guard.saved_in))
    raised = _raise()
    for _ in range(3):
        guard.handle(*raised)  # type: ignore[arg-type]
    qtbot.waitUntil(lambda: bool(desktop.window.findChildren(QDialog, "crash-dialog")))
    assert len(desktop.window.findChildren(QDialog, "crash-dialog")) == 1
    assert '"localize_device": "cpu"' in (session.folder / "project.json").read_text()
    words = desktop.window.findChild(QLabel, "crash-words")
    assert words is not None
    assert str(session.folder) in words.text()
    assert "Traceback" not in words.text()
    _press(qtbot, desktop, "crash-copy")
    assert "Decode Desktop diagnostics" in QGuiApplication.clipboard().text()
    _press(qtbot, desktop, "crash-continue")
    assert desktop.window.isVisible()
    desktop.window.may_close = lambda: True


@pytest.mark.expects_warnings
def test_an_error_in_a_thread_is_told_in_the_windows_thread(qtbot: QtBot) -> None:
    guard = CrashGuard(lambda: None)
    told: list[int] = []
    guard.caught.connect(lambda _what: told.append(threading.get_ident()))
    raised = _raise()
    thread = threading.Thread(target=lambda: guard.handle(*raised))  # type: ignore[arg-type]
    thread.start()
    thread.join()
    qtbot.waitUntil(lambda: bool(told))
    assert told == [threading.get_ident()]


@pytest.fixture
def _pytests_own_fault_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pytest's own; there is only one in a process."""
    monkeypatch.setattr(faulthandler, "enable", lambda _file: None)
    monkeypatch.setattr(faulthandler, "disable", lambda: None)


@pytest.mark.usefixtures("_pytests_own_fault_handler")
def test_a_hard_crash_is_noticed_at_the_next_start(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, app.shell.crash as c\n"
        f"c.SessionMark(pathlib.Path({str(tmp_path)!r})).begin()\n"
        "os.abort()"
    )
    subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL)
    first, second = SessionMark(tmp_path), SessionMark(tmp_path)
    words = first.begin()
    first.end()
    assert words is not None
    assert "Aborted" in words
    assert second.begin() is None
    second.end()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_pytests_own_fault_handler")
def test_a_session_that_still_runs_is_no_crash(tmp_path: Path) -> None:
    first, second = SessionMark(tmp_path), SessionMark(tmp_path)
    assert first.begin() is None
    second._name = "session-other"
    assert second.begin() is None
    second.end()
    first.end()
    assert list(tmp_path.iterdir()) == []


def test_the_next_start_offers_the_diagnostics(
    qtbot: QtBot, open_desktop: Callable[..., Desktop]
) -> None:
    desktop = open_desktop()
    desktop.report_hard_crash("Fatal Python error: Aborted")
    assert desktop.window.questions.isVisible()
    _press(qtbot, desktop, "question-0")
    assert "last session: Fatal Python error" in QGuiApplication.clipboard().text()
    desktop.window.may_close = lambda: True


def test_questions_wait_for_each_other(qtbot: QtBot) -> None:
    questions, answers = Questions(), list[int]()
    qtbot.addWidget(questions)
    for number in range(3):
        yes = Choice(text="Yes", chosen=lambda n=number: answers.append(n))  # type: ignore[misc]
        questions.ask(f"Question {number}?", [yes])
    questions.show()

    def shown() -> list[str]:
        labels = questions.findChildren(QLabel, "question-text")
        return [label.text() for label in labels if label.isVisible()]

    assert shown() == ["Question 0?", "Question 1?"]
    second = questions.findChildren(QPushButton, "question-0")[1]
    qtbot.mouseClick(second, LEFT)
    assert answers == [1]
    assert shown() == ["Question 0?", "Question 2?"]
    for button in questions.findChildren(QPushButton, "question-1"):
        qtbot.mouseClick(button, LEFT)
    assert answers == [1]
    assert not questions.isVisible()


def test_damaged_settings_are_told_and_the_window_opens(
    qtbot: QtBot, make_context: Callable[..., AppContext], tmp_path: Path
) -> None:
    context = make_context()
    path = tmp_path / "bad" / "settings.json"
    path.parent.mkdir()
    path.write_text("{ no")
    desktop = make_desktop(
        AppContext(
            session=context.session,
            jobs=context.jobs,
            background=context.background,
            settings=SettingsStore(path),
        ),
        tmp_path,
    )
    qtbot.addWidget(desktop.window)
    desktop.begin()
    card = desktop.window.findChild(QWidget, "problem-card")
    assert card is not None
    assert card.isVisible()
    desktop.window.may_close = lambda: True


# Log and diagnostics


def test_the_log_window_grows(qtbot: QtBot, open_desktop: Callable[..., Desktop]) -> None:
    desktop = open_desktop()
    desktop._log.add("first line")
    desktop.commands.show_log()
    desktop._log.add("second line")
    text = desktop.window.findChild(QPlainTextEdit, "log-text")
    assert text is not None
    assert text.toPlainText() == "first line\nsecond line"
    _press(qtbot, desktop, "log-close")
    desktop._log.add("third line")
    desktop.window.may_close = lambda: True


def test_what_python_logs_is_kept() -> None:
    buffer = LogBuffer()
    buffer.install()
    try:
        logging.getLogger("some.part").info("something happened")
    finally:
        buffer.remove()
    assert "INFO    some.part: something happened" in buffer.lines()[-1]


def test_a_log_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert write_to_file(tmp_path / "file" / "x.log") is None


def test_diagnostics_name_versions_and_outcomes_but_not_the_user(tmp_path: Path) -> None:
    run = RunRecord(
        run_id="train-001", step=Step.TRAIN, title="My secret protein", created="", state="failed",
        spec={"calibration": "/data/secret.h5"},
        failure={"code": "disk_full", "message": f"{Path.home()}/x is full"},
    )  # fmt: skip

    def broken() -> str:
        raise RuntimeError("driver")

    facts = Diagnostics(
        engine={"version": "1"}, runs=[run], log=[f"line {n}" for n in range(300)], graphics=broken
    )
    text = diagnostics_text(facts)
    assert "train-001 (train): failed: disk_full ~/x is full" in text
    assert "secret" not in text
    assert "line 99" not in text
    assert "line 299" in text
    assert "could not be asked" in text
    assert "torch: " in text


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("/home/marie/data/x.tif", "~/data/x.tif"),
        ("/media/marie/disk", "/media/~/disk"),
        ("marie said", "marie said"),
        ("nothing here", "nothing here"),
    ],
)
def test_the_user_is_hidden_in_paths(text: str, hidden: str) -> None:
    assert hide_user(text, Path("/home/marie")) == hidden


def test_diagnostics_are_saved_as_zip(
    qtbot: QtBot,
    open_desktop: Callable[..., Desktop],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desktop = open_desktop()
    target = tmp_path / "report.zip"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    desktop.commands.save_diagnostics()
    qtbot.waitUntil(target.is_file)
    qtbot.waitUntil(lambda: not desktop.context.background.busy)
    with zipfile.ZipFile(target) as archive:
        assert b"## Versions" in archive.read("diagnostics.txt")
    desktop.window.may_close = lambda: True


@pytest.mark.expects_warnings
def test_the_project_is_saved_when_the_display_is_lost() -> None:
    """Regression: Qt ends the process at once then; what was changed last was lost."""
    saved: list[str] = []
    before = qInstallMessageHandler(None)
    try:
        install_qt_handler(lambda: saved.append("saved"))
        qWarning("something else")
        assert not saved
        qWarning("The X11 connection broke (error 1). Did the X11 server die?")
    finally:
        qInstallMessageHandler(before)
    assert saved == ["saved"]
