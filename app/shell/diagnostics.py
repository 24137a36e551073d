"""What helps to find a fault: versions, system, log and outcomes; never the user's data."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import qVersion
from PySide6.QtGui import QGuiApplication

from app.models.project import RunRecord
from decode_engine.io.atomic import atomic_path

__all__ = ["Diagnostics", "diagnostics_text", "hide_user", "save_diagnostics", "versions"]

_LOG_LINES = 200
_PACKAGES = (
    "PySide6-Essentials", "numpy", "scipy", "h5py", "tifffile", "pydantic", "torch", "numba",
    "pyqtgraph", "vispy",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """What the window knows and puts into the report.

    Attributes
    ----------
    engine : dict
        Facts of the engine's greeting, in words.
    runs : sequence of RunRecord
        The project's runs; only step, state and failure are reported.
    log : sequence of str
        Lines of the log.
    graphics : callable
        Says what draws; asked last, because a broken driver may fail.
    """

    engine: dict[str, str] = field(default_factory=dict)
    runs: Sequence[RunRecord] = ()
    log: Sequence[str] = ()
    graphics: Callable[[], str] = lambda: "not asked"


def versions() -> dict[str, str]:
    """Return the versions of the app and of what it stands on, without importing them."""
    found = {
        "Decode Desktop": _version("decode-desktop"),
        "Python": platform.python_version(),
        "Qt": qVersion(),
    }
    return found | {name: _version(name) for name in _PACKAGES}


def diagnostics_text(facts: Diagnostics) -> str:
    """Return the whole report; the user's name and home folder are left out."""
    lines = ["# Decode Desktop diagnostics", "", "## Versions"]
    lines += [f"{name}: {version}" for name, version in versions().items()]
    lines += ["", "## System", f"system: {platform.platform()}", f"machine: {platform.machine()}"]
    lines += [f"frozen: {getattr(sys, 'frozen', False)}", f"screen: {_screens()}"]
    lines += [f"graphics: {_asked(facts.graphics)}", "", "## Engine"]
    lines += [f"{name}: {value}" for name, value in facts.engine.items()] or ["no engine yet"]
    lines += ["", "## Jobs", *(_outcome(run) for run in facts.runs)]
    lines += ["", f"## Log (last {_LOG_LINES} lines)", *list(facts.log)[-_LOG_LINES:], ""]
    return hide_user("\n".join(lines))


def save_diagnostics(path: Path, text: str, log_files: Sequence[Path] = ()) -> None:
    """Write the report and the log files as a ZIP.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with (
        atomic_path(path, overwrite=True) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.writestr("diagnostics.txt", text)
        for file in log_files:
            if file.is_file():
                content = file.read_text(encoding="utf-8", errors="replace")
                archive.writestr(file.name, hide_user(content))


def hide_user(text: str, home: Path | None = None) -> str:
    """Replace the home folder by ``~`` and the user's name elsewhere in paths."""
    home = Path.home() if home is None else home
    for form in (str(home), home.as_posix()):
        if len(form) > 1:
            text = text.replace(form, "~")
    name = home.name
    if len(name) < 3 or name == "root":  # too short to be told from ordinary words
        return text
    for slash in ("/", "\\"):
        text = text.replace(f"{slash}{name}{slash}", f"{slash}~{slash}")
    return text


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _screens() -> str:
    return ", ".join(
        f"{s.size().width()}x{s.size().height()} at {s.devicePixelRatio():g}"
        for s in QGuiApplication.screens()
    )


def _asked(graphics: Callable[[], str]) -> str:
    try:
        return graphics()
    except Exception as error:  # noqa: BLE001 - the report must come out whatever a driver does
        return f"could not be asked ({error!r})"


def _outcome(run: RunRecord) -> str:
    failure = run.failure or {}
    why = f": {failure.get('code', '')} {failure.get('message', '')}" if failure else ""
    return f"{run.run_id} ({run.step.value}): {run.state}{why}"
