"""Endless simulated training batches, in network units, from one seeded generator."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from decode_engine.contract.configs import TrainingConfig
from decode_engine.network.loss import LossTargets
from decode_engine.network.scaling import NetworkScaling
from decode_engine.simulation.simulator import TargetSet, TrainingBatch

__all__ = ["BatchSource", "NetworkBatch", "TrainingStream", "named_generator", "to_network_units"]


class BatchSource(Protocol):
    """What the stream needs of a simulator."""

    def training_batch(
        self,
        batch_size: int,
        patch_px: int,
        context_frames: int,
        generator: torch.Generator,
        *,
        label_min_photons: float = 0.0,
    ) -> TrainingBatch:
        """Simulate independent samples; targets dimmer than the minimum are left out."""
        ...


class NetworkBatch(NamedTuple):
    """One step's input (B, T, H, W) and the truth of the middle frames, in network units."""

    frames: Tensor
    targets: LossTargets


class TrainingStream:
    """Draws batch after batch; its whole state is the state of one generator.

    Parameters
    ----------
    source : BatchSource
        The simulator.
    config : TrainingConfig
    scaling : NetworkScaling
    generator : torch.Generator
        On the simulator's device.
    """

    def __init__(
        self,
        source: BatchSource,
        config: TrainingConfig,
        scaling: NetworkScaling,
        generator: torch.Generator,
    ) -> None:
        self._source = source
        self._config = config
        self._scaling = scaling
        self._generator = generator

    def next_batch(self) -> NetworkBatch:
        """Simulate the next batch."""
        config = self._config
        batch = self._source.training_batch(
            config.batch_size,
            config.patch_px,
            config.context_frames,
            self._generator,
            label_min_photons=config.label_min_photons,
        )
        return to_network_units(batch, self._scaling)

    def state(self) -> Tensor:
        """Return the generator's state, (n,) uint8 on the CPU."""
        return self._generator.get_state()

    def restore(self, state: Tensor) -> None:
        """Go on from a state."""
        self._generator.set_state(state)


def to_network_units(
    batch: TrainingBatch, scaling: NetworkScaling, label_min_photons: float = 0.0
) -> NetworkBatch:
    """Scale a simulated batch and pack its targets (padding and too dim emitters left out)."""
    chosen = batch.targets.valid & (batch.targets.photons >= label_min_photons)
    return NetworkBatch(
        frames=scaling.frames_to_network(batch.frames),
        targets=_pack(
            batch.targets, chosen, scaling.background_to_network(batch.background), scaling
        ),
    )


def _pack(
    targets: TargetSet, chosen: Tensor, background: Tensor, scaling: NetworkScaling
) -> LossTargets:
    image, slot = chosen.nonzero(as_tuple=True)
    return LossTargets(
        image=image,
        x_px=targets.x_px[image, slot],
        y_px=targets.y_px[image, slot],
        z=scaling.z_to_network(targets.z_nm[image, slot]),
        photons=scaling.photons_to_network(targets.photons[image, slot]),
        background=background,
    )


def named_generator(seed: int, purpose: str, device: torch.device | str) -> torch.Generator:
    """Return a generator for one purpose (weights, training, validation) of a seeded run.

    Streams of different purposes are independent, so that, for instance, a longer validation
    does not change the training. It lives on the CPU where the device lacks samplers that the
    simulation needs (MPS has no Poisson); see `simulation.draws`.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    value = int.from_bytes(digest[:8], "little") >> 1  # torch takes 63 bits
    where = "cpu" if torch.device(device).type == "mps" else device
    return torch.Generator(device=where).manual_seed(value)
