"""A small residual U-Net at half resolution, much cheaper than the paper's network.

Frames are folded into four half-resolution channels (pixel-unshuffle, lossless), so that every
convolution runs on a quarter of the pixels. One encoder, called once a frame, feeds a U-Net that
sees the frames together; one head speaks for the four pixels of each cell, or (an option, slower)
a last level of few features at full resolution that sees the frames again, so the output is per
pixel, as the paper's is, and everything downstream is shared. Convolutions are dense 3x3 with
multiples of 16 channels, which processors and tensor cores do best; nothing normalises over the
frame, so that tiles leave no trace.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from decode_engine.errors import ConfigError
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.loss import LossFunction, network_loss
from decode_engine.network.output import NetworkOutput
from decode_engine.network.set_loss import set_loss

__all__ = ["LOSSES", "FastNet"]

LOSSES: dict[str, LossFunction] = {"mixture": network_loss, "set": set_loss}

_CELL_PX = 2
_MAPS = 10
_Z_MAP = 3
_SIGMA_MAX = 3.0
_SIGMA_MIN = 0.001
_INITIAL_LOGIT = -6.0  # 0.25 % of the pixels: a few emitters on a training frame
_INITIAL_SIGMA = -2.0  # 0.36 px: what the first steps learn anyway
# The photon range ends far above the mean flux; sigmas follow the means.
_INITIAL_PHOTONS = -2.5
_INITIAL_SIGMA_PHOTONS = -4.0
_LARGEST_DEPTH = 4


class _Residual(nn.Module):
    """Twice SiLU and 3x3 convolution, added to the input; begins as the identity."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = _conv(features, features, 3)
        self.second = _conv(features, features, 3)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(functional.silu(x))
        result: Tensor = x + self.second(functional.silu(inner))
        return result


