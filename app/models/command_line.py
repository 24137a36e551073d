"""Any job as the `decode-engine` command that repeats it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from decode_engine.contract.base import Config
from decode_engine.contract.configs import FilterConfig
from decode_engine.contract.jobs import JobSpec

__all__ = ["command_line", "command_words"]

# The words that stand behind the verb without a flag; the rest of the job become flags.
_POSITIONALS: Mapping[str, tuple[str, ...]] = {
    "inspect": ("file",),
    "calibrate": ("beads",),
    "convert-calibration": ("file", "out"),
    "import-cameras": ("file",),
    "localize": ("movies",),
    "fit-mle": ("movie",),
    "render": ("localizations",),
    "evaluate": ("localizations", "truth"),
    "export": ("localizations",),
    "import": ("file",),
    "preview": ("movie",),
    "psf-preview": ("calibration",),
}
# Fields whose settings are flags of the verb itself.
_NESTED = ("config",)
_RENAMED = {"size_px": "size", "density_per_um2": "density"}


def command_line(spec: JobSpec, *, windows: bool = sys.platform == "win32") -> str:
    """Return the command as one line, quoted as the system's shell needs it."""
    words = command_words(spec)
    return subprocess.list2cmdline(words) if windows else shlex.join(words)


def command_words(spec: JobSpec) -> list[str]:
    """Return the words of the command; settings that have their default are left out.

    A job that goes on with an unfinished one is given as the whole job: the command repeats
    what was asked, from the beginning.
    """
    words = ["decode-engine", spec.job]
    positionals = _POSITIONALS.get(spec.job, ())
    for name in positionals:
        value = getattr(spec, name)
        words += value if isinstance(value, tuple) else [value]
    nested = "simulation" if spec.job == "simulate" else "config"
    for name, value in _changed(spec):
        if name in positionals or name == "job":
            continue
        if isinstance(value, FilterConfig):
            words += _filter_words(value)
        elif name == nested and isinstance(value, Config):
            words += _nested_words(value)
        else:
            words += _flag(name, value)
    return words


def _changed(config: Config) -> Iterator[tuple[str, Any]]:
    """Yield the settings that differ from their defaults."""
    for name, info in type(config).model_fields.items():
        value = getattr(config, name)
        if name == "resume":
            continue
        if info.is_required() or value != info.get_default(call_default_factory=True):
            yield name, value


def _nested_words(config: Config) -> Iterator[str]:
    for name, value in _changed(config):
        if isinstance(value, Config):
            for key, inner in _changed(value):
                yield from ("--set", f"{name}.{key}={_text(inner)}")
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from ("--set", f"{name}.{key}={_text(inner)}")
        else:
            yield from _flag(name, value)


def _flag(name: str, value: Any) -> list[str]:
    flag = "--" + _RENAMED.get(name, name).replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    # One word, so that a value such as -300 is not taken for a flag.
    return [f"{flag}={_text(value)}"]


def _filter_words(filters: FilterConfig) -> Iterator[str]:
    for limits in filters.ranges:
        low = "" if limits.low is None else _text(limits.low)
        high = "" if limits.high is None else _text(limits.high)
        yield from ("--filter", f"{limits.column}={low}:{high}")


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ",".join(_text(part) for part in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
