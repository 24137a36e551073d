"""Settings survive damage, a full disk and a newer version; the app starts whatever happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from app import settings as module
from app.settings import SettingsStore, UserSettings
from app.shell.settings_dialog import command_of, command_text
from decode_engine.errors import DiskFullError


def test_what_was_set_is_there_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "settings.json"
    SettingsStore(path).update(theme="dark", device="cpu", path_map=(("/a", "/b"),))
    again = SettingsStore(path)
    assert (again.value.theme, again.value.device) == ("dark", "cpu")
    assert again.value.path_map == (("/a", "/b"),)
    assert again.problem is None


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "settings.json")
    assert store.value == UserSettings()
    assert store.problem is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00", b"null"])
def test_a_damaged_file_is_set_aside_and_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    store = SettingsStore(path)
    assert store.value == UserSettings()
    assert store.problem is not None
    aside = tmp_path / "settings-set-aside.json"
    assert str(aside) in store.problem.hint
    assert aside.read_bytes() == content
    store.update(theme="light")
    assert SettingsStore(path).value.theme == "light"


def test_what_is_valid_in_a_newer_file_is_used(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    newer = {"schema_version": 2, "theme": "dark", "device": 7, "hologram": True}
    path.write_text(json.dumps(newer))
    store = SettingsStore(path)
    assert store.value == UserSettings(theme="dark")
    assert store.problem is not None
    assert "newer" in store.problem.message
    assert json.loads((tmp_path / "settings-set-aside.json").read_text()) == newer


def test_a_full_disk_is_named_and_the_change_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SettingsStore(tmp_path / "settings.json")
    store.update(theme="light")

    def full(path: Path, *, overwrite: bool) -> None:
        raise DiskFullError(f"The disk is full: {path}.")

    with monkeypatch.context() as patch:
        patch.setattr(module, "atomic_path", full)
        store.update(theme="dark")
    assert store.value.theme == "dark"
    assert store.problem is not None
    assert SettingsStore(store.path).value.theme == "light"
    store.update(device="cpu")
    assert store.problem is None
    assert SettingsStore(store.path).value.theme == "dark"


def test_an_impossible_value_changes_nothing(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "settings.json")
    with pytest.raises(ValidationError):
        store.update(theme="purple")
    assert store.value.theme == "system"


def test_recent_projects_are_unique_and_few(tmp_path: Path) -> None:
    store = SettingsStore()
    for number in (*range(20), 15):
        store.remember_project(tmp_path / str(number))
    recent = store.value.recent_projects
    assert recent[:2] == (str(tmp_path / "15"), str(tmp_path / "19"))
    assert len(recent) == len(set(recent)) == 12
    store.forget_project(recent[0])
    assert store.value.recent_projects[0] == str(tmp_path / "19")


def test_followers_hear_of_changes_only() -> None:
    store = SettingsStore()
    heard: list[str] = []
    store.follow(lambda value: heard.append(value.theme))
    store.update(theme="dark")
    store.update(theme="dark")
    assert heard == ["dark"]


@pytest.mark.parametrize(
    ("windows", "program"),
    [
        (True, r"C:\Program Files\OpenSSH\ssh.exe"),
        (True, r"C:\Tools\ssh.exe"),
        (False, "/opt/a tool/ssh"),
    ],
)
def test_a_command_is_read_as_it_was_written(windows: bool, program: str) -> None:
    """Regression: on Windows the backslashes of a path were taken for escapes."""
    command = [program, "gpu computer", "decode-engine", "serve"]
    assert command_of(command_text(command, windows=windows), windows=windows) == command
    assert command_of(r"C:\Tools\ssh.exe gpu", windows=True) == [r"C:\Tools\ssh.exe", "gpu"]
