"""Writing what the Explore page shows: the picture as seen, and a density to measure in."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from PySide6.QtGui import QImage

from app.models.explore_view import Bounds
from decode_engine.analysis.point_store import PointStore, Style, View
from decode_engine.errors import OutputError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.images import write_tiff

__all__ = ["save_density", "save_snapshot"]


def save_snapshot(image: QImage, path: Path) -> str:
    """Write a picture as PNG and return what to tell; a file is only replaced by a whole one."""
    with atomic_path(path, overwrite=True) as temporary:
        # Opened by Python, which says why it cannot be written; Qt only says that it cannot.
        with temporary.open("wb"):
            pass
        if not image.save(str(temporary), "PNG"):  # type: ignore[call-overload]
            raise OutputError(
                f"{path} could not be written.", hint="Is the disk full? Choose another place."
            )
    return f"Saved {path.name}."


def save_density(
    store: PointStore,
    bounds: Bounds,
    style: Style,
    path: Path,
    pixel_size_nm: float,
    *,
    check: Callable[[], None],
) -> str:
    """Write localizations per pixel as calibrated TIFF and return what to tell."""
    view = View(
        left_nm=bounds.left,
        top_nm=bounds.top,
        pixel_size_nm=pixel_size_nm,
        width_px=max(1, math.ceil(bounds.width / pixel_size_nm - 1e-6)),
        height_px=max(1, math.ceil(bounds.height / pixel_size_nm - 1e-6)),
    )
    plain = Style(color="none", mode=style.mode, sigma_min_nm=style.sigma_min_nm)
    rendered = store.render(view, plain, exact=True, check=check)
    check()
    write_tiff(path, rendered.weight, pixel_size_nm=pixel_size_nm, overwrite=True)
    return f"Saved {path.name}: {view.width_px} × {view.height_px} pixels of {pixel_size_nm:g} nm."
