"""Light and dark: Fusion with palettes of our own, so that all systems look and test alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

from app.models.steps import StepStatus
from decode_engine.errors import InputError
from decode_engine.io.resources import resource_path

__all__ = ["DARK", "LIGHT", "Colors", "Theme", "is_dark", "palette_of", "status_color"]

Mode = Literal["system", "light", "dark"]
_SCHEMES: dict[Mode, Qt.ColorScheme] = {
    "system": Qt.ColorScheme.Unknown,
    "light": Qt.ColorScheme.Light,
    "dark": Qt.ColorScheme.Dark,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Colors:
    """The colours of a theme; the accents are those of Okabe and Ito (colour-blind-safe)."""

    window: str
    base: str
    alternate: str
    button: str
    text: str
    muted: str
    disabled: str
    accent: str
    on_accent: str
    link: str
    line: str
    attention: str
    done: str
    stale: str


LIGHT = Colors(
    window="#f4f5f7", base="#ffffff", alternate="#eceef2", button="#fbfbfc", text="#1c2330",
    muted="#56606f", disabled="#8b93a0", accent="#0068a8", on_accent="#ffffff", link="#005c96",
    line="#c9ced6", attention="#b04a00", done="#00734f", stale="#8a5a00",
)  # fmt: skip
# Fusion draws outlines darker than the window; fields must be told by their lighter ground.
DARK = Colors(
    window="#1c1f23", base="#2a2f36", alternate="#24282e", button="#373d46", text="#e8eaee",
    muted="#a9b1bd", disabled="#7d8591", accent="#56b4e9", on_accent="#0c1116", link="#7cc6f0",
    line="#4d545e", attention="#ff9d5c", done="#3ccb9a", stale="#e6b84a",
)  # fmt: skip

_STYLE = """
QLabel#page-subtitle, QLabel[muted="true"] {{ color: {muted}; }}
QLabel#page-notice {{ background: {alternate}; border-left: 4px solid {stale};
    border-radius: 4px; padding: 6px 10px; }}
QFrame#problem-card {{ background: {base}; border: 1px solid {line};
    border-left: 4px solid {attention}; border-radius: 6px; }}
QGroupBox {{ font-weight: 600; border: 1px solid {line}; border-radius: 8px;
    margin-top: 22px; padding: 2px; }}
QGroupBox::title {{ subcontrol-origin: margin; subcontrol-position: top left;
    left: -3px; padding: 2px 0 0 0; color: {text}; }}
QLabel[drop="true"] {{ color: {muted}; border: 2px dashed {line}; border-radius: 10px;
    padding: 14px; }}
QTabWidget::pane {{ border: 1px solid {line}; border-radius: 6px; background: {window}; }}
QTabBar::tab {{ padding: 5px 11px; color: {muted}; background: transparent;
    border: 1px solid transparent; border-bottom: 2px solid transparent; }}
QTabBar::tab:hover {{ color: {text}; }}
QTabBar::tab:selected {{ color: {text}; border-bottom: 2px solid {accent}; }}
QTabBar::tab:disabled {{ color: {disabled}; }}
QTabBar::tab:selected:focus {{ border: 1px solid {text}; border-bottom: 2px solid {accent}; }}
QFrame[card="true"] {{ background: {base}; border: 1px solid {line}; border-radius: 8px; }}
QListWidget#sidebar {{ background: {alternate}; border: none; outline: none; }}
QWidget#help-panel {{ background: {alternate}; }}
QTextBrowser#help-text {{ background: transparent; border: none; }}
QSplitter#splitter::handle {{ background: {line}; }}
QStatusBar#status-bar {{ border-top: 1px solid {line}; }}
QStatusBar#status-bar::item {{ border: none; }}
QToolButton#page-help {{ background: {button}; border: 1px solid {line}; border-radius: 4px;
    padding: 3px 10px; }}
QToolButton#page-help:hover, QToolButton#page-help:focus {{ border-color: {accent}; }}
QWidget#navigation {{ border-top: 1px solid {line}; }}
QPushButton[primary="true"]:enabled {{ background: {accent}; color: {on_accent};
    border: 1px solid {accent}; border-radius: 4px; padding: 5px 16px; font-weight: 600; }}
QPushButton[primary="true"]:disabled {{ background: {alternate}; color: {disabled};
    border: 1px solid {line}; border-radius: 4px; padding: 5px 16px; }}
QPushButton[primary="true"]:focus {{ border: 2px solid {text}; padding: 4px 15px; }}
QPushButton:flat {{ border: 1px solid transparent; border-radius: 4px; padding: 3px 10px; }}
QPushButton:flat:hover {{ background: {alternate}; }}
QPushButton:flat:focus {{ border: 1px solid {text}; outline: none; }}
QPushButton[way="true"] {{ background: {base}; border: 1px solid {line}; border-radius: 6px; }}
QPushButton[way="true"]:hover, QPushButton[way="true"]:focus {{ border: 1px solid {accent}; }}
QPushButton[way="true"]:checked {{ border: 2px solid {accent}; }}
QPushButton[way="true"]:checked:focus {{ border: 2px solid {text}; }}
QCheckBox::indicator, QRadioButton::indicator {{ width: 14px; height: 14px;
    border: 1px solid {muted}; background: {base}; }}
