"""Command-line flags derived from pydantic configurations, and configurations from text."""

from __future__ import annotations

import argparse
import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from decode_engine.contract.base import Config
from decode_engine.errors import ConfigError

__all__ = ["add_flags", "apply_settings", "collect_flags", "validate"]

SpecType = TypeVar("SpecType", bound=Config)
_UNSET = object()


def add_flags(
    parser: argparse.ArgumentParser, model: type[Config], *, skip: Iterable[str] = ()
) -> None:
    """Add one ``--flag`` for every plain field of ``model`` (nested models go by ``--set``)."""
    skipped = set(skip) | {"schema_version", "job"}
    for name, info in model.model_fields.items():
        if name in skipped or _nested(info) is not None:
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
    """Return the flags of ``model`` that were given, as a plain dict for `validate`."""
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


def validate(model: type[SpecType], values: Mapping[str, Any]) -> SpecType:
    """Build ``model`` from plain values; turn the first problem into a `ConfigError`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or model.__name__
        given = first.get("input")
        shown = "" if isinstance(given, (dict, Config)) else f" (given: {given})"
        if first["type"] == "missing":
            raise ConfigError(
                f"The setting {where} is missing.",
                hint=f"Give it with --{where.split('.')[-1].replace('_', '-')}.",
            ) from error
        if first["type"] == "extra_forbidden":
            known = _known_keys(model)
            raise ConfigError(
                f"The setting {where!r} does not exist.", hint=_nearest(where, known)
            ) from error
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"The setting {where} is not possible{shown}: {message}.",
            hint="The command 'decode-engine schema' lists all settings with their ranges.",
        ) from error


def parse_text(text: str, info: FieldInfo) -> Any:
    """Turn the text of a flag into what pydantic can check (tuples, dicts, None)."""
    if text.lower() in ("none", "null", "auto") and _allows_none(info):
        return None
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
            matches = [k for k in _known_keys(model) if k.split(".")[-1] == part]
            if depth == 0 and len(parts) == 1 and len(matches) == 1:
                _set_path(values, matches[0], text, model)
                return
            raise ConfigError(
                f"The setting {key!r} does not exist.", hint=_nearest(key, _known_keys(model))
            )
        nested = _nested(info)
        if depth == len(parts) - 1:
            current[part] = parse_text(text, info)
        elif nested is not None:
            current = current.setdefault(part, {})
            fields = nested
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


def _known_keys(model: type[Config], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, info in model.model_fields.items():
        nested = _nested(info)
        if nested is not None:
            keys += _known_keys(nested, f"{prefix}{name}.")
        elif name not in ("schema_version", "job"):
            keys.append(prefix + name)
    return keys


def _nearest(key: str, known: list[str]) -> str:
    by_last = {k.split(".")[-1]: k for k in known}
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5) or [
        by_last[k]
        for k in difflib.get_close_matches(key.split(".")[-1], list(by_last), n=1, cutoff=0.5)
    ]
    if close:
        return f"Did you mean {close[0]!r}?"
    return "The command 'decode-engine schema' lists all settings."


def _nested(info: FieldInfo) -> type[Config] | None:
    annotation = info.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Config) else None


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
