"""Choosing localizations by ranges of their columns: a mask, never a copy."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from decode_engine.contract.configs import FilterConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.domain.table import BoolArray, ColumnTable
from decode_engine.errors import ConfigError, LocalizationsError

__all__ = ["ColumnRange", "FilterSpec", "lacking_words"]

_KNOWN = frozenset(spec.name for spec in Localizations.specs())


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRange:
    """Rows with ``low <= column <= high`` stay; NaN never does.

    Parameters
    ----------
    column : str
        Name of a column of the table.
    low, high : float, unit of the column
        Limits, inclusive; infinite = no limit.
    """

    column: str
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ConfigError(
                f"The range {self.low:g} to {self.high:g} of {self.column!r} is empty.",
                hint="Give the lower limit first.",
            )

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.low > -math.inf or self.high < math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSpec:
    """Ranges that must all hold, and flags that must not be set.

    Parameters
    ----------
    ranges : tuple of ColumnRange
        At most one for each column.
    excluded_flags : int
        Bits of `LocalizationFlag`; rows with one of them are left out (tables without flags
        keep all rows).
    """

    ranges: tuple[ColumnRange, ...] = ()
    excluded_flags: int = 0

    def __post_init__(self) -> None:
        names = [r.column for r in self.ranges]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(
                    f"The column {name!r} has two ranges.", hint="Give one range for each column."
                )

    @classmethod
    def from_config(cls, config: FilterConfig) -> Self:
        """Return the filter that a configuration describes."""
        return cls(
            ranges=tuple(
                ColumnRange(
                    column=limits.column,
                    low=-math.inf if limits.low is None else limits.low,
                    high=math.inf if limits.high is None else limits.high,
                )
                for limits in config.ranges
            )
        )

    def with_range(self, column: str, low: float = -math.inf, high: float = math.inf) -> Self:
        """Return the same filter with the range of one column set (or lifted, if infinite)."""
        others = tuple(r for r in self.ranges if r.column != column)
        limits = ColumnRange(column=column, low=low, high=high)
        added = (limits,) if limits.is_limited else ()
        return replace(self, ranges=others + added)

    def lacking(self, table: ColumnTable) -> tuple[str, ...]:
        """Return the limited columns that the table lacks, or in which it has no value (2D: z).

        Their ranges do not apply: they say nothing of any row. Who filters says so
        (`lacking_words`).
        """
        columns = table.columns()
        limited = (r.column for r in self.ranges if r.is_limited)
        return tuple(n for n in limited if n not in columns or not _has_values(columns[n]))

    def mask(self, table: ColumnTable) -> BoolArray:
        """Return which rows stay, (N,) bool; ranges of what the table lacks do not apply.

        Raises
        ------
        LocalizationsError
            If a range is of a column that no table has: a misspelled name.
        """
        kept = np.ones(len(table), np.bool_)
        columns = table.columns()
        lacking = self.lacking(table)
        for limits in self.ranges:
            values = columns.get(limits.column)
            if values is None and limits.column not in _KNOWN:
                raise _missing(limits.column, list(columns))
            if values is None or limits.column in lacking:
                continue
            # Compared as NumPy scalars of double precision, so that a limit such as 0.1 is not
            # rounded to the column's single precision, in which 0.1 would exceed itself.
            if limits.low > -math.inf:
                kept &= values >= np.float64(limits.low)
            if limits.high < math.inf:
                kept &= values <= np.float64(limits.high)
            if values.dtype.kind == "f":
                kept &= ~np.isnan(values)
        flags = columns.get("flags")
        if self.excluded_flags and flags is not None:
            kept &= (flags & np.uint32(self.excluded_flags)) == 0
        return kept


def lacking_words(columns: Sequence[str]) -> str:
    """Say that limits did not apply, for what `FilterSpec.lacking` returned; empty for none."""
    if not columns:
        return ""
    return (
        f"The limits of {', '.join(columns)} were not applied: these localizations have no such "
        "values."
    )


def _has_values(values: NDArray[np.generic]) -> bool:
    if not values.size or values.dtype.kind != "f":
        return True
    # Nearly always one of the first rows tells.
    return bool(np.isfinite(values[:1000]).any() or np.isfinite(values).any())


def _missing(column: str, present: list[str]) -> LocalizationsError:
    near = difflib.get_close_matches(column, present, n=1)
    question = f"Did you mean {near[0]!r}? " if near else ""
    return LocalizationsError(
        f"The localizations have no column {column!r}.",
        hint=f"{question}Present are {', '.join(present)}.",
    )
