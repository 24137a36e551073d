"""Undo and redo of settings: values before and after each step, merged while a user adjusts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.models.project import ProjectSettings

__all__ = ["UndoHistory"]

_DEPTH = 200
_REST_S = 3.0


@dataclass(frozen=True, slots=True)
class _UndoStep:
    text: str
    fields: frozenset[str]
    before: ProjectSettings
    after: ProjectSettings


class UndoHistory:
    """The steps that can be undone and redone.

    Steps in a row with the same text that change the same settings become one, so that a
    dragged slider is one step; `seal` or a rest ends such a row.

    Parameters
    ----------
    clock : callable
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_s = 0.0
        self._done: list[_UndoStep] = []
        self._undone: list[_UndoStep] = []
        self._sealed = True

    def push(self, text: str, before: ProjectSettings, after: ProjectSettings) -> None:
        """Remember a change that was made."""
        changed = (f for f in type(after).model_fields if getattr(before, f) != getattr(after, f))
        fields = frozenset(changed)
        self._undone.clear()
        now, before_s = self._clock(), self._last_s
        self._last_s = now
        rested = self._sealed or now - before_s > _REST_S
        last = self._done[-1] if self._done and not rested else None
        if last is not None and (last.text, last.fields) == (text, fields):
            before = self._done.pop().before
        self._sealed = False
        if before != after:  # a slider that came back to where it was is no step
            self._done.append(_UndoStep(text, fields, before, after))
        del self._done[:-_DEPTH]

    def seal(self) -> None:
        """Let the next change be a step of its own."""
        self._sealed = True

    def undo(self) -> ProjectSettings | None:
        """Step back; return the settings that then hold, or None where there is no step."""
        if not self._done:
            return None
        step = self._done.pop()
        self._undone.append(step)
        self._sealed = True
        return step.before

    def redo(self) -> ProjectSettings | None:
        """Step forward again; return the settings that then hold, or None."""
        if not self._undone:
            return None
        step = self._undone.pop()
        self._done.append(step)
        self._sealed = True
        return step.after

    def map(self, change: Callable[[ProjectSettings], ProjectSettings]) -> None:
        """Change the settings of all steps (say, after the project's folder was moved)."""
        for steps in (self._done, self._undone):
            steps[:] = [
                replace(step, before=change(step.before), after=change(step.after))
                for step in steps
            ]

    def accept(self, before: ProjectSettings, after: ProjectSettings) -> None:
        """Take a change into all steps as if it had always been so: undo leaves it alone.

        Steps that chose another value of the same setting keep theirs.
        """
        changed = [f for f in type(after).model_fields if getattr(before, f) != getattr(after, f)]

        def change(settings: ProjectSettings) -> ProjectSettings:
            same = [f for f in changed if getattr(settings, f) == getattr(before, f)]
            return settings.model_copy(update={f: getattr(after, f) for f in same})

        self.map(change)
        for steps in (self._done, self._undone):
            steps[:] = [step for step in steps if step.before != step.after]
        self._sealed = True

    @property
    def undo_text(self) -> str:
        """Name of the step that `undo` takes back; empty for none."""
        return self._done[-1].text if self._done else ""

    @property
    def redo_text(self) -> str:
        """Name of the step that `redo` makes again; empty for none."""
        return self._undone[-1].text if self._undone else ""
