"""Which column of an unknown table means what: a preset that can be saved as JSON."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from decode_engine.contract.base import Config, setting

__all__ = ["ColumnMapping"]

_NEEDED = ("frame", "x_nm", "y_nm")
_CHOICES = (
    *_NEEDED, "z_nm", "photons", "background", "probability", "sigma_x_nm", "sigma_y_nm",
    "sigma_z_nm", "sigma_photons", "sigma_background", "log_likelihood", "iterations", "flags",
    "track_id",
)  # fmt: skip


class ColumnMapping(Config):
    """How a table of an unknown program is read.

    ``columns`` names, for each of our columns, the column of the table: by its name as in the
    first line, or by its number from 1 where the table has no names. ``scale`` multiplies a
    column before anything else (for instance photons per A/D count).
    """

    schema_version: Literal[1] = 1
    name: str = setting("", "Name of the preset, for the record.")
    columns: dict[str, str | int] = setting(
        ..., "Our column: the table's column (name, or number from 1)."
    )
    scale: dict[str, float] = setting({}, "Our column: factor on the table's values.")
    xy_unit: Literal["nm", "um", "px"] = setting("nm", "Unit of x, y and their uncertainties.")
    z_unit: Literal["nm", "um"] = setting("nm", "Unit of z and its uncertainty.")
    origin: Literal["centre", "corner", "one_based_centre"] = setting(
        "centre",
        "Where 0 is: centre of the first pixel, its outer corner, or one pixel outside (the "
        "first pixel's centre is 1).",
    )
    first_frame: Literal[0, 1] = setting(0, "Number of the first frame.")
    swapped_xy: bool = setting(False, "The table's x runs along rows, downwards.")
    mirrored_x: bool = setting(False, "The table's x counts from the right edge of the frame.")
    z_sign: Literal[1, -1] = setting(1, "-1 where z has the opposite sign of SMAP's.")
    pixel_size_x_nm: float | None = setting(
        None, "Pixel size along columns in the sample plane.", unit="nm", gt=0
    )
    pixel_size_y_nm: float | None = setting(
        None, "Pixel size along rows; the same as x when left out.", unit="nm", gt=0
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in (*self.columns, *self.scale):
            if name not in _CHOICES:
                raise ValueError(f"{name!r} is none of our columns ({', '.join(_CHOICES)})")
        missing = [name for name in _NEEDED if name not in self.columns]
        if missing:
            raise ValueError(f"columns lacks {', '.join(missing)}; frame, x and y are needed")
        without = [name for name in self.scale if name not in self.columns]
        if without:
            raise ValueError(f"scale names {without[0]!r}, which columns does not")
        return self
