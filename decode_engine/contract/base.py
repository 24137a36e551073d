"""The base of all configurations: frozen, strict, versioned, with units in the schema."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Config", "Message", "setting"]


class Config(BaseModel):
    """Base of configurations: immutable, no unknown keys, numbers are finite.

    An infinite limit must be allowed by its `setting` (``allow_inf_nan=True``).
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="strings"
    )


class Message(Config):
    """Base of messages: results may be NaN or infinite, which survive JSON as strings."""

    model_config = ConfigDict(allow_inf_nan=True)


def setting(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    path: bool = False,
    names: tuple[str, ...] = (),
    **constraints: Any,
) -> Any:
    """Declare one setting: default, meaning, unit and range, in one place.

    The JSON schema carries the unit as ``unit``; CLI flags, forms and documentation derive
    from it. ``path`` marks texts that name files or folders (``path`` in the schema): an engine
    on another computer knows them by other names. ``names`` are texts with a meaning of their own
    (in the schema too): a flag takes them as they are, "auto" included, which elsewhere means
    None. ``constraints`` are those of `pydantic.Field`
    (``ge``, ``lt``, ...).
    """
    extra: dict[str, Any] = {"unit": unit, "path": True} if path else {"unit": unit}
    if names:
        extra["names"] = list(names)
    return Field(default, description=doc, json_schema_extra=extra, **constraints)
