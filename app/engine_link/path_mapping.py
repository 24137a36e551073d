"""Paths of this computer and of the one the engine runs on, where they differ.

Which fields of specifications and events are paths is declared in the contract (``path`` of
`decode_engine.contract.base.setting`, and `SUMMARY_PATHS`); nothing is guessed from texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from decode_engine.contract.base import Config
from decode_engine.contract.messages import SUMMARY_PATHS, EventBody, FinishedEvent
from decode_engine.errors import InputError
from decode_engine.io.starters import is_starter

__all__ = ["PathMap", "PathNotMappedError"]

C = TypeVar("C", bound=Config)


class PathNotMappedError(InputError):
    """The engine's computer cannot see this file under any name that we know."""

    code = "path_not_mapped"


@dataclass(frozen=True, slots=True)
class PathMap:
    """Pairs of folders: a local one and the same one as the engine sees it.

    The longest beginning that fits counts. Without pairs nothing is changed: the engine sees
    the same files by the same names.
    """

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]]) -> PathMap:
        """Make a map of pairs (local, remote) as they stand in the settings."""
        return cls(tuple((local, remote) for local, remote in pairs if local and remote))

    def spec_to_remote(self, spec: C) -> C:
        """Return a job's specification with the engine's paths.

        Raises
        ------
        PathNotMappedError
            If one of its files lies outside all pairs.
        """
        return self._map(spec, self.to_remote)

    def event_to_local(self, body: EventBody) -> EventBody:
        """Return an event with local paths; a path that is nowhere here stays as it is."""
        if not self.pairs:
            return body
        if isinstance(body, FinishedEvent):
            summary = {
                key: _mapped(value, self.to_local) if key in SUMMARY_PATHS else value
                for key, value in body.summary.items()
            }
            return body.model_copy(update={"summary": summary})
        return self._map(body, self.to_local)

    def to_remote(self, path: str) -> str:
        """Return the engine's name of a local file; see `spec_to_remote`."""
        if not self.pairs:
            return path
        found = _translate(path, self.pairs)
        if found is None:
            known = ", ".join(local for local, _ in self.pairs)
            raise PathNotMappedError(
                f"The computer on which the engine runs cannot see {path}.",
                hint=f"It sees {known}. Move the file there, or add its folder to the path map "
                "in the settings.",
            )
        return found

    def to_local(self, path: str) -> str:
        """Return the local name of one of the engine's files, if it has one."""
        found = _translate(path, tuple((remote, local) for local, remote in self.pairs))
        return path if found is None else found

    def _map(self, config: C, rename: Callable[[str], str]) -> C:
        if not self.pairs:
            return config
        changes: dict[str, Any] = {}
        for name, info in type(config).model_fields.items():
            value = getattr(config, name)
            extra = info.json_schema_extra
            if isinstance(extra, dict) and extra.get("path"):
                changes[name] = _mapped(value, rename)
            elif isinstance(value, Config):
                changes[name] = self._map(value, rename)
        return config.model_copy(update=changes)


def _mapped(value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return value if is_starter(value) else rename(value)  # starters are at the engine
    if isinstance(value, tuple | list):
        return type(value)(_mapped(entry, rename) for entry in value)
    return value


def _translate(path: str, pairs: Sequence[tuple[str, str]]) -> str | None:
    """Replace the longest beginning of a path that is among the pairs; None if none is."""
    best: tuple[int, str] | None = None
    for source, target in pairs:
        kind = _kind(source)
        whole, beginning = kind(path), kind(source)
        # PureWindowsPath compares without regard to case and separators, as Windows does.
        if whole.is_relative_to(beginning):
            rest = whole.relative_to(beginning).parts
            depth = len(beginning.parts)
            if best is None or depth > best[0]:
                best = (depth, str(_kind(target)(target, *rest)))
    return None if best is None else best[1]


def _kind(folder: str) -> type[PurePath]:
    """Return how the paths of the computer to which a folder belongs are written."""
    windows = PureWindowsPath(folder)
    is_windows = bool(windows.drive) or ("\\" in folder and not folder.startswith("/"))
    return PureWindowsPath if is_windows else PurePosixPath
