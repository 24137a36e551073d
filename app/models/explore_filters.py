"""The filter sliders: which columns each of them cuts, masks and histograms; without Qt.

The filters are the project's own (`FilterConfig`), shared with the pages Correct and Export.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from decode_engine.analysis.filtering import ColumnRange, FilterSpec
from decode_engine.contract.configs import FilterConfig, FilterRange
from decode_engine.domain.localizations import Localizations
from decode_engine.domain.table import BoolArray

__all__ = [
    "FILTER_FIELDS",
    "ColumnHistogram",
    "FilterField",
    "MaskCache",
    "cuts_of",
    "histogram_of",
    "histograms_of",
    "lacking_labels",
    "present_fields",
    "with_cuts",
]

Real: TypeAlias = NDArray[np.float64]

_BINS = 80
_SAMPLE = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterField:
    """One pair of cut lines and the columns that must obey it."""

    key: str
    columns: tuple[str, ...]
    label: str
    unit: str
    tip: str


FILTER_FIELDS = (
    FilterField(
        key="photons",
        columns=("photons",),
        label="photons",
        unit="",
        tip="Photons seen of the molecule in one frame; usually some hundreds to some thousands. "
        "Dim ones are less certain.",
    ),
    FilterField(
        key="sigma_lateral",
        columns=("sigma_x_nm", "sigma_y_nm"),
        label="lateral precision",
        unit="nm",
        tip="Uncertainty (standard deviation) of x and of y in nm; usually 3 to 40 nm. "
        "Both must lie between the lines.",
    ),
    FilterField(
        key="sigma_axial",
        columns=("sigma_z_nm",),
        label="axial precision",
        unit="nm",
        tip="Uncertainty (standard deviation) of z in nm; usually 10 to 100 nm.",
    ),
    FilterField(
        key="probability",
        columns=("probability",),
        label="probability",
        unit="",
        tip="How sure the network is that there is a molecule, 0 to 1.",
    ),
    FilterField(
        key="z",
        columns=("z_nm",),
        label="z",
        unit="nm",
        tip="Height in nm. Cut off the ends where the calibration stops.",
    ),
    FilterField(
        key="frame",
        columns=("frame",),
        label="frame",
        unit="",
        tip="Frame of the movie, counted from 0. Cut off the crowded start, for example.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnHistogram:
    """Counts of a quantity, all localizations and those that are shown."""

    edges: Real
    counts: Real
    shown: Real | None = None


def present_fields(table: Localizations) -> tuple[FilterField, ...]:
    """Return the fields for which the table has all columns, with some finite value."""
    columns = table.columns()
    return tuple(
        field
        for field in FILTER_FIELDS
        if all(n in columns and bool(np.isfinite(columns[n]).any()) for n in field.columns)
    )


def cuts_of(config: FilterConfig, field: FilterField) -> tuple[float, float]:
    """Return the cuts of a field; infinite where there is none."""
    ranges = [r for r in config.ranges if r.column in field.columns]
    lows = [r.low for r in ranges if r.low is not None]
    highs = [r.high for r in ranges if r.high is not None]
    return max(lows, default=-math.inf), min(highs, default=math.inf)


def lacking_labels(table: Localizations, config: FilterConfig) -> tuple[str, ...]:
    """Return what is limited but is nothing that the table has: those limits do not apply."""
    return MaskCache(table).lacking(config)


def with_cuts(config: FilterConfig, field: FilterField, low: float, high: float) -> FilterConfig:
    """Return the filters with the cuts of one field set; ranges of other columns stay."""
    others = tuple(r for r in config.ranges if r.column not in field.columns)
    if low == -math.inf and high == math.inf:
        return config.model_copy(update={"ranges": others})
    added = tuple(
        FilterRange(
            column=name,
            low=low if math.isfinite(low) else None,
            high=high if math.isfinite(high) else None,
        )
        for name in field.columns
    )
    return config.model_copy(update={"ranges": others + added})


class MaskCache:
    """The mask of some filters, in which only the range that moved is computed again.

    Ranges of what the table lacks do not apply (`FilterSpec.lacking`).
    """

    def __init__(self, table: Localizations) -> None:
        self._table = table
        self._lacking: dict[str, bool] = {}
        self._masks: dict[tuple[str, float, float], BoolArray] = {}

    def mask(self, config: FilterConfig) -> BoolArray | None:
        """Return which rows stay, (N,) bool; None when all do."""
        wanted = [
            (
                r.column,
                -math.inf if r.low is None else r.low,
                math.inf if r.high is None else r.high,
            )
            for r in config.ranges
            if not (r.low is None and r.high is None) and not self._lacks(r.column)
        ]
        # A dictionary of its own, as two threads may be here (a filter that moved on).
        masks = dict(self._masks)
        for key in wanted:
            if key not in masks:
                column, low, high = key
                spec = FilterSpec(ranges=(ColumnRange(column=column, low=low, high=high),))
                masks[key] = spec.mask(self._table)
        masks = {key: masks[key] for key in wanted}
        self._masks = masks
        if not wanted:
            return None
        kept = masks[wanted[0]].copy()
        for key in wanted[1:]:
            kept &= masks[key]
        return kept

    def lacking(self, config: FilterConfig) -> tuple[str, ...]:
        """Return what is limited but is nothing that the table has, as the sliders call it."""
        labels = {name: field.label for field in FILTER_FIELDS for name in field.columns}
        limited = (r.column for r in config.ranges if not (r.low is None and r.high is None))
        names = (labels.get(name, name) for name in limited if self._lacks(name))
        return tuple(dict.fromkeys(names))

    def _lacks(self, column: str) -> bool:
        if column not in self._lacking:
            spec = FilterSpec(ranges=(ColumnRange(column=column, low=0.0),))
            self._lacking[column] = bool(spec.lacking(self._table))
        return self._lacking[column]


def histogram_of(
    table: Localizations, field: FilterField, kept: BoolArray | None
) -> ColumnHistogram:
    """Count a field's values; of many rows, an even sample stands for all.

    The columns of a field are counted together. The ends are the 0.2 % and 99.8 % percentiles
    for open-ended quantities, the extremes for frame and probability.
    """
    columns = table.columns()
    step = max(1, len(table) // _SAMPLE)
    sample = np.concatenate([columns[name][::step].astype(np.float64) for name in field.columns])
    finite = np.isfinite(sample)
    values = sample[finite]
    low, high = _extent(field.key, values)
    counts, edges = np.histogram(values, bins=_BINS, range=(low, high))
    factor = step / len(field.columns)
    shown = None
    if kept is not None:
        stays = np.concatenate([kept[::step]] * len(field.columns))[finite]
        shown = np.histogram(values[stays], bins=edges)[0] * factor
    return ColumnHistogram(edges=edges, counts=counts * factor, shown=shown)


def histograms_of(
    table: Localizations,
    fields: Iterable[FilterField],
    kept: BoolArray | None,
    check: Callable[[], None],
) -> dict[str, ColumnHistogram]:
    """Return the histograms of fields by their keys; ``check`` may raise to stop."""
    found = {}
    for field in fields:
        check()
        found[field.key] = histogram_of(table, field, kept)
    check()
    return found


def _extent(key: str, values: Real) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    if key == "probability":
        return 0.0, 1.0
    if key == "frame":
        low, high = float(values.min()), float(values.max()) + 1.0
    else:
        low, high = (float(v) for v in np.percentile(values, [0.2, 99.8]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)
