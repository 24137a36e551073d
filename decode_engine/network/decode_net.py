"""The network of the DECODE paper: Speiser et al. 2021, doi 10.1038/s41592-021-01236-x.

Extended Data Fig. 1: one U-Net, shared by the frames, turns each frame into 48 features; a second
U-Net fuses the features of three consecutive frames; four heads predict probability, means,
sigmas and background per pixel. 2,199,418 parameters with the default options.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from decode_engine.errors import ConfigError
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.output import NetworkOutput

__all__ = ["DecodeNet"]

_SIGMA_MAX = 3.0
_SIGMA_MIN = 0.001
_INITIAL_LOGIT = -6.0  # 0.25 % of the pixels: a few emitters on a training frame


class _Block(nn.Sequential):
    """Twice: 3x3 convolution, ELU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            _conv(in_channels, out_channels, 3),
            nn.ELU(inplace=True),
            _conv(out_channels, out_channels, 3),
            nn.ELU(inplace=True),
        )


class _Up(nn.Module):
    """Nearest-neighbour doubling and a 1x1 convolution, joined with the encoder's features."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = _conv(in_channels, out_channels, 1)
        self.block = _Block(2 * out_channels, out_channels)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        # A 1x1 convolution and a nearest-neighbour copy commute; before it, it costs a quarter.
        up = functional.interpolate(self.reduce(coarse), scale_factor=2.0, mode="nearest")
        joined: Tensor = self.block(torch.cat((skip, up), dim=1))
        return joined


class _UNet(nn.Module):
    """U-Net of depth two: f, 2f features, 4f at the bottom; no normalisation."""

    def __init__(self, in_channels: int, features: int) -> None:
        super().__init__()
        f = features
        self.level0 = _Block(in_channels, f)
        self.down0 = _conv(f, f, 2, stride=2)
        self.level1 = _Block(f, 2 * f)
        self.down1 = _conv(2 * f, 2 * f, 2, stride=2)
        self.bottom = _Block(2 * f, 4 * f)
        self.up1 = _Up(4 * f, 2 * f)
        self.up0 = _Up(2 * f, f)
        self.last = _conv(f, f, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, f, H, W); H and W are multiples of 4."""
        skip0 = self.level0(x)
        skip1 = self.level1(self.down0(skip0))
        x = self.bottom(self.down1(skip1))
        result: Tensor = self.last(self.up0(self.up1(x, skip1), skip0))
        return result


class _Head(nn.Module):
    """3x3 convolution, ELU, 1x1 convolution to ``outputs`` maps."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.first = _conv(features, features, 3)
        self.last = _conv(features, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(functional.elu(self.first(x), inplace=True))
        return result


class DecodeNet(LocalizationNetwork):
    """Two stacked U-Nets and four heads.

    Parameters
    ----------
    context_frames : int
        1 or 3.
    features : int
        Channels at full resolution; 48 in the paper.
    generator : torch.Generator
        Source of the initial weights: Kaiming-normal (fan in), biases 0, -6 for the logit.

    Notes
    -----
    The probability head's logit is left unclamped (the authors' program clamps it to +-8, which
    makes 1,600 empty pixels claim half an emitter); the loss floors the variance instead.
    """

    alignment_px: ClassVar[int] = 4
    halo_px: ClassVar[int] = 44

    def __init__(self, context_frames: int, features: int, generator: torch.Generator) -> None:
        super().__init__()
        if context_frames not in (1, 3):
            raise ConfigError(f"The network sees 1 or 3 frames, not {context_frames}.")
        if features < 1:
            raise ConfigError(f"The network cannot have {features} features.")
        self.context_frames = context_frames
        self.frame_net = _UNet(1, features)
        self.context_net = _UNet(context_frames * features, features)
        self.probability_head = _Head(features, 1)
        self.mean_head = _Head(features, 4)
        self.sigma_head = _Head(features, 4)
        self.background_head = _Head(features, 1)
        self._initialise(generator)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch stub

    def _initialise(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
        logit = self.probability_head.last
        nn.init.kaiming_normal_(logit.weight, nonlinearity="linear", generator=generator)
        nn.init.constant_(dict(logit.named_parameters())["bias"], _INITIAL_LOGIT)

    def encode(self, frames: Tensor) -> Tensor:
        """Return the features (N, f, H, W) of frames (N, 1, H, W), any H and W."""
        return _padded(self.frame_net, frames)

    def fuse(self, features: Tensor) -> NetworkOutput:
        """Return the output (N, H, W) from features (N, T, f, H, W)."""
        # torch.cat keeps channels-last memory, a reshape would not.
        joined = torch.cat(features.unbind(1), dim=1)
        fused = _padded(self.context_net, joined)
        with torch.autocast(fused.device.type, enabled=False):
            # Sub-pixel outputs need more than bfloat16's 8 bits.
            return self._heads(fused.to(next(self.parameters()).dtype))

    def _heads(self, fused: Tensor) -> NetworkOutput:
        mean = self.mean_head(fused)  # photons, x, y, z
        sigma = _SIGMA_MIN + _SIGMA_MAX * torch.sigmoid(self.sigma_head(fused))
        offset = torch.tanh(mean[:, 1:])
        return NetworkOutput(
            logit=self.probability_head(fused)[:, 0],
            x=offset[:, 0],
            y=offset[:, 1],
            z=offset[:, 2],
            photons=torch.sigmoid(mean[:, 0]),
            sigma_x=sigma[:, 1],
            sigma_y=sigma[:, 2],
            sigma_z=sigma[:, 3],
            sigma_photons=sigma[:, 0],
            background=torch.sigmoid(self.background_head(fused)[:, 0]),
        )


def _conv(in_channels: int, out_channels: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a convolution whose weights are not set yet (no draw from the global generator)."""
    padding = size // 2 if size % 2 else 0
    layer = nn.Conv2d(in_channels, out_channels, size, stride, padding, device="meta")
    return layer.to_empty(device="cpu")


def _padded(net: _UNet, x: Tensor) -> Tensor:
    """Apply a U-Net to any frame size: zeros to the right and below, cut off afterwards.

    The top-left pixel keeps its place on the U-Net's coarse grid, and the zeros are those that
    the convolutions add at a border anyway.
    """
    height, width = x.shape[-2:]
    if height % 4 or width % 4:  # pad copies even where there is nothing to add
        x = functional.pad(x, (0, -width % 4, 0, -height % 4))
    result: Tensor = net(x.contiguous(memory_format=torch.channels_last))
    return result[..., :height, :width]
