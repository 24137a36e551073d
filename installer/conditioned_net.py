"""The network of starters in training: each sample's PSF modulates its features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from decode_engine.network.fast_net import FastNet
from decode_engine.network.output import NetworkOutput
from decode_engine.network.psf_conditioning import Modulation, PsfConditioning

__all__ = ["ConditionedNet"]


class ConditionedNet(FastNet):
    """`FastNet` with its `PsfConditioning`, trained where its batches are made (no workers).

    Attributes
    ----------
    sketches : (B, K) Tensor
        Of the PSFs of the next batch in training.
    validated : (K,) Tensor
        Of the PSF that is validated with.
    """

    conditioning: PsfConditioning
    sketches: Tensor
    validated: Tensor

    def condition(self, conditioning: PsfConditioning, validated: Tensor) -> None:
        """Set the conditioning and the sketch of the PSF that is validated with."""
        self.conditioning = conditioning
        self.register_buffer("validated", validated, persistent=False)

    def plain_weights(self) -> dict[str, Tensor]:
        """Return the parameters of `FastNet`, in which no PSF is folded."""
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if not name.startswith("conditioning.")
        }

    def fuse(self, features: Tensor) -> NetworkOutput:
        """Return maps; see `FastNet.fuse`."""
        sketches = self.sketches if self.training else self.validated
        hooks = [
            convolution.register_forward_hook(_modulate(modulation))
            for convolution, modulation in zip(
                self.context_inputs(), self.conditioning(sketches), strict=True
            )
        ]
        try:
            return super().fuse(features)
        finally:
            for hook in hooks:
                hook.remove()


def _modulate(
    modulation: Modulation,
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    gain, shift = (values[..., None, None] for values in (modulation.gain, modulation.shift))

    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return torch.addcmul(shift.to(output.dtype), output, gain.to(output.dtype))

    return hook
