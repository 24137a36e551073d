"""The whole state of a training, to and from arrays: what a resumed run goes on from.

Bit for bit: weights, averaged weights, best weights, the optimiser's moments, the random stream,
and the counters in `Progress`. The validation set is not stored; it follows from the seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decode_engine.errors import ConfigError

__all__ = ["Progress", "load_moments", "load_weights", "moments", "weights"]

Arrays = dict[str, NDArray[Any]]


@dataclass(kw_only=True)
class Progress:
    """How far a training is; JSON values only.

    Attributes
    ----------
    step : int
        Batches drawn, including those whose gradient was not finite.
    updates : int
        Steps of the optimiser since the last restart of its moments.
    elapsed_s : float
        Working time, without pauses.
    rate_scale : float
        Factor on the learning rate, halved after each rollback.
    skipped, skipped_in_a_row : int
        Steps without update because the loss or its gradient was not finite.
    rollbacks : int
        Times the best weights were put back after a divergence.
    validations, validations_without_gain : int
    best_score, best_step :
        None and 0 until something was found in the validation set.
    cpu_s : float
        Processor time of all threads in ``elapsed_s``.
    simulation_s : float
        Part of ``elapsed_s``.
    history : list of dict
        Metrics of each validation with their step and time.
    """

    step: int = 0
    updates: int = 0
    elapsed_s: float = 0.0
    rate_scale: float = 1.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    rollbacks: int = 0
    validations: int = 0
    validations_without_gain: int = 0
    best_score: float | None = None
    best_step: int = 0
    cpu_s: float = 0.0
    simulation_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Progress:
        """Build from `to_dict`."""
        return cls(**values)


def weights(network: nn.Module, prefix: str) -> Arrays:
    """Copy a network's weights to arrays named ``prefix/parameter``."""
    return {f"{prefix}/{name}": _array(p) for name, p in network.named_parameters()}


@torch.no_grad()
def load_weights(network: nn.Module, arrays: Mapping[str, NDArray[Any]], prefix: str) -> None:
    """Fill a network's weights from `weights`.

    Raises
    ------
    ConfigError
        If they are those of another network; one of the same name may have changed.
    """
    kept = {
        n.removeprefix(f"{prefix}/"): a for n, a in arrays.items() if n.startswith(f"{prefix}/")
    }
    own = dict(network.named_parameters())
    if {n: a.shape for n, a in kept.items()} != {n: tuple(p.shape) for n, p in own.items()}:
        raise ConfigError(
            "The unfinished training is of a network that this version builds differently.",
            hint="Resume it with the version that began it, or start anew.",
        )
    for name, parameter in own.items():
        parameter.copy_(torch.from_numpy(np.array(kept[name])))


def moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> Arrays:
    """Copy AdamW's moments to arrays; empty before its first step."""
    arrays: Arrays = {}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            arrays[f"optimizer/{key}/{name}"] = _array(value)
    return arrays


def load_moments(
    network: nn.Module, optimizer: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Give AdamW the moments from `moments`; those it has are dropped."""
    optimizer.state.clear()
    named = dict(network.named_parameters())
    for path, array in arrays.items():
        if path.startswith("optimizer/"):
            _, key, name = path.split("/")
            value = torch.from_numpy(np.array(array))
            if value.ndim:  # the step counter stays a scalar on the CPU
                parameter = named[name]
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            optimizer.state[named[name]][key] = value


def _array(tensor: Tensor) -> NDArray[Any]:
    # An explicit copy: numpy() would share memory that the next step changes.
    return np.array(tensor.detach().cpu().numpy(), order="C")
