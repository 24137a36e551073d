"""Writing a movie frame by frame as ImageJ TIFF or, above 4 GB, as OME-BigTIFF."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from decode_engine.errors import MovieError
from decode_engine.io.atomic import atomic_path

__all__ = ["MovieWriter", "write_movie"]

_SPARE_BYTES = 1_000_000  # a disk with less is full
_CLASSIC_LIMIT_BYTES = 4_000_000_000  # below 2**32, with room for the page directories


class MovieWriter:
    """Writes frames as they come; the shape is fixed at the start.

    Fiji opens both variants with the right pixel size: classic ImageJ TIFF up to 4 GB, OME
    BigTIFF above (ImageJ's own way above 4 GB is read by few other programs).

    Parameters
    ----------
    path : Path
        File to write; use `write_movie` where nothing half-written may remain.
    shape : (int, int, int)
        Frames, rows, columns.
    pixel_size_x_nm, pixel_size_y_nm : float
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        *,
        pixel_size_x_nm: float,
        pixel_size_y_nm: float,
    ) -> None:
        self._folder = path.parent
        self._shape = shape
        big = 2 * int(np.prod(shape, dtype=np.int64)) > _CLASSIC_LIMIT_BYTES
        x_um, y_um = pixel_size_x_nm * 1e-3, pixel_size_y_nm * 1e-3
        metadata: dict[str, Any] = {"axes": "TYX"}
        if big:
            metadata |= {"PhysicalSizeX": x_um, "PhysicalSizeXUnit": "µm"}
            metadata |= {"PhysicalSizeY": y_um, "PhysicalSizeYUnit": "µm"}
        else:
            metadata |= {"unit": "um", "loop": False}
        self._options: dict[str, Any] = {"metadata": metadata, "software": "Decode Desktop"}
        self._options["resolution"] = (1 / x_um, 1 / y_um)
        self._writer = tifffile.TiffWriter(path, bigtiff=big, ome=big, imagej=not big)
        self.frames_written = 0

    def write(self, frames: Iterable[NDArray[np.uint16]]) -> None:
        """Write all frames, each (H, W) uint16.

        Raises
        ------
        MovieError
            If a frame has another size or type, or their number is not the one announced.
        OSError
            If the disk is full (ENOSPC) or fails; `atomic_path` turns it into words.
        """
        options = {"shape": self._shape, "dtype": np.uint16, **self._options}
        try:
            self._writer.write(self._checked(frames), **options)
        except OSError as error:
            # NumPy, which writes the pixels, only says that fewer bytes were written than asked
            if error.errno is None and shutil.disk_usage(self._folder).free < _SPARE_BYTES:
                raise OSError(errno.ENOSPC, "the disk is full") from error
            raise

    def _checked(self, frames: Iterable[NDArray[np.uint16]]) -> Iterator[NDArray[np.uint16]]:
        announced = self._shape[0]
        for frame in frames:
            if self.frames_written == announced:
                raise MovieError(f"More frames came than the {announced} that were announced.")
            if frame.shape != self._shape[1:] or frame.dtype != np.uint16:
                raise MovieError(
                    f"Frame {self.frames_written} is {frame.shape} {frame.dtype}, not "
                    f"{self._shape[1:]} uint16."
                )
            self.frames_written += 1
            yield frame
        if self.frames_written != announced:
            raise MovieError(f"{self.frames_written} frames came, {announced} were announced.")

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


def write_movie(
    path: Path,
    frames: Iterable[NDArray[np.uint16]],
    shape: tuple[int, int, int],
    *,
    pixel_size_x_nm: float,
    pixel_size_y_nm: float | None = None,
    overwrite: bool = False,
) -> None:
    """Write frames to a TIFF movie; memory stays that of one frame, nothing half-written remains.

    Parameters
    ----------
    path : Path
        ``.tif`` file.
    frames : iterable of (H, W) uint16, ADU
        As many as ``shape`` says; a generator may simulate them on the way.
    shape : (int, int, int)
        Frames, rows, columns.
    pixel_size_x_nm, pixel_size_y_nm : float
        Written so that ImageJ and OME readers see it; y is x where left out.
    """
    pixel_size_y_nm = pixel_size_x_nm if pixel_size_y_nm is None else pixel_size_y_nm
    with atomic_path(path, overwrite=overwrite) as temporary:
        writer = MovieWriter(
            temporary, shape, pixel_size_x_nm=pixel_size_x_nm, pixel_size_y_nm=pixel_size_y_nm
        )
        with contextlib.closing(writer):
            writer.write(frames)
