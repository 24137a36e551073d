"""Measuring on the picture: numbers of a box, profile along a line, off the window's thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject

from app.controllers.background import Background
from app.controllers.explore_render import OpenTable
from app.models.explore_view import Bounds, PointNm, format_length, format_number
from app.models.problem import Problem
from app.views.explore_panels import MeasurePanel
from decode_engine.analysis.view_statistics import (
    LineProfile,
    ProfileFit,
    RegionStatistics,
    fit_profile,
    line_profile,
    region_statistics,
    strip_corners,
)

__all__ = ["Measurements"]

_KEY = "explore-measure"
_BINS = 120
_MOST_ROWS = 2_000_000
_FINEST_BIN_NM = 1.0
Line = tuple[PointNm, PointNm]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Profile:
    line: Line
    profile: LineProfile
    fit: ProfileFit | None


class Measurements(QObject):
    """Measures what the mask shows, and again when the mask changes."""

    def __init__(self, background: Background, panel: MeasurePanel, parent: QObject) -> None:
        super().__init__(parent)
        self._background = background
        self._panel = panel
        self._table: OpenTable | None = None
        self._box: Bounds | None = None
        self._line: Line | None = None

    def set_table(self, opened: OpenTable | None) -> None:
        """Take another table; None for none."""
        self._table = opened
        self.measure(None, None)

    def refresh(self) -> None:
        """Measure again: other localizations are shown."""
        if self._box or self._line:
            self.measure(self._box, self._line)

    def measure(self, box: Bounds | None, line: Line | None) -> None:
        """Measure a box or along a line; neither clears the panel."""
        self._box, self._line = box, line
        opened, width = self._table, self._panel.strip_width_nm
        if opened is None or (box is None and line is None):
            self._background.cancel(_KEY)
            self._panel.show_nothing()
        elif box is not None:
            self._background.run(
                _KEY, lambda check: _in_box(opened, box, check), self._show_box, self._say
            )
        elif line is not None:
            self._background.run(
                _KEY,
                lambda check: _along_line(opened, line, width, check),
                self._show_profile,
                self._say,
            )

    def _show_box(self, found: RegionStatistics) -> None:
        if self._box is not None:
            size = f"{format_length(self._box.width)} × {format_length(self._box.height)}"
            self._panel.show_box(f"Box of {size}", _words_of(found))

    def _show_profile(self, found: _Profile) -> None:
        start, end = found.line
        length = math.hypot(end.x - start.x, end.y - start.y)
        numbers = {"localizations": f"{int(found.profile.counts.sum()):,}"}
        curves = {"profile": (found.profile.position_nm, found.profile.density_per_um2)}
        fit = found.fit
        if fit is None:
            numbers["width (FWHM)"] = "no clear peak"
        else:
            numbers["width (FWHM)"] = f"{fit.fwhm_nm:.1f} ± {fit.fwhm_error_nm:.1f} nm"
            numbers["peak at"] = f"{fit.centre_nm:.1f} ± {fit.centre_error_nm:.1f} nm"
            curves["fit"] = (found.profile.position_nm, fit.curve_per_um2)
        self._panel.show_profile(f"Line of {format_length(length)}", numbers, curves)

    def _say(self, problem: Problem) -> None:
        self._panel.show_box(problem.message, {})


def _in_box(opened: OpenTable, box: Bounds, check: Callable[[], None]) -> RegionStatistics:
    rows = opened.store.rows_in(box)
    check()
    area = box.width * box.height * 1e-6
    # Medians of two million are those of fifty million, and fit into the memory.
    found = region_statistics(opened.table, rows[:: max(1, rows.size // _MOST_ROWS)], area)
    density = rows.size / area if area > 0 else math.nan
    return replace(found, n=int(rows.size), density_per_um2=density)


def _along_line(
    opened: OpenTable, line: Line, width_nm: float, check: Callable[[], None]
) -> _Profile:
    start, end = line
    rows = opened.store.rows_in(strip_corners(start, end, width_nm))
    check()
    length = math.hypot(end.x - start.x, end.y - start.y)
    profile = line_profile(
        opened.table.x_nm[rows],
        opened.table.y_nm[rows],
        start,
        end,
        width_nm,
        bin_nm=max(length / _BINS, _FINEST_BIN_NM),
    )
    check()
    return _Profile(line=line, profile=profile, fit=fit_profile(profile))


def _words_of(found: RegionStatistics) -> dict[str, str]:
    """Return numbers with units by name; what the table does not have is left out."""
    words = {
        "localizations": f"{found.n:,}",
        "area": f"{format_number(found.area_um2)} µm²",
        "density": f"{format_number(found.density_per_um2)} per µm²",
    }
    values = {
        "photons (median)": (found.photons_median, ""),
        "lateral precision (median)": (found.sigma_xy_nm, " nm"),
        "axial precision (median)": (found.sigma_z_nm, " nm"),
        "z (mean)": (found.z_mean_nm, " nm"),
        "z (spread)": (found.z_std_nm, " nm"),
        "x, y (spread)": (found.spread_nm, " nm"),
    }
    for name, (value, unit) in values.items():
        if math.isfinite(value):
            words[name] = f"{format_number(value)}{unit}"
    if found.n:
        words["frames"] = f"{found.first_frame:,} to {found.last_frame:,}"
    return words
