"""Following a localization while it runs: the parts of an unfinished result, as they appear."""

from __future__ import annotations

from pathlib import Path

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import LocalizationsError
from decode_engine.io.localization_layout import list_parts, partial_path, read_table

__all__ = ["ResultFollower"]


class ResultFollower:
    """Reads what a job has written since the last look; parts never change once they are there.

    Parameters
    ----------
    out : Path
        The result as the job will name it; its parts lie in ``<name>.partial``.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._n_seen = 0

    def read_more(self) -> Localizations:
        """Return the localizations that are new since the last call (maybe none).

        The folder may be gone in the very moment in which the job joins its parts; what it
        held is then in the finished result, which is not read here.
        """
        try:
            parts = list_parts(partial_path(self.out))[self._n_seen :]
        except (LocalizationsError, OSError):
            return Localizations.empty()
        tables = []
        for part in parts:
            try:
                tables.append(read_table(part))
            except (LocalizationsError, OSError):
                break
            self._n_seen += 1
        return Localizations.concatenate([t for t in tables if len(t)])
