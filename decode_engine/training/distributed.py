"""One training by several processes, one for each device, that stay in step.

Each process simulates its own share of a batch; gradients are averaged in one call, after which
all make the same step. What could take them apart is decided by the first process and told to
the others: the clock (hence learning rate, validations and end), requests to finish or cancel,
and results of validations. A failure in one ends all; it is told once, by the first.

Numbers travel between processors by gloo, gradients between CUDA devices by NCCL.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from decode_engine.errors import (
    CancelledError,
    ConfigError,
    DeviceError,
    EngineError,
    PeerError,
    RunError,
)
from decode_engine.io.launcher import Launch

__all__ = ["Ranks", "joined"]

_T = TypeVar("_T")
# The first process may be paused for days. Who dies is noticed at once: its connections close,
# and torchrun ends the others.
_PATIENCE = timedelta(days=30)


class _Requests(Protocol):
    """What users may ask of a training; see `TrainingContext`."""

    @property
    def finishing(self) -> bool:
        """Whether the run should end now and keep its best weights."""
        ...

    def check(self) -> None:
        """Wait while paused; raise `CancelledError` when cancelled."""
        ...


class Ranks:
    """The processes of one training, seen from one of them; by default it is the only one.

    All methods from `check` on must be called by all processes in the same order.

    Parameters
    ----------
    launch : Launch
    """

    def __init__(self, launch: Launch | None = None) -> None:
        self._launch = launch or Launch()
        self.size = self._launch.size
        self.rank = self._launch.rank
        self._finishing = self._cancelled = False

    @property
    def is_first(self) -> bool:
        """Whether this process validates, writes and speaks."""
        return self.rank == 0

    def own_device(self, name: str) -> str:
        """Return the name of the device that this process uses of those that ``name`` means.

        Raises
        ------
        DeviceError
            If several processes would use one graphics card.
        """
        if self.size == 1 or name in ("cpu", "mps"):
            return name
        if name.startswith("cuda:"):
            raise DeviceError(
                f"{self.size} processes cannot all train on {name}.",
                hint="Leave the device out; each process takes the graphics card of its number.",
            )
        return f"cuda:{self._launch.local_rank}" if torch.cuda.is_available() else "cpu"

    def share_of(self, batch_size: int) -> int:
        """Return how many samples of a batch are this process's.

        Raises
        ------
        ConfigError
            If the batch cannot be shared evenly: samples would weigh differently.
        """
        if batch_size % self.size:
            raise ConfigError(
                f"{self.size} processes cannot share a batch of {batch_size} samples evenly.",
                hint=f"Choose a batch size that is a multiple of {self.size}.",
            )
        return batch_size // self.size

    def stream_name(self, step: int = 0) -> str:
        """Name what this process simulates from a step on, apart from all others' batches.

        A checkpoint has the state of the first process's stream alone; the others begin a
        stream of another name when a training goes on.
        """
        return "training" if self.is_first else f"training/{self.rank}/{step}"

    def check(self, requests: _Requests) -> None:
        """Wait while paused; raise `CancelledError` when cancelled, in all processes alike."""
        if self.size == 1:
            requests.check()
        elif self._cancelled:
            raise CancelledError("The job was cancelled.", hint="What was done so far is kept.")

    def finishing(self, requests: _Requests) -> bool:
        """Whether the training should end now and keep its best weights."""
        return requests.finishing if self.size == 1 else self._finishing

    def meet(self, elapsed_s: float, requests: _Requests) -> float:
        """Return the first process's time, and learn what any process was asked for."""
        if self.size == 1:
            return elapsed_s
        cancelled = False
        try:
            requests.check()
        except CancelledError:
            cancelled = True
        told = [elapsed_s, float(requests.finishing)] if self.is_first else [0.0, 0.0]
        numbers = torch.tensor([*told, float(cancelled)], dtype=torch.float64)
        with _explained():
            dist.all_reduce(numbers)
        elapsed_s, finishing, cancels = numbers.tolist()
        self._finishing, self._cancelled = finishing > 0, cancels > 0
        return float(elapsed_s)

    def average(self, network: nn.Module, compute: Callable[[], Tensor]) -> Tensor:
        """Average gradients and loss over the processes.

        Parameters
        ----------
        network : Module
        compute : callable
            Sets the gradients of all parameters of the network; returns the loss, a scalar.

        Returns
        -------
        Tensor
            The mean loss.
        """
        if self.size == 1:
            return compute()
        parameters, failure = list(network.parameters()), None
        failed = parameters[0].new_zeros(())
        loss = torch.zeros_like(failed)
        try:
            loss = compute()
        except Exception as error:  # noqa: BLE001 - the others wait; all end together below
            failure, failed = error, torch.ones_like(failed)
        gradients = [_gradient(p, failure is None).reshape(-1) for p in parameters]
        flat = torch.cat([*gradients, torch.stack([loss.to(failed), failed])])
        with _explained():
            dist.all_reduce(flat)
        flat /= self.size
        if float(flat[-1]) > 0:
            self._end(failure)
        pieces = torch.split(flat[:-2], [p.numel() for p in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.grad = piece.view(parameter.shape)
        return flat[-2]

    def first(self, make: Callable[[], _T]) -> _T:
        """Let the first process make something; return it in all. A failure there ends all."""
        if self.size == 1:
            return make()
        made: list[Any] = [None, False]
        failure = None
        if self.is_first:
            try:
                made[0] = make()
            except Exception as error:  # noqa: BLE001 - raised again when the others know
                failure, made[1] = error, True
        with _explained():
            dist.broadcast_object_list(made, src=0)
        if failure is not None:
            raise failure
        if made[1]:
            raise PeerError("The first process of this training failed.")
        result: _T = made[0]
        return result

    @contextmanager
    def together(self) -> Iterator[None]:
        """Go on behind the block when all processes did it; if it fails in one, it fails in all."""
        if self.size == 1:
            yield
            return
        failure = None
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again when the others know
            failure = error
        failed = torch.tensor(float(failure is not None))
        with _explained():
            dist.all_reduce(failed)
        if float(failed) > 0:
            self._end(failure)

    @torch.no_grad()
    def spread(self, network: nn.Module) -> None:
        """Give all processes the weights of the first."""
        if self.size == 1:
            return
        for tensor in (*network.parameters(), *network.buffers()):
            values = tensor.detach().contiguous()
            with _explained():
                dist.broadcast(values, src=0)
            tensor.copy_(values)

    def _end(self, failure: Exception | None) -> NoReturn:
        """End all processes of which one failed: the first says why, the others are silent."""
        found: list[tuple[str, str, str] | None] = [None] * self.size
        with _explained():
            dist.all_gather_object(found, None if failure is None else _words(failure))
        if self.is_first and failure is not None:
            raise failure
        rank = next(i for i, words in enumerate(found) if words is not None)
        message, hint, detail = found[rank] or ("", "", "")
        kind = RunError if self.is_first else PeerError
        raise kind(
            f"Process {rank} of {self.size} failed: {message}", hint=hint, detail=detail
        ) from failure


def _gradient(parameter: Tensor, is_set: bool) -> Tensor:
    gradient = parameter.grad if is_set else None
    return torch.zeros_like(parameter) if gradient is None else gradient


def _words(error: Exception) -> tuple[str, str, str]:
    """Return message, hint and detail; the error itself may not survive the way."""
    if isinstance(error, EngineError):
        return error.message, error.hint, error.detail
    detail = "".join(traceback.format_exception(error))
    return f"{type(error).__name__}: {error}", "", detail


@contextmanager
def _explained() -> Iterator[None]:
    """Call a connection that breaks what it is: another process ended."""
    try:
        yield
    except RuntimeError as error:
        raise PeerError(
            "Another process of this training ended, so all do.",
            hint="What it said before tells why; --resume goes on from the last checkpoint.",
            detail=str(error),
        ) from error


@contextmanager
def joined(launch: Launch) -> Iterator[Ranks]:
    """Join the other processes of this training, if there are any."""
    if launch.size == 1:
        yield Ranks()
        return
    if not dist.is_available():
        raise DeviceError(
            "This version of torch cannot connect processes.", hint="Train in a single process."
        )
    backend = "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Ranks(launch)
    finally:
        dist.destroy_process_group()
