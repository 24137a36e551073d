"""Versions, licences and how to cite."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTabWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from app.shell.diagnostics import versions
from app.views.naming import named
from decode_engine.errors import InputError
from decode_engine.io.resources import resource_path

__all__ = ["CITATION", "AboutDialog"]

CITATION = (
    "Speiser, A., Müller, L.-R., Hoess, P., Matti, U., Obara, C. J., Legant, W. R., Kreshuk, A., "
    "Macke, J. H., Ries, J. & Turaga, S. C. Deep learning enables fast and dense single-molecule "
    "localization with high accuracy. Nature Methods 18, 1082–1090 (2021). "
    "https://doi.org/10.1038/s41592-021-01236-x"
)


class AboutDialog(QDialog):
    """Says what this is, whose work it stands on, and how to cite it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("About Decode Desktop")
        self.resize(640, 520)
        found = versions()
        title = named(QLabel(f"Decode Desktop {found['Decode Desktop']}"), "about-title")
        font = title.font()
        font.setPointSizeF(font.pointSizeF() * 1.6)
        title.setFont(font)
        subtitle = QLabel(
            "Single-molecule localization with DECODE, for people who do not program."
        )
        subtitle.setProperty("muted", True)
        tabs = named(QTabWidget(), "about-tabs")
        tabs.addTab(self._citation(), "How to cite")
        rows = "\n".join(f"| {name} | {version} |" for name, version in found.items())
        tabs.addTab(
            _browser("about-versions", f"| what | version |\n|---|---|\n{rows}"), "Versions"
        )
        tabs.addTab(_browser("about-licence", _file("LICENSE"), plain=True), "Licence")
        tabs.addTab(_browser("about-third-party", _file("THIRD_PARTY.md")), "Other people's work")
        close = named(QPushButton("Close"), "about-close")
        close.clicked.connect(self.close)
        column = QVBoxLayout(self)
        column.setSpacing(10)
        column.addWidget(title)
        column.addWidget(subtitle)
        column.addWidget(tabs, 1)
        column.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)

    def _citation(self) -> QWidget:
        text = named(QLabel(CITATION), "about-citation")
        text.setWordWrap(True)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        why = QLabel("Please cite the method when you publish a result:")
        copy = named(QPushButton("Copy citation"), "about-copy-citation")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(CITATION))
        page = QWidget()
        column = QVBoxLayout(page)
        column.addWidget(why)
        column.addWidget(text)
        row = QHBoxLayout()
        row.addWidget(copy)
        row.addStretch()
        column.addLayout(row)
        column.addStretch()
        return page


def _browser(name: str, text: str, *, plain: bool = False) -> QTextBrowser:
    browser = named(QTextBrowser(), name)
    browser.setOpenExternalLinks(True)
    if plain:
        browser.setPlainText(text)
    else:
        browser.setMarkdown(text)
    return browser


def _file(name: str) -> str:
    """Return a text that ships with the product: beside the resources, or in the source tree."""
    root = Path(__file__).resolve().parents[2] / name
    try:
        path = root if root.is_file() else resource_path(name)
        return path.read_text(encoding="utf-8")
    except (InputError, OSError):
        return f"{name} is missing from this installation."
