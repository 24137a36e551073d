"""Settings of the user: theme, engine, device, folders."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence

from PySide6.QtCore import QProcess, QSignalBlocker, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from app.settings import UserSettings
from app.views.naming import named

__all__ = ["SettingsDialog", "command_of", "command_text", "parse_path_map"]

_THEMES = (("As the system", "system"), ("Light", "light"), ("Dark", "dark"))
_DEVICE_WORDS = {"auto": "The fastest there is", "cpu": "Processor (CPU)", "mps": "Apple GPU (mps)"}


class SettingsDialog(QDialog):
    """Shows the settings and hands over what was changed.

    Signals
    -------
    applied : dict
        Names and values of all settings in the dialog.
    """

    applied = Signal(object)

    def __init__(
        self, settings: UserSettings, devices: Sequence[str], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Settings")
        self.setMinimumWidth(560)
        self._build_choices(settings, devices)
        self._build_engine(settings)
        self._wrong = named(QLabel(), "settings-wrong")
        self._wrong.setWordWrap(True)
        self._wrong.hide()
        box = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(box.Ok | box.Cancel)
        named(buttons.button(box.Ok), "settings-ok")
        named(buttons.button(box.Cancel), "settings-cancel")
        buttons.accepted.connect(self._apply)
        buttons.rejected.connect(self.close)
        column = QVBoxLayout(self)
        column.addLayout(self._form())
        column.addWidget(self._wrong)
        column.addStretch()
        column.addWidget(buttons)

    def _build_choices(self, settings: UserSettings, devices: Sequence[str]) -> None:
        self._theme = _combo("settings-theme", _THEMES, settings.theme)
        choices = dict.fromkeys(("auto", *devices, settings.device))
        self._device = _combo(
            "settings-device",
            [(_DEVICE_WORDS.get(d, f"NVIDIA GPU ({d})"), d) for d in choices],
            settings.device,
        )
        self._device.setToolTip("What new projects compute on; each job can choose its own")
        self._cache = named(QLineEdit(settings.cache_folder), "settings-cache")
        self._cache.setPlaceholderText("The app's own folder")
        self._cache.setToolTip(
            "Folder for projects without a name and their previews; needs some GB free. "
            "Takes effect at the next start of the app"
        )

    def _form(self) -> QFormLayout:
        browse = named(QPushButton("Choose…"), "settings-cache-choose")
        browse.clicked.connect(self._choose_cache)
        cache = QHBoxLayout()
        cache.addWidget(self._cache, 1)
        cache.addWidget(browse)
        label = QLabel("Cache &folder")
        label.setBuddy(self._cache)
        form = QFormLayout()
        form.addRow("&Theme", self._theme)
        form.addRow("&Device", self._device)
        form.addRow("Engine", self._own)
        form.addRow("", self._remote)
        form.addRow("Co&mmand", self._command)
        form.addRow("&Paths there", self._paths)
        form.addRow(label, cache)
        return form

    def _build_engine(self, settings: UserSettings) -> None:
        self._own = named(QRadioButton("The app's own, on this computer"), "settings-engine-own")
        self._remote = named(QRadioButton("Another one"), "settings-engine-other")
        self._remote.setToolTip("For example on a computer with a GPU, reached through ssh")
        self._command = named(QLineEdit(command_text(settings.engine_command)), "settings-command")
        self._command.setPlaceholderText("ssh gpu-computer decode-engine serve")
        self._command.setToolTip(
            "Command that starts the engine; it must answer without asking for a password. "
            "Jobs that run go on with the engine they have"
        )
        lines = "\n".join(f"{local} = {remote}" for local, remote in settings.path_map)
        self._paths = named(QPlainTextEdit(lines), "settings-paths")
        self._paths.setPlaceholderText("/Users/me/data = /home/me/data")
        self._paths.setToolTip(
            "One line for each folder that both computers see: its path here = its path there"
        )
        self._paths.setFixedHeight(72)
        self._paths.setTabChangesFocus(True)
        with QSignalBlocker(self._own):
            self._own.setChecked(not settings.engine_command)
        self._remote.setChecked(bool(settings.engine_command))
        self._remote.toggled.connect(self._show_engine)
        self._show_engine(bool(settings.engine_command))

    def _show_engine(self, remote: bool) -> None:
        self._command.setEnabled(remote)
        self._paths.setEnabled(remote)

    def _choose_cache(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Cache folder", self._cache.text())
        if folder:
            self._cache.setText(folder)

    def _apply(self) -> None:
        try:
            command = command_of(self._command.text()) if self._remote.isChecked() else []
            path_map = parse_path_map(self._paths.toPlainText())
            if self._remote.isChecked() and not command:
                raise ValueError("Give the command of the other engine, or choose the app's own.")
        except ValueError as error:
            self._wrong.setText(f"! {error}")
            self._wrong.show()
            return
        self.applied.emit(
            {
                "theme": self._theme.currentData(),
                "device": self._device.currentData(),
                "engine_command": tuple(command),
                "path_map": path_map,
                "cache_folder": self._cache.text().strip(),
            }
        )
        self.close()


def command_text(command: Sequence[str], *, windows: bool = sys.platform == "win32") -> str:
    """Return a command as the user of this system would write it."""
    return subprocess.list2cmdline(command) if windows else shlex.join(command)


def command_of(text: str, *, windows: bool = sys.platform == "win32") -> list[str]:
    """Return the words of a command; the backslashes of a Windows path are not escapes.

    Raises
    ------
    ValueError
        If a quotation is not closed.
    """
    return list(QProcess.splitCommand(text)) if windows else shlex.split(text)


def parse_path_map(text: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of ``local = remote`` lines.

    Raises
    ------
    ValueError
        If a line is no such pair; in words.
    """
    pairs = []
    for line in filter(None, map(str.strip, text.splitlines())):
        local, equals, remote = (part.strip() for part in line.partition("="))
        if not (local and equals and remote):
            raise ValueError(f"{line!r} is not of the form: path here = path there.")
        pairs.append((local, remote))
    return tuple(pairs)


def _combo(name: str, choices: Sequence[tuple[str, str]], current: str) -> QComboBox:
    combo = named(QComboBox(), name)
    for words, value in choices:
        combo.addItem(words, value)
    combo.setCurrentIndex(combo.findData(current))
    return combo
