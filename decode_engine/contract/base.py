"""The base of all configurations: frozen, strict, versioned, with units in the schema."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Config", "setting"]


class Config(BaseModel):
    """Base model: immutable, no unknown keys, NaN and infinity survive JSON as strings."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def setting(default: Any, doc: str, *, unit: str = "", **constraints: Any) -> Any:
    """Declare one setting: default, meaning, unit and range, in one place.

    The JSON schema carries the unit as ``unit``; CLI flags, forms and documentation derive
    from it. ``constraints`` are those of `pydantic.Field` (``ge``, ``lt``, ...).
    """
    return Field(default, description=doc, json_schema_extra={"unit": unit}, **constraints)
