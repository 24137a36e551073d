"""Follows a localization while it runs and draws what it has found so far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QTimer

from app.controllers.background import Background
from app.models.problem import Problem
from app.models.whole_picture import WholePicture, picture_of, picture_pixel_nm
from app.views.localize_live import LivePicture
from decode_engine.analysis.live_image import LiveImage
from decode_engine.analysis.rendering import ImageGrid
from decode_engine.io.live_results import ResultFollower
from decode_engine.io.localizations import (
    LocalizationMetadata,
    partial_path,
    read_localization_metadata,
    read_localizations,
)

__all__ = ["LiveReconstruction"]

_KEY = "localize-live"
_EVERY_MS = 1500


class LiveReconstruction(QObject):
    """Reads new parts of a result now and then, off the window's thread, and shows their sum."""

    def __init__(self, background: Background, view: LivePicture, parent: QObject) -> None:
        super().__init__(parent)
        self._background = background
        self._view = view
        self._out: Path | None = None
        self._source: _GrowingImage | None = None
        self._looking = False  # a look takes as long as it takes; two at once would race
        self._timer = QTimer(self, interval=_EVERY_MS)
        self._timer.timeout.connect(self._look)

    def follow(self, out: Path) -> None:
        """Begin to follow a result that is being written, or go on with it."""
        if out == self._out and self._timer.isActive():
            return
        self._out = out
        self._source = _GrowingImage(out)
        self._looking = False
        self._view.clear("The first localizations will appear in a few seconds.")
        self._timer.start()

    def stop(self) -> None:
        """Look no more; the picture stays."""
        self._timer.stop()
        self._background.cancel(_KEY)

    def end(self) -> None:
        """Stop with what there is; say so where there is nothing."""
        self.stop()
        if not self._view.has_picture:
            self._view.clear("No localizations were written before it ended.")

    def show_finished(self, out: Path) -> None:
        """Show a finished result as a whole."""
        self.stop()
        self._background.run(_KEY, lambda _check: _whole(out), self._show, self._say)

    def _look(self) -> None:
        source = self._source
        if source is not None and not self._looking:
            self._looking = True
            self._background.run(_KEY, source.look, self._show, self._say)

    def _show(self, picture: WholePicture | None) -> None:
        self._looking = False
        if picture is None or not picture.n_drawn:
            return
        words = (
            f"{picture.n_drawn:,} localizations, pixels of {picture.placement.pixel_size_nm:g} nm."
        )
        self._view.show_picture(picture.rgb, picture.placement, picture.scale, words)

    def _say(self, problem: Problem) -> None:
        self._looking = False
        self._view.clear(f"{problem.message} {problem.hint}")


class _GrowingImage:
    """The sum of all parts so far; used from one background task at a time."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._follower = ResultFollower(out)
        self._image: LiveImage | None = None

    def look(self, check: Callable[[], None]) -> WholePicture | None:
        """Add what is new and return the picture; None while there is nothing."""
        more = self._follower.read_more()
        if self._image is None:
            if not len(more):
                return None
            metadata = read_localization_metadata(partial_path(self._out))
            self._image = LiveImage(_field(metadata))
        self._image.add(more)  # not interrupted: a part would be lost
        check()
        return picture_of(self._image)


def _whole(out: Path) -> WholePicture:
    image = LiveImage(_field(read_localization_metadata(out)))
    image.add(read_localizations(out))
    return picture_of(image)


def _field(metadata: LocalizationMetadata) -> ImageGrid:
    """Return the grid over the region that is localized; (0, 0) nm is a pixel's centre."""
    x, y, width, height = metadata.roi or (0, 0, metadata.width_px, metadata.height_px)
    size_x, size_y = metadata.pixel_size_x_nm, metadata.pixel_size_y_nm
    left, top = (x - 0.5) * size_x, (y - 0.5) * size_y
    right, bottom = left + width * size_x, top + height * size_y
    pixel = picture_pixel_nm(right - left, bottom - top)
    return ImageGrid.covering((left, top, right, bottom), pixel)
