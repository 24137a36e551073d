"""What a localization network must do to be trained, and to localize, by this engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from decode_engine.network.loss import LossFunction, network_loss
from decode_engine.network.output import NetworkOutput

__all__ = ["LocalizationNetwork"]


class LocalizationNetwork(nn.Module, ABC):
    """Maps T consecutive frames, in network units, to the emitters of the middle one.

    The work is split so that a movie's frames are encoded once although each is seen T times:
    ``forward(frames) = fuse(encode(frame) for each frame)``.

    Attributes
    ----------
    context_frames : int
        T, odd.
    alignment_px : int
        Results do not change when a frame is cut at multiples of this many pixels ...
    halo_px : int
        ... and this many pixels around the cut are thrown away (the radius of the theoretical
        receptive field, rounded up to the alignment).
    stabilised_input : bool
        Frames enter with unit noise (`NetworkScaling.stabilised`) instead of linearly.
    """

    alignment_px: ClassVar[int]
    halo_px: ClassVar[int]
    context_frames: int
    stabilised_input: bool = False

    @property
    def loss(self) -> LossFunction:
        """The loss that the network is trained with; the paper's if it says nothing else."""
        return network_loss

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """Return per-frame features (N, C, h, w) of frames (N, 1, H, W)."""

    @abstractmethod
    def fuse(self, features: Tensor) -> NetworkOutput:
        """Return the output (N, H, W) from the features (N, T, C, h, w) of T frames each.

        The maps may be larger than the frame, on the right and below.
        """

    def forward(self, frames: Tensor) -> NetworkOutput:
        """Return the output of the middle frames of ``frames`` (N, T, H, W)."""
        n, t, h, w = frames.shape
        features = self.encode(frames.reshape(n * t, 1, h, w))
        return self.fuse(features.view(n, t, *features.shape[1:]))

    def hidden_kernels(self) -> list[nn.Parameter]:
        """Return the convolution kernels between features, whose steps may be orthogonalised."""
        return []

    def context_inputs(self) -> list[nn.Conv2d]:
        """Return the convolutions that a starter's knowledge of PSFs acts on (`fold`)."""
        return []

    def flip_z(self) -> bool:
        """Turn the weights so that z comes out negated; return False if that is not possible."""
        return False

    def decayed_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Split parameters into those with weight decay (convolution weights) and without."""
        parameters = list(self.parameters())
        return ([p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1])

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device
