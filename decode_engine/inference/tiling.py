"""Cutting frames into tiles so that nobody can tell from the result that they were cut.

A tile is seen with a margin (the halo) around the part it owns. Two things make the owned part
exact: the halo is at least the radius of the network's receptive field plus what the search for
peaks looks at, and tiles begin at multiples of the network's alignment, so that strided
convolutions sample the same pixels. At the frame's own border there is no halo; the network's
zero padding is then the same as for the whole frame.

Regions of interest are cut by the same rule: the region is what is owned, real pixels around it
are its halo.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from decode_engine.domain.geometry import Roi
from decode_engine.errors import ConfigError
from decode_engine.network.base import LocalizationNetwork

__all__ = [
    "Tile",
    "TilePlan",
    "activation_bytes_per_px",
    "choose_batch_frames",
    "choose_tile_px",
    "memory_budget_bytes",
    "owned_by",
    "plan_tiles",
]

CPU_BUDGET_BYTES = 1 << 30
GPU_MEMORY_FRACTION = 0.5
CPU_BATCH_PX = 1 << 16  # small frames gain 8 % over 1 << 15, 3 % more beyond; cancels are swift
CPU_BATCH_FRAMES = 16
GPU_BATCH_FRAMES = 512

# Four steps of three pixels (density, rivals, owners, members of a peak) around the peaks that
# crowd an own one, up to two cells of four pixels away.
PEAK_REACH_PX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A rectangle of the frame that the network sees, and the part of it that counts.

    Parameters
    ----------
    seen : Roi
        In pixels of the frame.
    owned : Roi
        In pixels of the frame, inside ``seen``.
    """

    seen: Roi
    owned: Roi

    def seen_in(self, frame: Roi) -> Roi:
        """Return what the tile sees in pixels of a window of the frame."""
        return Roi(
            x_px=self.seen.x_px - frame.x_px,
            y_px=self.seen.y_px - frame.y_px,
            width_px=self.seen.width_px,
            height_px=self.seen.height_px,
        )

    @property
    def relevant(self) -> Roi:
        """The part, in pixels of the tile, in which peaks are searched: owned plus a margin."""
        left = max(self.owned.x_px - PEAK_REACH_PX, self.seen.x_px)
        top = max(self.owned.y_px - PEAK_REACH_PX, self.seen.y_px)
        right = min(_right(self.owned) + PEAK_REACH_PX, _right(self.seen))
        bottom = min(_bottom(self.owned) + PEAK_REACH_PX, _bottom(self.seen))
        return Roi(
            x_px=left - self.seen.x_px,
            y_px=top - self.seen.y_px,
            width_px=right - left,
            height_px=bottom - top,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePlan:
    """The tiles of a region, and the smallest rectangle of the frame that they all see."""

    tiles: tuple[Tile, ...]
    seen: Roi


def plan_tiles(
    frame_px: tuple[int, int],
    region: Roi | None,
    network: LocalizationNetwork,
    tile_px: int,
) -> TilePlan:
    """Cut a region of a frame into tiles.

    Parameters
    ----------
    frame_px : (int, int)
        Width and height of the frame.
    region : Roi or None
        What is wanted; the whole frame if None.
    network : LocalizationNetwork
        Gives alignment and halo.
    tile_px : int
        Largest width and height of a tile with its halo.

    Raises
    ------
    ConfigError
        If the region leaves the frame, or tiles of this size would be all halo.
    """
    width_px, height_px = frame_px
    region = region or Roi(x_px=0, y_px=0, width_px=width_px, height_px=height_px)
    region.require_inside(width_px, height_px)
    halo, align = _halo_px(network), network.alignment_px
    columns = _spans(region.x_px, _right(region), width_px, (tile_px, halo, align))
    rows = _spans(region.y_px, _bottom(region), height_px, (tile_px, halo, align))
    tiles = tuple(
        Tile(
            seen=_roi(column[0], row[0]),
            owned=_roi(column[1], row[1]),
        )
        for row in rows
        for column in columns
    )
    seen = _roi(
        (columns[0][0][0], columns[-1][0][1]),
        (rows[0][0][0], rows[-1][0][1]),
    )
    return TilePlan(tiles=tiles, seen=seen)


def _spans(
    start: int, stop: int, length: int, sizes: tuple[int, int, int]
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Cut start..stop of an axis; return (seen, owned) spans."""
    tile, halo, align = sizes
    low = max(0, start // align * align - halo)
    high = min(length, -(-stop // align) * align + halo)
    if high - low <= tile:
        return [((low, high), (start, stop))]
    step = (tile - 2 * halo) // align * align
    if step < align:
        raise ConfigError(
            f"Tiles of {tile} px are too small: the network needs {halo} px around each.",
            hint=f"Choose a tile of {4 * halo} px or more.",
        )
    first = start // align * align
    count = -(-(stop - first) // step)
    step = -(-(stop - first) // (count * align)) * align  # equal tiles: few shapes
    inner = [first + step * i for i in range(1, count)]
    edges = [start, *(edge for edge in inner if start < edge < stop), stop]
    return [
        ((max(0, a // align * align - halo), min(length, -(-b // align) * align + halo)), (a, b))
        for a, b in itertools.pairwise(edges)
    ]


def owned_by(tile: Tile, row: Tensor, column: Tensor) -> Tensor:
    """Return which pixels, in pixels of the tile, belong to the part that the tile owns.

    Peaks are kept by the pixel that speaks for them, an integer: whatever rounding does to a
    position near the cut, exactly one tile keeps it.
    """
    x = column + tile.seen.x_px
    y = row + tile.seen.y_px
    owned = tile.owned
    return (x >= owned.x_px) & (x < _right(owned)) & (y >= owned.y_px) & (y < _bottom(owned))


def memory_budget_bytes(device: torch.device) -> int:
    """Return how much memory the network's activations may take on a device."""
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        return int(free * GPU_MEMORY_FRACTION)
    return CPU_BUDGET_BYTES


def choose_tile_px(network: LocalizationNetwork, bytes_per_px: int) -> int:
    """Return the largest tile of which one frame fits the memory, at least four halos wide."""
    side = int((memory_budget_bytes(network.device) / bytes_per_px) ** 0.5)
    align = network.alignment_px
    return max(side // align * align, 4 * _halo_px(network))


def choose_batch_frames(network: LocalizationNetwork, plan: TilePlan, bytes_per_px: int) -> int:
    """Return how many frames to take at once."""
    pixels = max(tile.seen.width_px * tile.seen.height_px for tile in plan.tiles)
    if network.device.type == "cpu":
        return max(1, min(CPU_BATCH_FRAMES, CPU_BATCH_PX // pixels))
    fitting = memory_budget_bytes(network.device) // (bytes_per_px * pixels)
    return max(1, min(GPU_BATCH_FRAMES, fitting))


def _halo_px(network: LocalizationNetwork) -> int:
    align = network.alignment_px
    return -(-(network.halo_px + PEAK_REACH_PX) // align) * align


def activation_bytes_per_px(network: LocalizationNetwork) -> int:
    """Estimate the memory of one frame in the network, per pixel.

    The largest layer's input and output, three times (skip connections and the library's own
    scratch memory), from one pass over a small empty frame; single precision.
    """
    side = 32
    largest = 0

    def watch(_module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal largest
        size = sum(t.numel() for t in (*inputs, output))
        largest = max(largest, size // output.shape[0])

    layers = [m for m in network.modules() if not any(m.children())]
    hooks = [layer.register_forward_hook(watch) for layer in layers]
    try:
        with torch.inference_mode():
            network(torch.zeros(1, network.context_frames, side, side, device=network.device))
    finally:
        for hook in hooks:
            hook.remove()
    return 3 * 4 * largest // side**2


def _right(roi: Roi) -> int:
    return roi.x_px + roi.width_px


def _bottom(roi: Roi) -> int:
    return roi.y_px + roi.height_px


def _roi(columns: tuple[int, int], rows: tuple[int, int]) -> Roi:
    return Roi(
        x_px=columns[0],
        y_px=rows[0],
        width_px=columns[1] - columns[0],
        height_px=rows[1] - rows[0],
    )
