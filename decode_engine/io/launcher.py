"""Which of several processes of one job this is, as ``torchrun`` says it; no torch needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Launch", "read_launch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Place of a process among those of its job.

    Attributes
    ----------
    rank : int
        0 speaks and writes; the others follow it.
    size : int
        Number of processes, on all machines.
    local_rank : int
        Place among the processes of this machine, hence its graphics card.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def follows(self) -> bool:
        """Whether another process speaks for this one."""
        return self.rank > 0


def read_launch(environment: Mapping[str, str]) -> Launch:
    """Return this process's place; the only one, unless ``torchrun`` started it.

    Batch systems set ``RANK`` and ``WORLD_SIZE`` too, for jobs that know nothing of each other;
    so torchrun's own variable is asked for.
    """
    if "TORCHELASTIC_RUN_ID" not in environment:
        return Launch()
    return Launch(
        rank=int(environment.get("RANK", "0")),
        size=int(environment.get("WORLD_SIZE", "1")),
        local_rank=int(environment.get("LOCAL_RANK", "0")),
    )
