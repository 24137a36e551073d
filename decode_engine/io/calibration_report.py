"""What a calibration file holds, in words and numbers, before one PSF of it is chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from decode_engine.domain.calibration import Calibration
from decode_engine.errors import CalibrationError

__all__ = ["CalibrationEntry", "CalibrationReport", "CalibrationSource", "PixelSize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSize:
    """Size of a camera pixel in the sample plane."""

    x_nm: float
    y_nm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationEntry:
    """One PSF of a file: of one region of the field and one channel, both counted from 0.

    ``shape`` is (rows, columns, slices) of the spline's voxels, None for a Gaussian.
    ``x_range_px`` and ``y_range_px`` (chip pixels as SMAP counts them, from 1) say where the PSF
    applies; None or infinite = everywhere. ``z_range_nm`` is None where it depends on a choice.
    """

    region: int
    channel: int
    model: Literal["spline", "gaussian"]
    shape: tuple[int, int, int] | None
    dz_nm: float | None
    z_range_nm: tuple[float, float] | None
    x_range_px: tuple[float, float] | None = None
    y_range_px: tuple[float, float] | None = None

    def line(self) -> str:
        """Describe the PSF in one line."""
        parts = [f"region {self.region}, channel {self.channel}: {self.model}"]
        if self.shape is not None:
            rows, columns, slices = self.shape
            parts.append(f"{columns} x {rows} px, {slices} slices of {self.dz_nm:g} nm")
        if self.z_range_nm is not None:
            parts.append(f"z {self.z_range_nm[0]:g} to {self.z_range_nm[1]:g} nm")
        for axis, limits in (("x", self.x_range_px), ("y", self.y_range_px)):
            if limits is not None and any(abs(v) != float("inf") for v in limits):
                parts.append(f"{axis} {limits[0]:g} to {limits[1]:g} px")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class CalibrationReport:
    """What was found in a calibration file.

    Parameters
    ----------
    path : Path
    variant : str
        Which kind of file this is, in words.
    entries : tuple of CalibrationEntry
        The PSFs to choose from; `read_calibration` takes their ``region`` and ``channel``.
    pixel_size_x_nm, pixel_size_y_nm : float or None
        None where the file does not say, or says it in a way that cannot be trusted.
    em_mirrored : bool or None
    notes : tuple of str
        Sentences the user should read: defaults that were assumed, unusual contents.
    """

    path: Path
    variant: str
    entries: tuple[CalibrationEntry, ...]
    pixel_size_x_nm: float | None = None
    pixel_size_y_nm: float | None = None
    em_mirrored: bool | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def n_regions(self) -> int:
        """Number of regions of the field that have a PSF of their own."""
        return len({entry.region for entry in self.entries})

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len({entry.channel for entry in self.entries})

    def lines(self) -> list[str]:
        """Describe the file for a reader, one fact a line."""
        mirrored = {True: "yes", False: "no", None: "not stated"}[self.em_mirrored]
        if self.pixel_size_x_nm is None:
            pixel = "not stated; give the one of your camera"
        else:
            pixel = f"{self.pixel_size_x_nm:g} x {self.pixel_size_y_nm:g} nm"
        return [
            f"{self.path.name}: {self.variant}",
            f"pixel size: {pixel}",
            f"mirrored as EM frames are: {mirrored}",
            *(entry.line() for entry in self.entries),
            *self.notes,
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


@dataclass(frozen=True, kw_only=True)
class CalibrationSource:
    """A recognised file: its report and, for each entry, the way to read it.

    A loader takes the pixel size to use where the file does not state one.
    """

    report: CalibrationReport
    loaders: tuple[Callable[[PixelSize | None], Calibration], ...]

    def read(
        self, region: int | None, channel: int | None, pixel_size: PixelSize | None
    ) -> Calibration:
        """Read the chosen PSF; raise `CalibrationError` if the choice is missing or wrong."""
        return self.loaders[self._choose(region, channel)](pixel_size)

    def _choose(self, region: int | None, channel: int | None) -> int:
        fits = [
            index
            for index, entry in enumerate(self.report.entries)
            if region in (None, entry.region) and channel in (None, entry.channel)
        ]
        if len(fits) == 1:
            return fits[0]
        listing = "; ".join(entry.line() for entry in self.report.entries[:12])
        name = self.report.path.name
        found = f"{self.report.n_regions} regions and {self.report.n_channels} channels"
        if not fits:
            raise CalibrationError(
                f"{name} has no region {region}, channel {channel}; it holds {found}.",
                hint=f"Choose one of: {listing}.",
            )
        raise CalibrationError(
            f"{name} holds {found}, each with a PSF of its own.",
            hint=f"Choose a region and a channel: {listing}.",
        )
