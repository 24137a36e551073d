"""`Drift`: how far the sample moved, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import LocalizationsError

__all__ = ["Drift"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Drift:
    """The sample's displacement in each frame, from frame 0 on.

    A position is corrected by subtracting the displacement of its frame (as in SMAP and
    Picasso). The axes are those of `Localizations`.

    Parameters
    ----------
    x_nm, y_nm : (n_frames,) float64
    z_nm : (n_frames,) float64 or None
        None where only the lateral drift is known.
    """

    x_nm: NDArray[np.float64]
    y_nm: NDArray[np.float64]
    z_nm: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        names = ("x_nm", "y_nm") if self.z_nm is None else ("x_nm", "y_nm", "z_nm")
        for name in names:
            values = np.asarray(getattr(self, name), np.float64)
            if values.ndim != 1 or values.size != np.asarray(self.x_nm).size:
                raise LocalizationsError(
                    f"The drift's {name} has the shape {values.shape}; one number per frame is "
                    f"needed ({np.asarray(self.x_nm).size} frames)."
                )
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                raise LocalizationsError(
                    f"The drift's {name} is not a number in frame {int(bad[0])}.",
                    hint="Interpolate missing frames first.",
                )
            frozen = values.view()
            frozen.flags.writeable = False
            object.__setattr__(self, name, frozen)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.x_nm.size)
