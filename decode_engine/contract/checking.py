"""Building configurations from plain values, with errors that name the value and the way out."""

from __future__ import annotations

import difflib
import json
import math
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from decode_engine.contract.base import Config
from decode_engine.errors import ConfigError

__all__ = ["known_keys", "nearest_key", "nested_model", "strict_json", "validate"]

ModelType = TypeVar("ModelType", bound=Config)


def validate(model: type[ModelType], values: Mapping[str, Any]) -> ModelType:
    """Build ``model`` from plain values; turn the first problem into a `ConfigError`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explain(model, error) from error


def _explain(model: type[Config], error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    names = [str(part) for part in first["loc"] if isinstance(part, str)]
    where = ".".join(names) or model.__name__
    given = first.get("input")
    if first["type"] in ("missing", "too_long") and isinstance(given, (list, tuple)):
        return ConfigError(
            f"The setting {where} needs {_tuple_length(model, names)} values, not {len(given)} "
            f"(given: {','.join(map(str, given))}).",
            hint="The command 'decode-engine schema' says what each one is.",
        )
    if first["type"] == "missing":
        return ConfigError(
            f"The setting {where} is missing.",
            hint=f"Give it with --{names[-1].replace('_', '-')}.",
        )
    if first["type"] == "extra_forbidden":
        return ConfigError(
            f"The setting {where!r} does not exist.", hint=nearest_key(where, known_keys(model))
        )
    shown = "" if isinstance(given, (dict, Config)) else f" (given: {given})"
    message = first["msg"].removeprefix("Value error, ")
    return ConfigError(
        f"The setting {where} is not possible{shown}: {message}.",
        hint="The command 'decode-engine schema' lists all settings with their ranges.",
    )


def _tuple_length(model: type[Config], names: list[str]) -> str:
    """Return how many values a setting has, in words."""
    info = model.model_fields[names[0]]
    for name in names[1:]:
        nested = nested_model(info)
        if nested is None:
            break
        info = nested.model_fields[name]
    options = (info.annotation, *typing.get_args(info.annotation))
    lengths = [len(typing.get_args(o)) for o in options if typing.get_origin(o) is tuple]
    return str(lengths[0]) if lengths else "others"


def known_keys(model: type[Config], prefix: str = "") -> list[str]:
    """Return all settings of ``model``, dotted where they are nested."""
    keys: list[str] = []
    for name, info in model.model_fields.items():
        nested = nested_model(info)
        if nested is not None:
            keys += known_keys(nested, f"{prefix}{name}.")
        elif name not in ("schema_version", "job"):
            keys.append(prefix + name)
    return keys


def nearest_key(key: str, known: list[str]) -> str:
    """Return a hint that names the known key most like ``key``."""
    by_last = {k.split(".")[-1]: k for k in known}
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5) or [
        by_last[k]
        for k in difflib.get_close_matches(key.split(".")[-1], list(by_last), n=1, cutoff=0.5)
    ]
    if close:
        return f"Did you mean {close[0]!r}?"
    return "The command 'decode-engine schema' lists all settings."


def nested_model(info: FieldInfo) -> type[Config] | None:
    """Return the configuration class of a field that is itself a configuration."""
    annotation = info.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Config) else None


def strict_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """Return valid JSON: a number that does not exist (NaN, infinity) becomes null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
    return json.dumps(finite, indent=indent, allow_nan=False)
