"""What our ``SXY`` files hold beside SMAP's layout: one variable with JSON text."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from decode_engine.domain.calibration import Calibration, CalibrationQuality
from decode_engine.io.calibration_report import PixelSize
from decode_engine.io.matlab import MatlabValue

__all__ = ["EXTRA_COEFFICIENTS", "EXTRA_VARIABLE", "ExtraFacts", "extra_text", "read_extra"]

EXTRA_VARIABLE = "decode_desktop"
# The spline in the orientation of the movie, where SMAP's is mirrored: mirrored twice it would
# differ in the last bits, and a model would not know its calibration again.
EXTRA_COEFFICIENTS = "decode_desktop_coeff"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraFacts:
    """Facts that SMAP's layout has no place for."""

    pixel_size: PixelSize | None
    em_mirrored: bool | None
    refractive_index_factor: float
    source: str
    provenance: dict[str, str]
    quality: CalibrationQuality | None

    def complete(self, calibration: Calibration) -> Calibration:
        """Return the calibration with these facts in place of those read from SMAP's fields."""
        return dataclasses.replace(
            calibration,
            em_mirrored=self.em_mirrored,
            refractive_index_factor=self.refractive_index_factor,
            source=self.source,
            provenance=self.provenance,
            quality=self.quality,
        )


def extra_text(calibration: Calibration) -> str:
    """Return the JSON text for a calibration."""
    quality = calibration.quality
    content = {
        "format_version": _VERSION,
        "pixel_size_x_nm": calibration.pixel_size_x_nm,
        "pixel_size_y_nm": calibration.pixel_size_y_nm,
        "em_mirrored": calibration.em_mirrored,
        "refractive_index_factor": calibration.refractive_index_factor,
        "source": calibration.source,
        "provenance": calibration.provenance,
        "quality": None if quality is None else dataclasses.asdict(quality),
    }
    return json.dumps(content)


def read_extra(value: MatlabValue | None) -> ExtraFacts | None:
    """Read the JSON text; None where it is absent, foreign or of a later version."""
    if not isinstance(value, str):
        return None
    try:
        content = json.loads(value)
        if content["format_version"] != _VERSION:
            return None
        return _facts(content)
    except (ValueError, KeyError, TypeError):
        # The SMAP fields remain; another program may have used the same name.
        return None


def _facts(content: dict[str, Any]) -> ExtraFacts:
    x_nm, y_nm = content["pixel_size_x_nm"], content["pixel_size_y_nm"]
    quality = None
    if content["quality"] is not None:
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content["quality"].items()
        }
        quality = CalibrationQuality(**values)
    return ExtraFacts(
        pixel_size=None if x_nm is None or y_nm is None else PixelSize(x_nm=x_nm, y_nm=y_nm),
        em_mirrored=content["em_mirrored"],
        refractive_index_factor=float(content["refractive_index_factor"]),
        source=str(content["source"]),
        provenance={str(k): str(v) for k, v in content["provenance"].items()},
        quality=quality,
    )
