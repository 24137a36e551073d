"""What the metadata card says about a movie: every line in words, also where the file is silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.models.movie_reader import MovieInfo
from app.models.size_words import size_words

__all__ = ["NOT_IN_FILE", "Fact", "movie_facts"]

NOT_IN_FILE = "not in the file"


class Fact(NamedTuple):
    """One line: what, its value, and where the value is used or to be found."""

    name: str
    value: str
    tip: str = ""

    @property
    def known(self) -> bool:
        """Whether the file says it."""
        return self.value != NOT_IN_FILE


def movie_facts(info: MovieInfo) -> Sequence[Fact]:
    """Return the lines of the card."""
    m = info.metadata
    origin = m.roi_origin_px
    return (
        Fact("File", f"{m.kind}, {_size(info.size_bytes)}", str(info.path)),
        Fact("Frames", _frames(info), "Counted from 0."),
        Fact("Frame size", info.size_text, "Width × height in camera pixels."),
        Fact("Pixel type", info.dtype, "How the file stores a count (ADU)."),
        Fact(
            "Pixel size",
            _pixel_size(m.pixel_size_x_nm, m.pixel_size_y_nm),
            "In the sample: chip pixel divided by magnification. The Camera step uses it.",
        ),
        Fact("Exposure", _unit(m.exposure_ms, "ms"), "Time one frame collects light."),
        Fact("Frame interval", _unit(m.frame_interval_ms, "ms"), "From one frame to the next."),
        Fact("Camera", m.camera or NOT_IN_FILE, "Presets of the Camera step follow this name."),
        Fact("Binning", _unit(m.binning, "×"), "Camera pixels joined into one, per direction."),
        Fact(
            "Region on chip",
            NOT_IN_FILE if origin is None else f"from column {origin[0]}, row {origin[1]}",
            "Where on the chip the frame begins; per-pixel camera maps must be cut likewise.",
        ),
        Fact("Recorded", m.acquired or NOT_IN_FILE),
        Fact("Software", m.software or NOT_IN_FILE),
    )


def _size(n_bytes: int | None) -> str:
    return "folder" if n_bytes is None else size_words(n_bytes)


def _frames(info: MovieInfo) -> str:
    announced = info.metadata.announced_frames
    more = f" of {announced:,} announced" if announced and announced != info.n_frames else ""
    return f"{info.n_frames:,}{more}"


def _pixel_size(x_nm: float | None, y_nm: float | None) -> str:
    if x_nm is None:
        return NOT_IN_FILE
    if y_nm is None or abs(x_nm - y_nm) < 1e-6 * x_nm:
        return f"{x_nm:.4g} nm"
    return f"{x_nm:.4g} × {y_nm:.4g} nm"


def _unit(value: float | None, unit: str) -> str:
    return NOT_IN_FILE if value is None else f"{value:.4g} {unit}"
