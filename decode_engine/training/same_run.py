"""Whether an unfinished training is the one that is asked for, and what differs if not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from decode_engine.contract.configs import TrainingConfig
from decode_engine.errors import ConfigError, InputError, MismatchError

__all__ = ["differences", "require_same_run"]

_CHECKSUM_LENGTH = 64


def require_same_run(
    recorded: Mapping[str, Any], config: TrainingConfig, inputs: Mapping[str, str]
) -> None:
    """Raise `InputError` unless a checkpoint belongs to this configuration and these inputs."""
    free = {"patience", "checkpoint_every_s"}
    settings = differences(
        _recorded_config(recorded["config"]).model_dump(mode="json", exclude=free),
        config.model_dump(mode="json", exclude=free),
    )
    others = differences(recorded.get("inputs", inputs), inputs)
    if settings or others:
        kind: type[InputError] = MismatchError if others else ConfigError
        raise kind(
            f"The unfinished training was started differently: {', '.join(others + settings)}.",
            hint="Resume with the same files and settings, or start anew without resuming "
            "(which needs permission to overwrite).",
        )


def _recorded_config(values: dict[str, Any]) -> TrainingConfig:
    """Return a checkpoint's configuration; defaults stand for what an older version lacked."""
    try:
        return TrainingConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            "The unfinished training was started by another version of this program.",
            hint="Resume it with that version, or start anew.",
            detail=str(error),
        ) from error


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in words which values have changed; those inside others by dotted names."""
    found = []
    for name in sorted({*then, *now}):
        a, b = then.get(name), now.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += [f"{name}.{words}" for words in differences(a, b)]
        elif a != b:
            found.append(f"{name} ({_short(a)} then, {_short(b)} now)")
    return found


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == _CHECKSUM_LENGTH else text
