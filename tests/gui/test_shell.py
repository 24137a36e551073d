"""The window around the pages: steps, keys, menus, help, status, themes, dialogs."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication, QImage, QKeySequence, QPainter, QPalette
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QTextBrowser,
    QToolButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.controllers.page_controller import AppContext
from app.models.problem import Problem
from app.models.steps import STEP_INFO, Step, StepState, StepStatus
from app.shell.about_dialog import CITATION
from app.shell.actions import ACTIONS
from app.shell.commands import Commands
from app.shell.desktop import Desktop
from app.shell.jobs_bar import JobLine, duration_words
from app.shell.marks import draw_mark
from app.shell.settings_dialog import parse_path_map
from app.shell.theme import DARK, LIGHT, Colors, Theme, is_dark, palette_of, status_color
from app.shell.tour import STOPS
from decode_engine.io.resources import resource_path
from tests.gui.shell_parts import make_desktop, plain

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def desktop(qtbot: QtBot, app_context: AppContext, tmp_path: Path) -> Iterator[Desktop]:
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    palette, sheet = application.palette(), application.styleSheet()
    made = make_desktop(app_context, tmp_path)
    made.window.may_close = lambda: True
    qtbot.addWidget(made.window)
    made.begin()
    yield made
    application.setPalette(palette)
    application.setStyleSheet(sheet)


def _find(desktop: Desktop, name: str, kind: type[QWidget] = QPushButton) -> QWidget:
    found = desktop.window.findChild(kind, name)
    assert found is not None, name
    return found


def _press(qtbot: QtBot, desktop: Desktop, name: str) -> None:
    qtbot.mouseClick(_find(desktop, name), LEFT)


# Steps


def test_a_click_on_a_step_shows_its_page(qtbot: QtBot, desktop: Desktop) -> None:
    sidebar = desktop.window.sidebar
    row = list(Step).index(Step.CAMERA)
    place = sidebar.visualItemRect(sidebar.item(row)).center()
    qtbot.mouseClick(sidebar.viewport(), LEFT, pos=place)
    assert desktop.window.current_step is Step.CAMERA
    assert plain(desktop, Step.CAMERA).page.isVisible()
    assert plain(desktop, Step.CAMERA).visits == ["shown"]
    assert desktop.context.session.project.page is Step.CAMERA


def test_arrow_keys_walk_through_the_steps(qtbot: QtBot, desktop: Desktop) -> None:
    qtbot.keyClick(desktop.window.sidebar, Qt.Key.Key_Down)
    qtbot.keyClick(desktop.window.sidebar, Qt.Key.Key_Down)
    assert desktop.window.current_step is Step.CALIBRATION
    assert plain(desktop, Step.MOVIE).visits == ["shown", "left"]


def test_next_and_back_lead_through_all_steps(qtbot: QtBot, desktop: Desktop) -> None:
    assert not _find(desktop, "navigation-back").isVisible()
    for step in list(Step)[1:]:
        _press(qtbot, desktop, "navigation-next")
        assert desktop.window.current_step is step
    assert not _find(desktop, "navigation-next").isVisible()
    for step in reversed(list(Step)[:-1]):
        _press(qtbot, desktop, "navigation-back")
        assert desktop.window.current_step is step


def test_the_bar_says_what_is_missing(desktop: Desktop) -> None:
    desktop.window.show_step(Step.MOVIE)
    words = _find(desktop, "navigation-missing", QLabel)
    assert isinstance(words, QLabel)
    assert words.text() == desktop.context.session.states[Step.MOVIE].reason != ""


def test_marks_differ_by_shape_and_say_it_in_words(desktop: Desktop) -> None:
    sidebar = desktop.window.sidebar
    steps = list(Step)[1:]
    states = {
        step: StepState(status=status, reason=f"because {status.value}")
        for step, status in zip(steps, StepStatus, strict=False)
    }
    sidebar.show_states(states)
    for step, state in states.items():
        item = sidebar.item(list(Step).index(step))
        assert state.status.value in item.toolTip()
        assert state.reason in item.toolTip()
        assert state.status.value in item.data(Qt.ItemDataRole.AccessibleTextRole)
    pictures = [_mark(status) for status in StepStatus]
    for one, other in itertools.combinations(pictures, 2):
        assert one != other


def _mark(status: StepStatus) -> bytes:
    image = QImage(32, 32, QImage.Format.Format_Grayscale8)
    image.fill(255)
    painter = QPainter(image)
    draw_mark(painter, image.rect().toRectF(), status, QColor("black"))
    painter.end()
    return bytes(image.constBits())


def test_a_step_that_is_out_of_date_says_so_on_its_page(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, window = desktop.context.session, desktop.window
    window.show_step(Step.LOCALIZE)
    stale = StepState(status=StepStatus.STALE, reason="The camera was changed.")
    monkeypatch.setattr(session, "_states", {**session.states, Step.LOCALIZE: stale})
    session.states_changed.emit()
    notice = plain(desktop, Step.LOCALIZE).page.findChild(QLabel, "page-notice")
    assert notice is not None
    assert notice.isVisible()
    assert "The camera was changed." in notice.text()
    done = StepState(status=StepStatus.DONE)
    monkeypatch.setattr(session, "_states", {**session.states, Step.LOCALIZE: done})
    session.states_changed.emit()
    assert not notice.isVisible()


def test_a_notice_of_the_page_itself_stays(desktop: Desktop) -> None:
    page = desktop.window.controller(Step.CAMERA).page
    page.show_notice("Values of the file.")
    desktop.context.session.states_changed.emit()
    notice = page.findChild(QLabel, "page-notice")
    assert notice is not None
    assert notice.text() == "Values of the file."


def test_other_pages_are_made_one_by_one_except_the_slow_one(
    qtbot: QtBot, desktop: Desktop
) -> None:
    qtbot.waitUntil(lambda: len(desktop.window.pages_made) == len(Step) - 1)
    assert Step.EXPLORE not in desktop.window.pages_made


def test_line_edits_leave_dropped_files_to_the_window(desktop: Desktop) -> None:
    page = desktop.window.controller(Step.MOVIE).page
    assert all(not edit.acceptDrops() for edit in page.findChildren(QLineEdit))


# Actions


def test_all_actions_lead_somewhere_and_no_key_is_taken_twice() -> None:
    for spec in ACTIONS:
        assert callable(getattr(Commands, spec.callback)), spec.id
        assert spec.tooltip, spec.id
    keys = [QKeySequence(spec.shortcut).toString() for spec in ACTIONS if spec.shortcut]
    assert len(keys) == len(set(keys))
    assert all(keys)


@pytest.mark.parametrize(
    ("key", "step"), [("1", Step.START), ("4", Step.CAMERA), ("0", Step.EXPORT)]
)
def test_keys_lead_to_the_steps(qtbot: QtBot, desktop: Desktop, key: str, step: Step) -> None:
    action = desktop.commands.actions[f"go-{step.value}"]
    assert action.shortcut().toString() == f"Ctrl+{key}"
    desktop.window.show_step(Step.TRAIN)
    action.trigger()
    assert desktop.window.current_step is step


def test_undo_names_what_it_takes_back(desktop: Desktop) -> None:
    session, actions = desktop.context.session, desktop.commands.actions
    assert not actions["undo"].isEnabled()
    session.update("Choose device", localize_device="cpu")
    assert actions["undo"].isEnabled()
    assert actions["undo"].text() == "&Undo Choose device"
    actions["undo"].trigger()
    assert session.settings.localize_device == "auto"
    assert actions["redo"].text() == "&Redo Choose device"
    actions["redo"].trigger()
    assert session.settings.localize_device == "cpu"


def test_f1_hides_and_shows_the_help_and_it_is_remembered(desktop: Desktop) -> None:
    panel = _find(desktop, "help-panel", QWidget)
    action = desktop.commands.actions["help-panel"]
    action.trigger()
    assert panel.isVisible()
    assert desktop.context.settings.value.help_visible is True
    action.trigger()
    assert not panel.isVisible()
    assert not action.isChecked()
    assert desktop.context.settings.value.help_visible is False


def test_the_help_waits_for_a_wide_window_until_the_user_has_chosen(desktop: Desktop) -> None:
    window, panel = desktop.window, _find(desktop, "help-panel", QWidget)
    window.resize(1280, 700)
    assert not panel.isVisible()
    window.resize(1500, 700)
    assert panel.isVisible()
    assert desktop.commands.actions["help-panel"].isChecked()
    desktop.commands.toggle_help()
    window.resize(1600, 700)
    assert not panel.isVisible()


def test_each_page_has_a_button_for_its_help(qtbot: QtBot, desktop: Desktop) -> None:
    desktop.window.show_step(Step.MOVIE)
    button = desktop.window.current_page.findChild(QToolButton, "page-help")
    assert button is not None
    assert button.isVisible()
    qtbot.mouseClick(button, LEFT)
    assert _find(desktop, "help-panel", QWidget).isVisible()
    assert not button.isVisible()  # the panel has its own cross


def test_the_help_can_be_closed_by_its_cross(qtbot: QtBot, desktop: Desktop) -> None:
    desktop.commands.toggle_help()
    qtbot.mouseClick(_find(desktop, "help-close", QToolButton), LEFT)
    assert not _find(desktop, "help-panel", QWidget).isVisible()
    assert not desktop.commands.actions["help-panel"].isChecked()


@pytest.mark.parametrize("step", list(Step))
def test_each_page_has_its_help(desktop: Desktop, step: Step) -> None:
    text = resource_path("help", STEP_INFO[step].help_file).read_text(encoding="utf-8")
    assert "What this" in text
    assert 60 < len(text.split()) < 260
    desktop.window.show_step(step)
    browser = _find(desktop, "help-text", QTextBrowser)
    assert isinstance(browser, QTextBrowser)
    assert browser.toPlainText()[:20] == text.replace("*", "")[:20]


# Status bar


def test_a_job_is_shown_and_leads_to_its_page(qtbot: QtBot, desktop: Desktop) -> None:
    bar = desktop.window.jobs_bar
    bar.show_jobs(
        [JobLine(job_id="t", step=Step.TRAIN, title="Training", fraction=0.424, eta_s=130)]
    )
    button = _find(desktop, "status-job-0", QToolButton)
    assert isinstance(button, QToolButton)
    assert button.text().endswith("Training · 42% · 2 min left")
    qtbot.mouseClick(button, LEFT)
    assert desktop.window.current_step is Step.TRAIN
    bar.show_jobs([])
    assert not button.isVisible()


def test_more_jobs_than_fit_are_counted(desktop: Desktop) -> None:
    line = JobLine(job_id="t", step=Step.TRAIN, title="T", fraction=None, eta_s=None)
    desktop.window.jobs_bar.show_jobs([line] * 5)
    more = _find(desktop, "status-more", QLabel)
    assert isinstance(more, QLabel)
    assert more.text() == "and 2 more"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (59.4, "59 s"), (60, "1 min"), (3599, "1 h"), (7800, "2 h 10 min")],
)
def test_durations_are_said_plainly(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


def test_the_engine_and_its_device_are_named(qtbot: QtBot, desktop: Desktop) -> None:
    engine = _find(desktop, "status-engine", QLabel)
    device = _find(desktop, "status-device", QLabel)
    assert isinstance(engine, QLabel)
    assert isinstance(device, QLabel)
    assert "starting" in engine.text()
    with qtbot.waitSignal(desktop.context.jobs.devices_changed, timeout=20_000):
        desktop.context.jobs.start()
    assert engine.text() == "Engine: ready"
    assert device.text() == "Processor (CPU)"
    problem = Problem(message="It crashed.", hint="Start it again.")
    desktop.context.jobs.engine_changed.emit(problem)
    assert "not there" in engine.text()
    assert "It crashed. Start it again." in engine.toolTip()


# Themes


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_enough_contrast(colors: Colors) -> None:
    """WCAG 2.1: 4.5:1 for text, 3:1 for marks."""
    grounds = (colors.window, colors.base, colors.alternate, colors.button)
    for ground in grounds:
        for name in ("text", "muted", "link", "attention", "done", "stale"):
            assert _contrast(getattr(colors, name), ground) >= 4.5, (name, ground)
        assert _contrast(colors.accent, ground) >= 3.0, ground
    assert _contrast(colors.on_accent, colors.accent) >= 4.5


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(name: str) -> float:
    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    color = QColor(name)
    red, green, blue = map(linear, (color.redF(), color.greenF(), color.blueF()))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_themes_change_at_once_and_are_remembered(desktop: Desktop) -> None:
    desktop.commands.actions["theme-dark"].trigger()
    assert is_dark(desktop.window.palette())
    assert desktop.context.settings.value.theme == "dark"
    desktop.commands.actions["theme-light"].trigger()
    assert not is_dark(desktop.window.palette())
    assert desktop.commands.actions["theme-light"].isChecked()
    assert not desktop.commands.actions["theme-dark"].isChecked()


def test_marks_follow_the_theme() -> None:
    light, dark = palette_of(LIGHT), palette_of(DARK)
    for status in StepStatus:
        assert status_color(status, light) != status_color(status, dark)


def test_the_theme_tells_who_follows_it(qtbot: QtBot, desktop: Desktop) -> None:
    theme = desktop.findChild(Theme)
    assert theme is not None
    with qtbot.waitSignal(theme.changed):
        theme.apply("dark")
    assert desktop.window.palette().color(QPalette.ColorRole.Base) == QColor(DARK.base)


def test_the_system_is_followed_only_where_asked_to(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    theme = desktop.findChild(Theme)
    assert theme is not None
    theme.apply("system")
    monkeypatch.setattr(Theme, "_system_is_dark", lambda _self: True)
    hints = QGuiApplication.styleHints()
    hints.colorSchemeChanged.emit(Qt.ColorScheme.Dark)
    assert is_dark(desktop.window.palette())
    theme.apply("light")
    hints.colorSchemeChanged.emit(Qt.ColorScheme.Dark)
    assert not is_dark(desktop.window.palette())


# Dialogs


def test_settings_are_applied(qtbot: QtBot, desktop: Desktop) -> None:
    desktop.commands.show_settings()
    theme = _find(desktop, "settings-theme", QComboBox)
    command = _find(desktop, "settings-command", QLineEdit)
    assert isinstance(theme, QComboBox)
    assert isinstance(command, QLineEdit)
    theme.setCurrentIndex(theme.findData("dark"))
    command.setText('ssh "gpu box" decode-engine serve')
    _press(qtbot, desktop, "settings-ok")
    value = desktop.context.settings.value
    assert value.theme == "dark"
    assert value.engine_command == ("ssh", "gpu box", "decode-engine", "serve")
    assert is_dark(desktop.window.palette())


def test_wrong_settings_are_refused_with_a_reason(qtbot: QtBot, desktop: Desktop) -> None:
    before = desktop.context.settings.value
    desktop.commands.show_settings()
    command = _find(desktop, "settings-command", QLineEdit)
    assert isinstance(command, QLineEdit)
    command.clear()
    _press(qtbot, desktop, "settings-ok")
    wrong = _find(desktop, "settings-wrong", QLabel)
    assert isinstance(wrong, QLabel)
    assert wrong.isVisible()
    assert "command" in wrong.text()
    _press(qtbot, desktop, "settings-cancel")
    assert desktop.context.settings.value == before


def test_lines_of_the_path_map_are_pairs() -> None:
    assert parse_path_map("/a = /b\n\n C:/x = /y ") == (("/a", "/b"), ("C:/x", "/y"))
    with pytest.raises(ValueError, match="only one"):
        parse_path_map("only one")


def test_the_citation_goes_to_the_clipboard(qtbot: QtBot, desktop: Desktop) -> None:
    desktop.commands.show_about()
    _press(qtbot, desktop, "about-copy-citation")
    assert QGuiApplication.clipboard().text() == CITATION
    for name, word in (("about-licence", "BSD"), ("about-third-party", "PySide6")):
        browser = _find(desktop, name, QTextBrowser)
        assert isinstance(browser, QTextBrowser)
        assert word in browser.toPlainText()


def test_a_dialog_opens_once_and_is_gone_when_closed(qtbot: QtBot, desktop: Desktop) -> None:
    desktop.commands.show_shortcuts()
    desktop.commands.show_shortcuts()
    assert len(desktop.window.findChildren(QDialog, "shortcuts-dialog")) == 1
    _press(qtbot, desktop, "shortcuts-close")
    qtbot.waitUntil(lambda: not desktop.window.findChildren(QDialog, "shortcuts-dialog"))


# Tour


def test_the_tour_leads_through_the_window_and_is_remembered(
    qtbot: QtBot, desktop: Desktop
) -> None:
    desktop.context.settings.update(tour_seen=False)
    desktop.commands.actions["tour"].trigger()
    for stop in STOPS:
        title = _find(desktop, "tour-title", QLabel)
        assert isinstance(title, QLabel)
        assert title.text() == stop.title
        assert desktop.window.current_step is stop.step
        bubble = _find(desktop, "tour-bubble", QWidget)
        assert desktop.window.rect().contains(bubble.geometry())
        _press(qtbot, desktop, "tour-next")
    assert not desktop.commands.tour.running
    assert desktop.context.settings.value.tour_seen


def test_escape_ends_the_tour_and_arrows_move_it(qtbot: QtBot, desktop: Desktop) -> None:
    desktop.commands.tour.start()
    overlay = _find(desktop, "tour", QWidget)
    qtbot.keyClick(overlay, Qt.Key.Key_Right)
    assert desktop.window.current_step is STOPS[1].step
    qtbot.keyClick(overlay, Qt.Key.Key_Left)
    assert desktop.window.current_step is STOPS[0].step
    qtbot.keyClick(overlay, Qt.Key.Key_Escape)
    assert not desktop.commands.tour.running


# What earlier faults taught


def test_the_window_is_free_of_torch() -> None:
    code = (
        "import sys, app.shell.application, app.shell.pages; "
        "sys.exit('torch' in sys.modules or 'vispy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class _Emitter(QObject):
    tick = Signal(object)


def test_many_signals_do_not_kill_the_interpreter(qtbot: QtBot) -> None:
    """Regression: PySide6 6.12 loses a reference per emit on Python 3.11 and aborts."""
    emitter = _Emitter()
    count = 0

    def receive(_value: object) -> None:
        nonlocal count
        count += 1

    emitter.tick.connect(receive)
    for _ in range(200_000):
        emitter.tick.emit(True)
    assert count == 200_000