QCheckBox::indicator {{ border-radius: 3px; }}
QRadioButton::indicator {{ border-radius: 8px; }}
QCheckBox::indicator:hover, QRadioButton::indicator:hover {{ border-color: {accent}; }}
QCheckBox::indicator:checked {{ background: {accent}; border-color: {accent};
    image: url("{check}"); }}
QCheckBox::indicator:indeterminate {{ background: {muted}; }}
QRadioButton::indicator:checked {{ border-color: {accent};
    background: qradialgradient(cx: 0.5, cy: 0.5, radius: 0.5, fx: 0.5, fy: 0.5,
        stop: 0 {accent}, stop: 0.55 {accent}, stop: 0.65 {base}, stop: 1 {base}); }}
QCheckBox::indicator:focus, QRadioButton::indicator:focus {{ border: 2px solid {text}; }}
QCheckBox::indicator:disabled, QRadioButton::indicator:disabled {{ border-color: {line}; }}
QCheckBox::indicator:checked:disabled {{ background: {line}; }}
QToolTip {{ background: {base}; color: {text}; border: 1px solid {line}; padding: 4px; }}
"""


class Theme(QObject):
    """Applies a theme to the application and follows the system's where asked to.

    Signals
    -------
    changed
        The palette is another one; widgets that draw by themselves repaint from it. (Qt also
        sends each widget a ``PaletteChange`` event.)
    """

    changed = Signal()

    def __init__(self, application: QApplication) -> None:
        super().__init__(application)
        self._application = application
        self._mode: Mode = "system"
        application.setStyle("Fusion")
        application.styleHints().colorSchemeChanged.connect(self._follow_system)

    @property
    def mode(self) -> Mode:
        """What was asked for."""
        return self._mode

    def apply(self, mode: Mode) -> None:
        """Show the light or the dark theme, or whichever the system has."""
        self._mode = mode
        # Title bars and dialogs of the system follow this where it can be set.
        self._application.styleHints().setColorScheme(_SCHEMES[mode])
        self._show()

    def _follow_system(self) -> None:
        if self._mode == "system":
            self._show()

    def _show(self) -> None:
        dark = self._mode == "dark" or (self._mode == "system" and self._system_is_dark())
        colors = DARK if dark else LIGHT
        self._application.setPalette(palette_of(colors))
        self._application.setStyleSheet(style_sheet(colors))
        self.changed.emit()

    def _system_is_dark(self) -> bool:
        return self._application.styleHints().colorScheme() == Qt.ColorScheme.Dark


def style_sheet(colors: Colors) -> str:
    """Return the style of headings, cards and the sidebar in these colours."""
    values = {name: getattr(colors, name) for name in Colors.__slots__}
    # Fusion draws the outlines of boxes almost black on a dark window: nobody would see them.
    name = "check-dark.png" if colors is DARK else "check-light.png"
    try:
        check = resource_path("icons", name).as_posix()
    except InputError:
        check = ""
    return _STYLE.format(check=check, **values)


def palette_of(colors: Colors) -> QPalette:
    """Return the palette of a theme."""
    role = QPalette.ColorRole
    palette = QPalette(QColor(colors.button), QColor(colors.window))
    for target, name in (
        (role.Window, colors.window),
        (role.Base, colors.base),
        (role.AlternateBase, colors.alternate),
        (role.Button, colors.button),
        (role.ToolTipBase, colors.base),
        (role.WindowText, colors.text),
        (role.Text, colors.text),
        (role.ButtonText, colors.text),
        (role.ToolTipText, colors.text),
        (role.PlaceholderText, colors.muted),
        (role.BrightText, colors.attention),
        (role.Highlight, colors.accent),
        (role.Accent, colors.accent),
        (role.HighlightedText, colors.on_accent),
        (role.Link, colors.link),
        (role.LinkVisited, colors.link),
        (role.Mid, colors.line),
    ):
        palette.setColor(target, QColor(name))
    for target in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        palette.setColor(QPalette.ColorGroup.Disabled, target, QColor(colors.disabled))
    palette.setColor(QPalette.ColorGroup.Disabled, role.Highlight, QColor(colors.line))
    return palette


def is_dark(palette: QPalette) -> bool:
    """Whether a palette is that of a dark theme."""
    return palette.color(QPalette.ColorRole.Window).lightnessF() < 0.5


def status_color(status: StepStatus, palette: QPalette) -> QColor:
    """Return the colour of a step's mark; the mark's shape says the same without colour."""
    colors = DARK if is_dark(palette) else LIGHT
    return QColor(
        {
            StepStatus.NOT_YET: colors.muted,
            StepStatus.ATTENTION: colors.attention,
            StepStatus.RUNNING: colors.accent,
            StepStatus.DONE: colors.done,
            StepStatus.STALE: colors.stale,
        }[status]
    )