class _Level(nn.Module):
    """One level of the U-Net and everything below it; skips are added, not joined."""

    def __init__(self, features: tuple[int, ...]) -> None:
        super().__init__()
        own, below = features[0], features[1:]
        self.before = _Residual(own)
        self.after = _Residual(own)
        self.down: nn.Module | None = None
        if below:
            self.down = _conv(own, below[0], 2, stride=2)
            self.deeper = _Level(below)
            self.up = _conv(below[0], own, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        if self.down is not None:
            coarse = self.up(self.deeper(self.down(x)))
            x = x + functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        result: Tensor = self.after(x)
        return result


class FastNet(LocalizationNetwork):
    """Frame encoder and context U-Net at half resolution, one head.

    Parameters
    ----------
    context_frames : int
        1 or 3.
    generator : torch.Generator
        Source of the initial weights.
    width : int
        Channels at half resolution; the levels below have 2 and 8/3 times as many.
    loss : {"mixture", "set"}
        The paper's or `set_loss`, which learns more slowly at first.
    stabilised_input : bool
        Frames enter with unit noise (`NetworkScaling.stabilised`), not linearly.
    detail : int
        Features of a last level at full resolution; 0: none, the maps of the four pixels of each
        cell come from the head. 32 take a third more time.
    """

    alignment_px: ClassVar[int] = 8
    halo_px: ClassVar[int] = 80

    def __init__(
        self,
        context_frames: int,
        generator: torch.Generator,
        *,
        width: int = 48,
        loss: str = "mixture",
        stabilised_input: bool = True,
        detail: int = 0,
    ) -> None:
        super().__init__()
        if context_frames not in (1, 3):
            raise ConfigError(f"The network sees 1 or 3 frames, not {context_frames}.")
        if width < 3 or width % 3:
            raise ConfigError(f"The width {width} is not a multiple of 3.")
        if detail < 0:
            raise ConfigError(f"The last level cannot have {detail} features.")
        if loss not in LOSSES:
            raise ConfigError(
                f"There is no loss named {loss!r}.", hint=f"Choose one of: {', '.join(LOSSES)}."
            )
        self.context_frames = context_frames
        self.stabilised_input = stabilised_input
        self._loss = LOSSES[loss]
        self.enter = _conv(_CELL_PX**2, width, 3)
        self.frame_net = nn.Sequential(_Residual(width), _Residual(width))
        self.join = _conv(context_frames * width, width, 1)
        self.context_net = _Level((width, 2 * width, 8 * width // 3))
        self._detail = detail
        if detail:
            self.spread = _conv(width, detail * _CELL_PX**2, 1)
            self.pixels = _conv(context_frames, detail, 3)
            self.detail_net = _Residual(detail)
            self.last = _conv(detail, _MAPS, 1)
        else:
            self.head = _conv(width, width + width // 3, 3)
            self.last = _conv(width + width // 3, _MAPS * _CELL_PX**2, 1)
        self._initialise(generator)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch stub

    @property
    def loss(self) -> LossFunction:
        """The loss that the network is trained with."""
        return self._loss

    def hidden_kernels(self) -> list[nn.Parameter]:
        """Return all kernels but those that see pixels or speak in physical units."""
        outer = {id(self.enter.weight), id(self.last.weight)}
        if self._detail:
            outer.add(id(self.pixels.weight))
        return [p for p in self.parameters() if p.ndim == 4 and id(p) not in outer]

    def context_inputs(self) -> list[nn.Conv2d]:
        """Return the convolutions whose features enter the context U-Net's levels, finest first."""
        found, level = [self.join], self.context_net
        while isinstance(level.down, nn.Conv2d):
            found.append(level.down)
            level = level.deeper
        return found

    @torch.no_grad()
    def flip_z(self) -> bool:
        """Negate the last layer's rows that make z (tanh is odd)."""
        each = self.last.out_channels // _MAPS
        rows = slice(_Z_MAP * each, (_Z_MAP + 1) * each)
        for parameter in self.last.parameters():
            parameter[rows] = -parameter[rows]
        return True

    def _initialise(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        for module in self.modules():
            if isinstance(module, _Residual):
                nn.init.zeros_(module.second.weight)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
        nn.init.normal_(self.last.weight, std=0.01, generator=generator)
        bias = dict(self.last.named_parameters())["bias"]
        with torch.no_grad():
            start = bias.view(_MAPS, -1)
            start[0] = _INITIAL_LOGIT
            start[4] = _INITIAL_PHOTONS
            start[5:8] = _INITIAL_SIGMA
            start[8] = _INITIAL_SIGMA_PHOTONS

    def encode(self, frames: Tensor) -> Tensor:
        """Return features (N, C, ceil(H / 2), ceil(W / 2)) of frames (N, 1, H, W).

        With a last level at full resolution the four last ones are the frames' own pixels.
        """
        height, width = frames.shape[-2:]
        if height % _CELL_PX or width % _CELL_PX:
            frames = functional.pad(frames, (0, width % _CELL_PX, 0, height % _CELL_PX))
        cells = functional.pixel_unshuffle(frames, _CELL_PX)
        features = self.enter(cells.contiguous(memory_format=torch.channels_last))
        result: Tensor = self.frame_net(features)
        return torch.cat([result, cells.to(result.dtype)], dim=1) if self._detail else result

    def fuse(self, features: Tensor) -> NetworkOutput:
        """Return maps of 2h x 2w pixels for features (N, T, C, h, w)."""
        features, cells = features.tensor_split([self.enter.out_channels], dim=2)
        joined = torch.cat(features.unbind(1), dim=1)
        height, width = joined.shape[-2:]
        x = self.join(joined.contiguous(memory_format=torch.channels_last))
        if height % _LARGEST_DEPTH or width % _LARGEST_DEPTH:
            x = functional.pad(x, (0, -width % _LARGEST_DEPTH, 0, -height % _LARGEST_DEPTH))
            x = x.contiguous(memory_format=torch.channels_last)
        x = functional.silu(self.context_net(x))
        if self._detail:
            return _output(self._in_full(self._detailed(x[..., :height, :width], cells)))
        x = functional.silu(self.head(x))[..., :height, :width]
        return _output(functional.pixel_shuffle(self._in_full(x), _CELL_PX))

    def _detailed(self, x: Tensor, cells: Tensor) -> Tensor:
        """Return features of pixels from those of cells (N, C, h, w) and the cells' pixels."""
        frames = functional.pixel_shuffle(cells.flatten(1, 2), _CELL_PX)
        spread = functional.pixel_shuffle(self.spread(x), _CELL_PX)
        frames, spread = (
            maps.contiguous(memory_format=torch.channels_last) for maps in (frames, spread)
        )
        return functional.silu(self.detail_net(spread + self.pixels(frames)))

    def _in_full(self, x: Tensor) -> Tensor:
        """Return the maps; sub-pixel outputs need more than bfloat16's 8 bits."""
        with torch.autocast(x.device.type, enabled=False):
            maps: Tensor = self.last(x.to(self.last.weight.dtype))
            return maps.contiguous()  # map by map from here on

    def forward(self, frames: Tensor) -> NetworkOutput:
        """Return the output of the middle frames of ``frames`` (N, T, H, W)."""
        height, width = frames.shape[-2:]
        output = super().forward(frames)
        return NetworkOutput(*(maps[..., :height, :width] for maps in output))


def _output(maps: Tensor) -> NetworkOutput:
    offset = torch.tanh(maps[:, 1:4])
    sigma = _SIGMA_MIN + _SIGMA_MAX * torch.sigmoid(maps[:, 5:9])
    return NetworkOutput(
        logit=maps[:, 0],
        x=offset[:, 0],
        y=offset[:, 1],
        z=offset[:, 2],
        photons=torch.sigmoid(maps[:, 4]),
        sigma_x=sigma[:, 0],
        sigma_y=sigma[:, 1],
        sigma_z=sigma[:, 2],
        sigma_photons=sigma[:, 3],
        background=torch.sigmoid(maps[:, 9]),
    )


def _conv(in_channels: int, out_channels: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a convolution whose weights are not set yet (no draw from the global generator)."""
    padding = size // 2 if size % 2 else 0
    layer = nn.Conv2d(in_channels, out_channels, size, stride, padding, device="meta")
    return layer.to_empty(device="cpu")
