"""Command-line flags derived from pydantic configurations, and configurations from text."""

from __future__ import annotations

import argparse
import json
import re
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from decode_engine.contract.base import Config
from decode_engine.contract.checking import known_keys, nearest_key, nested_model
from decode_engine.errors import ConfigError

__all__ = ["add_flags", "apply_settings", "collect_flags", "join_negative", "parse_text"]

_UNSET = object()
_NEGATIVE_LIST = re.compile(r"-\.?\d[\d.eE+-]*([,:][\d.eE+-]+)+")


def add_flags(
    parser: argparse.ArgumentParser, model: type[Config], *, skip: Iterable[str] = ()
) -> None:
    """Add one ``--flag`` for every plain field of ``model`` (nested models go by ``--set``)."""
    skipped = set(skip) | {"schema_version", "job"}
    for name, info in model.model_fields.items():
        if name in skipped or nested_model(info) is not None:
            continue
        flag = "--" + name.replace("_", "-")
        if info.annotation is bool:
            parser.add_argument(
                flag,
                dest=name,
                action=argparse.BooleanOptionalAction,
                default=_UNSET,
                help=_help(info),
            )
        else:
            parser.add_argument(
                flag, dest=name, default=_UNSET, metavar=_metavar(name, info), help=_help(info)
            )


def collect_flags(namespace: argparse.Namespace, model: type[Config]) -> dict[str, Any]:
    """Return the flags of ``model`` that were given, as a plain dict for validation."""
    values: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        value = getattr(namespace, name, _UNSET)
        if value is not _UNSET and value is not None:
            values[name] = parse_text(value, info) if isinstance(value, str) else value
    return values


def apply_settings(
    values: dict[str, Any], settings: Iterable[str], model: type[Config]
) -> dict[str, Any]:
    """Put ``key=value`` settings (dotted keys reach nested models) into ``values``.

    Raises
    ------
    ConfigError
        For a key that does not exist; the nearest existing one is suggested.
    """
    for text in settings:
        key, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"The setting {text!r} has no value.", hint="Write it as key=value.")
        _set_path(values, key.strip(), value.strip(), model)
    return values


def join_negative(words: Sequence[str]) -> list[str]:
    """Write ``--flag -1,2`` as ``--flag=-1,2``.

    argparse knows single negative numbers as values, but takes lists of them for flags.
    """
    joined: list[str] = []
    for word in words:
        flag = joined[-1] if joined else ""
        if _NEGATIVE_LIST.fullmatch(word) and flag.startswith("--") and "=" not in flag:
            joined[-1] = f"{flag}={word}"
        else:
            joined.append(word)
    return joined


def parse_text(text: str, info: FieldInfo) -> Any:
    """Turn the text of a flag into what pydantic can check (tuples, dicts, None)."""
    extra = info.json_schema_extra
    if isinstance(extra, dict) and text in extra.get("names", ()):  # type: ignore[operator]
        return text
    if text.lower() in ("none", "null", "auto") and _allows_none(info):
        return None
    for choice in _choices(info):
        if text == str(choice):  # pydantic takes "1" for no Literal[1, 3]
            return choice
    kinds = _kinds(info)
    if tuple in kinds:
        return [part for part in text.replace(":", ",").split(",") if part != ""]
    if dict in kinds:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"{text!r} is not valid JSON.", hint='Write it as {"name": value}.'
            ) from error
    return text


def _set_path(values: dict[str, Any], key: str, text: str, model: type[Config]) -> None:
    parts = key.split(".")
    fields, current = model, values
    for depth, part in enumerate(parts):
        info = fields.model_fields.get(part)
        if info is None:
            matches = [k for k in known_keys(model) if k.split(".")[-1] == part]
            if depth == 0 and len(parts) == 1 and len(matches) == 1:
                _set_path(values, matches[0], text, model)
                return
            raise ConfigError(
                f"The setting {key!r} does not exist.", hint=nearest_key(key, known_keys(model))
            )
        nested = nested_model(info)
        if depth == len(parts) - 1:
            current[part] = parse_text(text, info)
        elif nested is not None:
            group = current.setdefault(part, {})
            if not isinstance(group, dict):
                raise ConfigError(
                    f"The setting {part!r} is {group!r}, not a group of settings.",
                    hint='Write it as {"name": value, …} in the job file.',
                )
            current, fields = group, nested
        elif dict in _kinds(info):
            current.setdefault(part, {})[".".join(parts[depth + 1 :])] = _json_or_text(text)
            return
        else:
            raise ConfigError(f"The setting {part!r} has no parts ({key!r}).")


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _kinds(info: FieldInfo) -> set[Any]:
    annotation = info.annotation
    origin = typing.get_origin(annotation)
    members = (
        typing.get_args(annotation) if origin in (types.UnionType, typing.Union) else (annotation,)
    )
    return {typing.get_origin(m) or m for m in members}


def _allows_none(info: FieldInfo) -> bool:
    return type(None) in _kinds(info)


def _choices(info: FieldInfo) -> tuple[Any, ...]:
    if typing.get_origin(info.annotation) is typing.Literal:
        return typing.get_args(info.annotation)
    return ()


def _metavar(name: str, info: FieldInfo) -> str:
    choices = _choices(info)
    if choices:
        return "{" + ",".join(str(c) for c in choices) + "}"
    special = {"frames": "A:B", "roi": "X,Y,W,H", "field_nm": "X0,Y0,X1,Y1"}
    unit = (
        str((info.json_schema_extra or {}).get("unit", ""))
        if isinstance(info.json_schema_extra, dict)
        else ""
    )
    return special.get(name, unit.upper().replace("/", "_PER_") or name.split("_")[-1].upper())


def _help(info: FieldInfo) -> str:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    unit = f" [{extra['unit']}]" if extra.get("unit") else ""
    default = "" if info.is_required() or info.default is None else f" Default: {info.default}."
    return f"{info.description or ''}{unit}{default}".replace("%", "%%")
