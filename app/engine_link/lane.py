"""What the two lanes of jobs share: whose words go up, and in which paths."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.engine_link.client import EngineClient, Patience
from app.engine_link.path_mapping import PathMap
from decode_engine.contract.messages import FailedEvent
from decode_engine.errors import EngineError

__all__ = ["EngineSetup", "explain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSetup:
    """How engines are started, and how their computer names our files."""

    command: tuple[str, ...]
    path_map: PathMap = field(default_factory=PathMap)
    patience: Patience = field(default_factory=Patience)

    def make_client(self) -> EngineClient:
        """Return a client that is not started yet."""
        return EngineClient(self.command, patience=self.patience)


def explain(error: EngineError) -> FailedEvent:
    """Return an error found here as if the engine had reported it."""
    return FailedEvent(code=error.code, message=error.message, hint=error.hint, detail=error.detail)
