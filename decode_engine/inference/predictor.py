"""`Predictor`: a movie in, localizations out, in one pass with flat memory.

A thread reads ahead; each frame is converted to photons and encoded once although the network
sees it with its neighbours; tiles, chunks and regions leave no trace in the result.

Neighbours in time are real frames wherever the movie has them, also those outside the requested
range; only at the movie's first and last frame the frame itself stands in for its missing
neighbour. A range is therefore a slice of the whole result.

Batches have a fixed size and begin at its multiples, counted from the movie's first frame;
incomplete ones are filled up. A frame therefore has the same place in the same batch whatever
the range, and its result is the same to the last bit (vectorised functions treat the last few
elements of an array differently). A run that goes on where another was killed gives the same
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import PixelGrid, Roi
from decode_engine.domain.localizations import LocalizationFlag, Localizations
from decode_engine.inference.peaks import PeakMethod, PeakTable, correct_peaks, extract_peaks
from decode_engine.inference.reader import FrameBlock, FrameReader
from decode_engine.inference.tiling import (
    Tile,
    TilePlan,
    activation_bytes_per_px,
    choose_batch_frames,
    choose_tile_px,
    owned_by,
    plan_tiles,
)
from decode_engine.io.movies import FrameSource
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.device import autocast_dtype
from decode_engine.network.output import NetworkOutput
from decode_engine.network.scaling import NetworkScaling
from decode_engine.network.uncertainty import LOWEST_PROBABILITY, Uncertainty
from decode_engine.simulation.camera_noise import CameraNoise

__all__ = ["LocalizedBatch", "Predictor", "PredictorOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorOptions:
    """How frames are turned into localizations.

    Parameters
    ----------
    probability_threshold : float
        Localizations below are dropped.
    precision : {"auto", "fp32", "bf16"}
        Arithmetic of the convolutions; sub-pixel outputs are always single precision.
    batch_frames, tile_px : int or None
        Frames per step and largest tile; chosen by memory if None.
    z_limits_nm : (float, float) or None
        Range of z for which the model was made; localizations at or beyond it are flagged.
    method : {"collapse", "integration"}
        How pixels are joined to peaks.
    """

    probability_threshold: float = 0.5
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    batch_frames: int | None = None
    tile_px: int | None = None
    z_limits_nm: tuple[float, float] | None = None
    method: PeakMethod = "collapse"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalizedBatch:
    """Localizations of the frames ``start`` to ``stop - 1``, sorted by frame, row and column."""

    start: int
    stop: int
    localizations: Localizations


class Predictor:
    """Localizes emitters with a trained network.

    Parameters
    ----------
    network : LocalizationNetwork
        With its weights; is moved to the device and set to evaluation.
    scaling : NetworkScaling
    camera : CameraModel
        Camera of the movie; per-pixel maps cover the whole frame.
    device : torch.device
    options : PredictorOptions
    uncertainty : Uncertainty
        What the network's sigmas and probabilities mean; by default what they say.
    """

    def __init__(
        self,
        network: LocalizationNetwork,
        scaling: NetworkScaling,
        camera: CameraModel,
        *,
        device: torch.device,
        options: PredictorOptions | None = None,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        self.device = device
        self.network = network.to(device).eval()
        self.scaling = scaling
        self.camera = camera
        self.options = options or PredictorOptions()
        self.uncertainty = uncertainty or Uncertainty()
        self.autocast_dtype = autocast_dtype(device, self.options.precision)
        self._bytes_per_px = activation_bytes_per_px(self.network)

    def plan(self, source: FrameSource, region: Roi | None = None) -> tuple[TilePlan, int]:
        """Return the tiles and the frames per step for a movie."""
        frame_px = (source.width_px, source.height_px)
        tile_px = self.options.tile_px or choose_tile_px(self.network, self._bytes_per_px)
        plan = plan_tiles(frame_px, region, self.network, tile_px)
        batch_frames = self.options.batch_frames
        return plan, batch_frames or choose_batch_frames(self.network, plan, self._bytes_per_px)

    def localize(
        self,
        source: FrameSource,
        frames: tuple[int, int | None] = (0, None),
        *,
        region: Roi | None = None,
        follow_s: float = 0.0,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[LocalizedBatch]:
        """Localize a range of a movie, batch by batch.

        Parameters
        ----------
        source : FrameSource
        frames : (int, int or None)
            First frame and end (exclusive); None goes to the end of the movie.
        region : Roi or None
            Only emitters in these pixels are returned; the network sees what is around them.
        follow_s : float
            With an open end: wait this long for new frames of a movie that still grows.
        check : callable
            Called many times a second; may raise to stop.

        Yields
        ------
        LocalizedBatch
            Consecutive, without gaps, also for frames without localizations.
        """
        start, stop = frames
        plan, batch_frames = self.plan(source, region)
        reach = self.network.context_frames // 2
        first = max(0, start - reach)
        last = None if stop is None else min(source.n_frames, stop + reach)
        run = _Run(self, plan, source, batch_frames, (start, stop))
        reader = FrameReader(
            source, (first, last), batch_frames, plan.seen, follow_s=follow_s, check=check
        )
        with reader, _interruptible(self.network, check):
            for block in reader:
                check()
                batch = run.step(block)
                if batch is not None:
                    yield batch
            if run.position < (source.n_frames if stop is None else stop):
                yield run.finish()


class _Run:
    """State of one pass through a movie."""

    def __init__(
        self,
        predictor: Predictor,
        plan: TilePlan,
        source: FrameSource,
        batch_frames: int,
        frames: tuple[int, int | None],
    ) -> None:
        camera = predictor.camera
        camera.require_frame_size(source.height_px, source.width_px)
        self.position, self._stop = frames  # next frame to be returned, end
        self._predictor = predictor
        self._plan = plan
        self._batch_frames = batch_frames
        self._to_photons = CameraNoise(camera.crop(plan.seen), predictor.device).to_photons
        self._grid = PixelGrid(
            width_px=source.width_px,
            height_px=source.height_px,
            pixel_size_x_nm=camera.pixel_size_x_nm,
            pixel_size_y_nm=camera.pixel_size_y_nm,
        )
        self._context = predictor.network.context_frames
        self._features = [_RollingWindow(self._context) for _ in plan.tiles]
        self._saturated = _RollingWindow(self._context)
        self._read = 0  # end of the frames that were taken
        self._batch_start = 0

    @torch.inference_mode()
    def step(self, block: FrameBlock) -> LocalizedBatch | None:
        """Take the next frames; return what can be localized by now, if anything."""
        predictor = self._predictor
        self._read = block.start + block.adu.shape[0]
        self._batch_start = block.start // self._batch_frames * self._batch_frames
        raw = torch.from_numpy(self._filled_up(block)).to(predictor.device)
        frames = predictor.scaling.frames_to_network(self._to_photons(raw))[:, None]
        saturated = self._saturated.push(self._near_saturation(raw))
        frames_out = self._frames_out()
        tables = []
        for tile, window in zip(self._plan.tiles, self._features, strict=True):
            with self._autocast():
                features = predictor.network.encode(_cut(frames, tile.seen_in(self._plan.seen)))
            run = window.push(features)
            del features  # the run has a copy; large tiles should not hold both
            if frames_out:
                tables.append(self._localize_tile(tile, run, saturated))
        return self._collect(tables, frames_out) if frames_out else None

    @torch.inference_mode()
    def finish(self) -> LocalizedBatch:
        """Localize the movie's last frames, which stand in for those that should follow."""
        self._batch_start += self._batch_frames
        frames_out = self._frames_out()
        saturated = self._saturated.repeat_last(len(frames_out))
        tables = [
            self._localize_tile(tile, window.repeat_last(len(frames_out)), saturated)
            for tile, window in zip(self._plan.tiles, self._features, strict=True)
        ]
        return self._collect(tables, frames_out)

    def _filled_up(self, block: FrameBlock) -> NDArray[Any]:
        """Return a whole batch; its first and last frame stand in for those that are missing."""
        before = block.start - self._batch_start
        after = self._batch_frames - before - block.adu.shape[0]
        if before == after == 0:
            return block.adu
        return np.pad(block.adu, ((before, after), (0, 0), (0, 0)), mode="edge")

    def _frames_out(self) -> range:
        """Return the wanted frames whose neighbours are all there with this batch."""
        start = self._batch_start - self._context // 2
        stop = min(start + self._batch_frames, self._read)
        if self._stop is not None:
            stop = min(stop, self._stop)
        return range(self.position, max(stop, self.position))

    def _autocast(self) -> torch.autocast:
        dtype = self._predictor.autocast_dtype
        return torch.autocast(
            self._predictor.device.type, dtype or torch.bfloat16, enabled=dtype is not None
        )

    def _near_saturation(self, raw: Tensor) -> Tensor:
        """Return (N, h, w) bool: whether a pixel or one of its eight neighbours is saturated."""
        limit = self._predictor.camera.saturation_adu
        if limit is None:
            return torch.zeros_like(raw[:, :1, :1], dtype=torch.bool).expand(raw.shape)
        full = raw.float() >= limit
        if not bool(full.any()):
            return full
        return functional.max_pool2d(full[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0

    def _localize_tile(self, tile: Tile, run: Tensor, saturated: Tensor) -> dict[str, NDArray[Any]]:
        """Return the columns of the localizations that a tile owns.

        Parameters
        ----------
        run : (N + T - 1, C, h, w)
            Features of consecutive frames; N of them have all their neighbours.
        saturated : (N + T - 1, H, W) bool
        """
        options = self._predictor.options
        windows = run.unfold(0, self._context, 1).movedim(-1, 1)  # (N, T, C, h, w), a view
        with self._autocast():
            output = self._predictor.network.fuse(windows)
        near = tile.relevant
        output = NetworkOutput(*(_cut(maps, near) for maps in output))
        peaks = extract_peaks(
            output, self._predictor.scaling, self._lowest_probability, method=options.method
        )
        row, column = peaks.row + near.y_px, peaks.column + near.x_px
        place = (row + tile.seen.y_px, column + tile.seen.x_px)
        peaks = correct_peaks(peaks, self._predictor.uncertainty, *place)
        keep = owned_by(tile, row, column) & (peaks.probability >= options.probability_threshold)
        peaks, row, column = peaks.select(keep), row[keep], column[keep]
        row, column = row + tile.seen.y_px, column + tile.seen.x_px
        seen = self._plan.seen
        bright = saturated[peaks.image + self._context // 2, row - seen.y_px, column - seen.x_px]
        return self._columns(peaks, row, column, bright)

    @property
    def _lowest_probability(self) -> float:
        threshold = self._predictor.options.probability_threshold
        if self._predictor.uncertainty.detection:
            return min(threshold, LOWEST_PROBABILITY)
        return threshold

    def _columns(
        self, peaks: PeakTable, row: Tensor, column: Tensor, bright: Tensor
    ) -> dict[str, NDArray[Any]]:
        """Convert to nm in the frame, in double precision; ``row``/``column`` are the frame's."""
        values = {name: tensor.cpu().numpy() for name, tensor in peaks._asdict().items()}
        rows, columns = row.cpu().numpy(), column.cpu().numpy()
        grid = self._grid
        flags = np.where(bright.cpu().numpy(), LocalizationFlag.SATURATED, 0).astype(np.uint32)
        if (limits := self._predictor.options.z_limits_nm) is not None:
            outside = (values["z_nm"] <= limits[0]) | (values["z_nm"] >= limits[1])
            flags |= np.where(outside, LocalizationFlag.Z_AT_LIMIT, 0).astype(np.uint32)
        return {
            "frame": values["image"] + (self._batch_start - self._context // 2),
            "x_nm": grid.x_to_nm(columns + values["offset_x_px"].astype(np.float64)),
            "y_nm": grid.y_to_nm(rows + values["offset_y_px"].astype(np.float64)),
            "z_nm": values["z_nm"],
            "photons": values["photons"],
            "background": values["background"],
            "probability": values["probability"],
            "sigma_x_nm": values["sigma_x_px"] * grid.pixel_size_x_nm,
            "sigma_y_nm": values["sigma_y_px"] * grid.pixel_size_y_nm,
            "sigma_z_nm": values["sigma_z_nm"],
            "sigma_photons": values["sigma_photons"],
            "flags": flags,
            "row": rows,
            "column": columns,
        }

    def _collect(self, tables: list[dict[str, NDArray[Any]]], frames: range) -> LocalizedBatch:
        """Join the tiles' localizations of some frames in an order that tiles do not change."""
        columns = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
        order = np.lexsort((columns.pop("column"), columns.pop("row"), columns["frame"]))
        frame = columns["frame"][order]
        order = order[(frame >= frames.start) & (frame < frames.stop)]
        self.position = frames.stop
        return LocalizedBatch(
            start=frames.start,
            stop=frames.stop,
            localizations=Localizations(**{n: v[order] for n, v in columns.items()}),
        )


class _RollingWindow:
    """Keeps the last T - 1 items of a stream, so that each item is computed once."""

    def __init__(self, context: int) -> None:
        self._keep = context - 1
        self._held: Tensor | None = None

    def push(self, items: Tensor) -> Tensor:
        """Return the kept items and the new ones (N, ...); the first stands for earlier ones."""
        if not self._keep:
            return items
        held = self._held if self._held is not None else _repeated(items[:1], self._keep)
        run = torch.cat((held, items))
        self._held = run[-self._keep :].clone()
        return run

    def repeat_last(self, count: int) -> Tensor:
        """Return the kept items and ``count`` copies of the last."""
        if self._held is None:
            raise ValueError("nothing was pushed yet")
        return torch.cat((self._held, _repeated(self._held[-1:], count)))


def _repeated(item: Tensor, count: int) -> Tensor:
    """Return copies of ``item`` (1, ...) in its memory format, which `expand` would lose."""
    return torch.cat([item] * count)


def _cut(maps: Tensor, roi: Roi) -> Tensor:
    """Cut a region out of (..., H, W) maps."""
    rows = slice(roi.y_px, roi.y_px + roi.height_px)
    return maps[..., rows, roi.x_px : roi.x_px + roi.width_px]


@contextmanager
def _interruptible(network: LocalizationNetwork, check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` before every layer, so that one large tile cannot delay a cancellation."""

    def before(_module: torch.nn.Module, _inputs: tuple[object, ...]) -> None:
        check()

    layers = [module for module in network.modules() if not any(module.children())]
    hooks = [layer.register_forward_pre_hook(before) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
