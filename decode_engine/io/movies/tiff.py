"""One TIFF file as a movie."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from decode_engine.errors import MovieError
from decode_engine.io.movies.source import BaseSource, add_warnings, vanished
from decode_engine.io.movies.tiff_metadata import StackAxes, describe_tiff
from decode_engine.io.movies.tiff_pages import NOT_CONTIGUOUS, PageLayout, TiffPages

__all__ = ["PlaneSelection", "TiffSource", "fill_from", "select_planes"]

_MOST_CHANNELS = 7  # of ImageJ's composite images


class PlaneSelection:
    """Which planes of a stack are the frames of the movie: first, step and count."""

    def __init__(self, first: int, step: int, count: int) -> None:
        self.first = first
        self.step = step
        self.count = count


def select_planes(
    axes: StackAxes | None,
    n_planes: int,
    name: str,
    *,
    channel: int | None = None,
    z_slice: int | None = None,
) -> PlaneSelection:
    """Choose the planes that are frames; raise `MovieError` where the file leaves it open.

    Time is the movie's axis; a stack without time points may have its slices as frames (ImageJ
    calls every plain stack "slices"). Several channels, or slices at several times, must be
    chosen by the caller.
    """
    if n_planes == 1:  # one of many files; its notes are about all of them
        return PlaneSelection(0, 1, 1)
    if axes is None or n_planes > axes.planes or _mislabelled(axes):
        axes = StackAxes(times=n_planes)  # the pages are the truth
    if axes.channels > 1 and channel is None:
        raise MovieError(
            f"{name} has {axes.channels} channels.",
            hint="Choose one (--movie-channel), or save each channel as its own movie (in Fiji: "
            "Split Channels).",
        )
    moving = "T" if axes.times > 1 or axes.slices == 1 else "Z"
    if moving == "T" and axes.slices > 1 and z_slice is None:
        raise MovieError(
            f"{name} has {axes.slices} z slices at each of {axes.times} times.",
            hint="Choose one slice (--z-slice), or save it as a movie of its own (in Fiji: Make "
            "Substack).",
        )
    sizes = {"C": axes.channels, "Z": axes.slices, "T": axes.times}
    strides, stride = {}, 1
    for axis in axes.order:
        strides[axis] = stride
        stride *= sizes[axis]
    first = _chosen(channel, axes.channels, "channel", name) * strides["C"]
    if moving == "T":
        first += _chosen(z_slice, axes.slices, "slice", name) * strides["Z"]
    step = strides[moving]
    present = max(0, -(-(n_planes - first) // step))
    return PlaneSelection(first, step, min(present, sizes[moving]))


def _mislabelled(axes: StackAxes) -> bool:
    """Whether "channels" are frames: some programs call the only axis of any stack so."""
    return axes.channels > _MOST_CHANNELS and axes.slices == axes.times == 1


def _chosen(index: int | None, size: int, what: str, name: str) -> int:
    chosen = 0 if index is None else index
    if not 0 <= chosen < size:
        raise MovieError(
            f"The {what} {chosen} was asked of {name}, which has {size}.",
            hint=f"Choose a {what} from 0 to {size - 1}.",
        )
    return chosen


def fill_from(
    handle: BinaryIO, offset: int, target: NDArray[Any], file_dtype: np.dtype[Any]
) -> None:
    """Fill a contiguous array with the bytes at ``offset``, in the machine's byte order.

    Raises `EOFError` where the file ends too early.
    """
    view = target.reshape(-1).view(np.uint8).data
    handle.seek(offset)
    done = 0
    while done < len(view):
        n = handle.readinto(view[done:])  # type: ignore[attr-defined]  # raw files have it
        if not n:
            raise EOFError
        done += n
    if not file_dtype.isnative:
        target.byteswap(inplace=True)


class TiffSource(BaseSource):
    """A movie in one TIFF, BigTIFF, OME-TIFF or ImageJ file.

    Frames whose pixels lie in one piece, uncompressed (what all acquisition programs write),
    are read straight from their place; others are decoded page by page by tifffile.

    Parameters
    ----------
    path : Path
    channel, z_slice : int or None
        Choice for files with several channels, or slices at several times.
    """

    def __init__(
        self, path: Path, *, channel: int | None = None, z_slice: int | None = None
    ) -> None:
        super().__init__(path)
        self._choice = (channel, z_slice)
        self._pages = TiffPages(path)
        self._decoder: tifffile.TiffFile | None = None
        try:
            _require_grey(self._pages.layout, path)
            self._description = describe_tiff(self._pages)
            layout = self._pages.layout
            self._height_px, self._width_px = layout.height_px, layout.width_px
            self._dtype = layout.dtype.newbyteorder("=")
            self._arrange()
        except BaseException:
            self.close()
            raise
        if self._n_frames == 0:
            self.close()
            raise MovieError(
                f"{path} holds no whole frame.",
                hint="The file was cut off; copy or export it again.",
            )

    @property
    def axes(self) -> StackAxes | None:
        """Channels, slices and times, where the file tells."""
        return self._description.axes

    def _arrange(self) -> None:
        """Decide which pages are frames; note what is missing."""
        pages, frame_bytes = self._pages, self._pages.layout.frame_bytes
        promised = self._description.contiguous_planes or 1
        self._run_planes = 0  # planes of one contiguous run without pages of their own
        n_planes = len(pages)
        if len(pages) and promised > n_planes and pages.data_offsets[0] != NOT_CONTIGUOUS:
            # ImageJ above 4 GB writes one page and all frames behind it; in smaller files the
            # other pages follow the pixels and are what a cut-off file has lost.
            room = (pages.size - pages.data_offsets[0]) // frame_bytes
            if n_planes == 1 or pages.cut:
                n_planes = self._run_planes = min(promised, room)
        self._n_planes = n_planes
        channel, z_slice = self._choice
        self._selection = select_planes(
            self._description.axes, n_planes, self._path.name, channel=channel, z_slice=z_slice
        )
        self._n_frames = self._selection.count
        metadata = self._description.metadata
        warnings = self._missing(n_planes, metadata.announced_frames)
        self._metadata = add_warnings(metadata, *warnings)

    def _missing(self, n_planes: int, announced: int | None) -> list[str]:
        name = self._path.name
        if announced is not None and n_planes < announced:
            return [
                f"{name} holds {n_planes} whole frames of the {announced} that it announces; "
                f"{announced - n_planes} are missing (cut off, still being written, or in "
                "other files)."
            ]
        if self._pages.cut and not self._run_planes:
            return [
                f"{name} ends within a frame; the {n_planes} whole frames before are used, at "
                "least 1 is missing."
            ]
        return []

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        self._require_present()
        out = np.empty((stop - start, self._height_px, self._width_px), self._dtype)
        chosen = self._selection
        planes = range(chosen.first + start * chosen.step, self._n_planes, chosen.step)
        planes = planes[: stop - start]
        try:
            if self._run_planes:
                self._read_run(planes, out)
            else:
                self._read_pages(planes, out)
        except EOFError as error:
            raise vanished(self._path) from error
        return out

    def _read_run(self, planes: range, out: NDArray[Any]) -> None:
        frame_bytes = self._pages.layout.frame_bytes
        first = self._pages.data_offsets[0]
        offsets = array("q", (first + plane * frame_bytes for plane in planes))
        self._read_offsets(offsets, out)

    def _read_pages(self, planes: range, out: NDArray[Any]) -> None:
        data_offsets = self._pages.data_offsets
        offsets = array("q", (data_offsets[plane] for plane in planes))
        if NOT_CONTIGUOUS not in offsets:
            self._read_offsets(offsets, out)
            return
        for row, plane in enumerate(planes):
            if offsets[row] != NOT_CONTIGUOUS:
                self._read_offsets(offsets[row : row + 1], out[row : row + 1])
            else:
                out[row] = self._decode(plane)

    def _read_offsets(self, offsets: array[int], out: NDArray[Any]) -> None:
        """Read whole runs of neighbouring frames with one call each."""
        layout = self._pages.layout
        first = 0
        for row in range(1, len(offsets) + 1):
            if row < len(offsets) and offsets[row] == offsets[row - 1] + layout.frame_bytes:
                continue
            fill_from(self._pages.handle, offsets[first], out[first:row], layout.dtype)
            first = row

    def _decode(self, plane: int) -> NDArray[Any]:
        try:
            if self._decoder is None:
                self._decoder = tifffile.TiffFile(self._path)
            self._decoder.filehandle.seek(self._pages.ifd_offsets[plane])
            frame = np.asarray(tifffile.TiffPage(self._decoder, plane).asarray())
        except (ValueError, RuntimeError, TypeError, tifffile.TiffFileError) as error:
            raise MovieError(
                f"Page {plane} of {self._path} cannot be decoded: {error}.",
                hint="Save the movie uncompressed; the file may be damaged.",
            ) from error
        return frame.reshape(self._height_px, self._width_px).astype(self._dtype, copy=False)

    def _require_present(self) -> None:
        # an open file can be read on after its deletion; the user should hear of it now
        if not self._path.exists():
            raise vanished(self._path)

    def refresh(self) -> int:
        """Look for frames that were added since; return the number of frames."""
        with self._lock:
            try:
                self._pages.extend()
            except OSError as error:
                raise vanished(self._path, str(error)) from error
            if self._decoder is not None:
                self._decoder.close()
                self._decoder = None
            self._arrange()
        return self._n_frames

    def close(self) -> None:
        """Release the file."""
        self._pages.close()
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None


def _require_grey(layout: PageLayout, path: Path) -> None:
    if layout.samples > 1 or layout.photometric == 2:
        raise MovieError(
            f"{path} is a colour image ({layout.samples} samples per pixel).",
            hint="Save the raw grey movie of the camera instead (in Fiji: Image > Type > 16-bit).",
        )
    if layout.width_px < 1 or layout.height_px < 1:
        raise MovieError(
            f"{path} has frames of {layout.width_px} x {layout.height_px} pixels.",
            hint="The file is empty; export the movie again.",
        )
