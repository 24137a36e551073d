"""What went wrong, in words a biologist can act on; shown as a card, never as a traceback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from decode_engine.contract.messages import FailedEvent
from decode_engine.errors import EngineError

__all__ = ["Problem"]

# The engine's hint for a missing file is for a terminal; in the window nobody types names.
_MISSING = (
    "It was moved, renamed or deleted, or its drive is not connected. Bring it back, or choose "
    "another file."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem: what was wrong, what to do, and details for whoever helps.

    ``action`` names a button of the card (empty for none); pressing it emits
    ``Page.problem_action`` with this text.
    """

    message: str
    hint: str = ""
    code: str = ""
    detail: str = ""
    action: str = ""

    @classmethod
    def from_failure(cls, failure: FailedEvent, *, action: str = "") -> Self:
        """Take over what an engine reported."""
        return cls(
            message=failure.message,
            hint=_hint(failure.message, failure.hint),
            code=failure.code,
            detail=failure.detail,
            action=action,
        )

    @classmethod
    def from_error(cls, error: BaseException, *, action: str = "") -> Self:
        """Take over an error of the light ring, or any other one with its type as detail."""
        if isinstance(error, EngineError):
            return cls(
                message=error.message,
                hint=_hint(error.message, error.hint),
                code=error.code,
                detail=error.detail,
                action=action,
            )
        if isinstance(error, OSError):
            where = f" ({error.filename})" if error.filename else ""
            return cls(
                message=f"{error.strerror or error}{where}.",
                hint="Check that the file or drive is there and may be used.",
                code="os_error",
                detail=repr(error),
                action=action,
            )
        return cls(
            message=f"Something unexpected happened: {error}",
            hint="Use Help > Copy diagnostics and report it; your project is saved.",
            code="unexpected",
            detail=repr(error),
            action=action,
        )


def _hint(message: str, hint: str) -> str:
    is_missing = message.endswith("does not exist.") or message.startswith("There is no ")
    is_for_terminal = hint.startswith(("Check the name", "Give the "))
    return _MISSING if is_missing and is_for_terminal else hint
