"""The lateral uncertainty that SMAP and Picasso cannot do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.io.dialects.assembly import lateral_uncertainty

__all__ = ["uncertainty_or_guess"]

_FILL_NM = 150.0


def uncertainty_or_guess(
    columns: Mapping[str, NDArray[Any]],
) -> tuple[NDArray[np.float64], bool]:
    """Return one lateral uncertainty a row, in nm, and whether the table knows it.

    Unknown, it is what SMAP's importer assumes: 150 nm divided by the root of the photons.
    """
    known = lateral_uncertainty(columns)
    if known is not None:
        return known, True
    photons = np.maximum(np.asarray(columns["photons"], np.float64), 1.0)
    return np.where(np.isfinite(photons), _FILL_NM / np.sqrt(photons), np.nan), False
