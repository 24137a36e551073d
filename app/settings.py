"""Settings of the user that belong to no project, and where the engine's command is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from app.models.problem import Problem
from decode_engine.contract.base import Config
from decode_engine.errors import EngineError
from decode_engine.io.atomic import atomic_path

__all__ = ["SettingsStore", "UserSettings", "engine_command"]

_RECENT = 12


class UserSettings(Config):
    """What the app remembers of its user, on this computer."""

    schema_version: Literal[1] = 1
    theme: Literal["system", "light", "dark"] = "system"
    recent_projects: tuple[str, ...] = ()  # folders, the latest first
    engine_command: tuple[str, ...] = ()  # empty: the app's own engine
    path_map: tuple[tuple[str, str], ...] = ()  # (local, remote) beginnings of paths
    device: str = "auto"
    cache_folder: str = ""  # empty: the system's place for temporary files
    colormap: str = "viridis"
    tour_seen: bool = False
    help_visible: bool | None = None  # None: where the window is wide enough
    window_geometry: str = ""  # base64 of QWidget.saveGeometry
    splitter_state: str = ""  # base64 of QSplitter.saveState
    last_folder: str = ""


class SettingsStore:
    """Keeps `UserSettings` in a JSON file; trouble with the file never stops the app.

    A damaged or newer file is kept beside the new one and what is valid in it is used.
    ``problem`` says so, once; the settings then live on in memory if they cannot be written.

    Parameters
    ----------
    path : Path or None
        The file; None keeps everything in memory (for tests and previews).
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.problem: Problem | None = None
        self._followers: list[Callable[[UserSettings], None]] = []
        self._value = self._load()

    @property
    def value(self) -> UserSettings:
        """The settings as they are now."""
        return self._value

    def follow(self, follower: Callable[[UserSettings], None]) -> None:
        """Call ``follower`` after each change, for as long as the store lives."""
        self._followers.append(follower)

    def update(self, **changes: Any) -> None:
        """Change some settings and save them.

        Raises
        ------
        pydantic.ValidationError
            If a value is not one that the setting may have; nothing changes then.
        """
        # Validated as a whole: model_copy would take anything.
        value = UserSettings.model_validate({**self._value.model_dump(), **changes})
        if value == self._value:
            return
        self._value = value
        self._save()
        for follower in tuple(self._followers):
            follower(value)

    def remember_project(self, folder: Path) -> None:
        """Put a project on top of the recent ones."""
        others = [p for p in self._value.recent_projects if p != str(folder)]
        self.update(recent_projects=(str(folder), *others)[:_RECENT])

    def forget_project(self, folder: str) -> None:
        """Take a project off the list of recent ones; its files stay."""
        kept = tuple(p for p in self._value.recent_projects if p != folder)
        self.update(recent_projects=kept)

    def _load(self) -> UserSettings:
        if self.path is None or not self.path.is_file():
            return UserSettings()
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("not an object")
        except (OSError, ValueError) as error:
            self._set_aside("Your settings could not be read, so the app starts with its own.",
                            str(error))  # fmt: skip
            return UserSettings()
        try:
            return UserSettings.model_validate(content)
        except ValidationError as error:
            newer = isinstance(content.get("schema_version"), int) and content["schema_version"] > 1
            who = "a newer version of this app wrote them" if newer else "they are damaged"
            self._set_aside(f"Some of your settings could not be used: {who}.", str(error))
            return _valid_part(content)

    def _set_aside(self, message: str, detail: str) -> None:
        assert self.path is not None
        aside = self.path.with_name(f"{self.path.stem}-set-aside.json")
        hint = f"The file is kept as {aside}."
        try:
            self.path.replace(aside)
        except OSError:
            hint = "Check Tools > Settings."
        self.problem = Problem(message=message, hint=hint, code="bad_settings", detail=detail)

    def _save(self) -> None:
        if self.path is None:
            return
        try:
            with atomic_path(self.path, overwrite=True) as temporary:
                temporary.write_text(self._value.model_dump_json(indent=2), encoding="utf-8")
        except (EngineError, OSError) as error:
            self.problem = Problem(
                message="Your settings could not be saved; they hold until the app is closed.",
                hint=f"Free space or check the rights of {self.path.parent}.",
                code="settings_not_saved",
                detail=str(error),
            )
        else:
            if self.problem is not None and self.problem.code == "settings_not_saved":
                self.problem = None


def _valid_part(content: dict[str, Any]) -> UserSettings:
    """Return the settings of which each value is valid by itself; defaults for the others."""
    value: dict[str, Any] = {}
    for name in set(UserSettings.model_fields) & set(content) - {"schema_version"}:
        try:
            UserSettings.model_validate({name: content[name]})
        except ValidationError:
            continue
        value[name] = content[name]
    return UserSettings.model_validate(value)


def engine_command() -> list[str]:
    """Return the command that starts an engine process.

    A frozen app has the engine as a program of its own beside it (a windowed program has no
    standard streams on Windows); without that, its own executable serves when told so.
    """
    if getattr(sys, "frozen", False):
        beside = Path(sys.executable).with_name(f"decode-engine{Path(sys.executable).suffix}")
        return [str(beside if beside.is_file() else sys.executable), "serve"]
    return [sys.executable, "-m", "decode_engine", "serve"]
