"""Loss and gradient of a batch, computed by several threads that meet once per step.

Letting each convolution use all cores needs a barrier per layer; as soon as anything else runs
on the machine the cores wait for each other, and two become slower than one. Here each thread
takes a part of the batch through the whole network alone. Parts are added in a fixed order, so
the result does not depend on which thread is first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from decode_engine.contract.configs import TrainingConfig
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.loss import LossTargets
from decode_engine.training.stream import NetworkBatch

__all__ = ["GradientWorkers", "split_batch"]


@dataclass(frozen=True, slots=True)
class _Part:
    loss: Tensor
    gradients: tuple[Tensor, ...]


class GradientWorkers:
    """Computes gradients with ``workers`` threads.

    Parameters
    ----------
    network : LocalizationNetwork
        Brings its loss along.
    config : TrainingConfig
        Weights of the loss.
    use_z : bool
        False for two-dimensional models.
    autocast : torch.dtype or None
        Arithmetic of the convolutions.
    workers : int
        1 computes in the calling thread. With more, `torch.set_num_threads` should be 1.
    """

    def __init__(
        self,
        network: LocalizationNetwork,
        config: TrainingConfig,
        *,
        use_z: bool,
        autocast: torch.dtype | None,
        workers: int = 1,
    ) -> None:
        self._network = network
        self._parameters = tuple(network.parameters())
        self._config = config
        self._use_z = use_z
        self._autocast = autocast
        self._workers = workers
        # torch takes over its number of threads in a new thread when it is first asked.
        self._pool = ThreadPoolExecutor(workers, initializer=torch.get_num_threads)

    def backward(self, batch: NetworkBatch) -> Tensor:
        """Set the parameters' gradients of the mean loss over the batch; return that loss."""
        parts = split_batch(batch, self._workers)
        if len(parts) == 1:
            results = [self._part(parts[0], 1.0)]
        else:
            share = 1.0 / batch.frames.shape[0]
            jobs = [self._pool.submit(self._part, p, p.frames.shape[0] * share) for p in parts]
            results = [job.result() for job in jobs]
        for i, parameter in enumerate(self._parameters):
            parameter.grad = results[0].gradients[i]
            for other in results[1:]:
                parameter.grad += other.gradients[i]
        return torch.stack([result.loss for result in results]).sum()

    def _part(self, batch: NetworkBatch, share: float) -> _Part:
        frames, targets = batch
        enabled = self._autocast is not None
        with torch.autocast(frames.device.type, dtype=self._autocast, enabled=enabled):
            output = self._network(frames)
        terms = self._network.loss(output, targets, use_z=self._use_z)
        loss = share * terms.total(self._config.count_weight, self._config.background_weight)
        return _Part(loss.detach(), torch.autograd.grad(loss, self._parameters))


def split_batch(batch: NetworkBatch, parts: int) -> list[NetworkBatch]:
    """Cut a batch into at most ``parts`` batches of nearly equal size."""
    frames, targets = batch
    if parts == 1:
        return [batch]
    pieces, first = [], 0
    for piece in frames.tensor_split(min(parts, frames.shape[0])):
        last = first + piece.shape[0]
        mine = (targets.image >= first) & (targets.image < last)
        pieces.append(
            NetworkBatch(
                piece,
                LossTargets(
                    image=targets.image[mine] - first,
                    x_px=targets.x_px[mine],
                    y_px=targets.y_px[mine],
                    z=targets.z[mine],
                    photons=targets.photons[mine],
                    background=targets.background[first:last],
                ),
            )
        )
        first = last
    return pieces
