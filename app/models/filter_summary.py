"""What filters do to a table, in words, and limits worth suggesting; without Qt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.models.explore_filters import lacking_labels, present_fields, with_cuts
from decode_engine.contract.configs import FilterConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.domain.table import BoolArray

__all__ = ["filter_summary", "suggested_filters"]

_SAMPLE = 400_000
_TIMES_MEDIAN = 3.0  # dim and crowded molecules make a long tail; this keeps nine in ten or so


def suggested_filters(table: Localizations, config: FilterConfig) -> FilterConfig:
    """Cut the tail of the least precise localizations.

    Limits: three times the median of the lateral and of the axial precision, rounded up to
    whole nanometres. Other limits of ``config`` stay.
    """
    present = {field.key: field for field in present_fields(table)}
    columns = table.columns()
    suggested = config
    for key in ("sigma_lateral", "sigma_axial"):
        if key in present:
            values = np.concatenate([_sample(columns[n]) for n in present[key].columns])
            limit = float(np.ceil(_TIMES_MEDIAN * np.nanmedian(values)))
            suggested = with_cuts(suggested, present[key], -np.inf, limit)
    return suggested


def filter_summary(
    table: Localizations, kept: BoolArray | None, filters: FilterConfig | None = None
) -> str:
    """Say how many localizations stay and how precise they are.

    Limits of what the table lacks have no chart, so they are named: they do not apply.
    """
    total = len(table)
    n_kept = total if kept is None else int(np.count_nonzero(kept))
    share = n_kept / total if total else 0.0
    words = [f"{n_kept:,} of {total:,} localizations stay ({share:.0%})."]
    if n_kept and table.sigma_x_nm is not None and table.sigma_y_nm is not None:
        sigma_nm = np.float32(0.5) * (table.sigma_x_nm + table.sigma_y_nm)
        before = float(np.nanmedian(sigma_nm))
        after = before if kept is None else float(np.nanmedian(sigma_nm[kept]))
        words.append(
            f"Median lateral precision {before:.1f} nm, of those that stay {after:.1f} nm."
        )
    lacking = lacking_labels(table, filters) if total and filters is not None else ()
    if lacking:
        words.append(
            f"A limit is set for {' and '.join(lacking)}, which these localizations do not have: "
            "it does not apply."
        )
    elif total and share < 0.3:
        words.append("Most are left out: is that what you want?")
    return " ".join(words)


def _sample(values: NDArray[np.generic]) -> NDArray[np.float64]:
    return values[:: max(1, values.size // _SAMPLE)].astype(np.float64)
