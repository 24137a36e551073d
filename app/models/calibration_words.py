"""What a calibration is and how good it is, in words; no Qt, no files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.models.psf_volume import PsfVolume
from app.models.verdict import Level, Verdict, worst
from decode_engine.domain.calibration import Calibration, CalibrationQuality
from decode_engine.io.calibrations import CalibrationReport, PixelSize

__all__ = [
    "bead_verdicts",
    "fact_lines",
    "pixel_verdicts",
    "precision_verdict",
    "sigma_2d_nm",
]

# Judged where two out of three calibrations of an ordinary microscope would pass.
_FEW_BEADS = 5
_RESIDUAL = (0.04, 0.10)  # of the peak
_SLOPE = (0.03, 0.10)  # away from 1
_SCATTER_NM = (25.0, 60.0)
_PIXEL_TOLERANCE = 0.01  # as the engine's
_LONGEST_WORD = 40
_USABLE_FACTOR = 2.0  # heights whose z bound is at most this often the best one's


def sigma_2d_nm(na: float, wavelength_nm: float) -> float:
    """Return the width of the Gaussian that fits an ideal microscope's focused PSF best.

    0.225 wavelength / NA (Zhang, Zerubia & Olivo-Marin 2007, doi 10.1364/AO.46.001819; paraxial).
    Real PSFs are usually 10 to 30 % wider.
    """
    return 0.225 * wavelength_nm / na


def fact_lines(report: CalibrationReport, calibration: Calibration) -> list[tuple[str, str]]:
    """Return name and value of what the file says about itself."""
    mirrored = {True: "yes", False: "no", None: "not stated"}[calibration.em_mirrored]
    x_nm, y_nm = report.pixel_size_x_nm, report.pixel_size_y_nm
    pixel = f"{x_nm:g} × {y_nm:g} nm" if x_nm is not None and y_nm is not None else "not stated"
    low, high = calibration.z_range_nm
    facts = [
        ("File", str(report.path)),
        ("Kind", report.variant),
        ("Pixel size", pixel),
        ("Mirrored as EM frames are", mirrored),
        ("Height range", f"{low:g} to {high:g} nm" if calibration.is_3d else "2D, no height"),
    ]
    if calibration.refractive_index_factor != 1.0:
        facts.append(("Refractive index factor", f"{calibration.refractive_index_factor:g}"))
    facts += [
        (name.replace("_", " "), _shortened(value))
        for name, value in calibration.provenance.items()
        if not value.startswith("{")  # settings as JSON; the run remembers them in words
    ]
    return facts + [("Note", note) for note in report.notes]


def _shortened(value: str) -> str:
    """Cut what has no spaces to wrap at, such as checksums."""
    return value if len(value) <= _LONGEST_WORD or " " in value else f"{value[:16]} …"


def bead_verdicts(quality: CalibrationQuality, summary: Mapping[str, object]) -> list[Verdict]:
    """Judge a calibration made from beads; ``summary`` is that of the run, if it is known."""
    used, refused = quality.beads_used, quality.beads_rejected
    words = f"{used} bead{'s' * (used != 1)} used, {refused} not used."
    if used < _FEW_BEADS:
        words += " More beads average out noise and the tilt of single beads; 10 to 30 are good."
    verdicts = [
        Verdict(level="ok" if used >= _FEW_BEADS else "doubt", title="Beads", text=words),
        _residual_verdict(quality.residual_rms),
    ]
    slope, scatter = summary.get("z_slope"), summary.get("z_rms_nm")
    if (
        isinstance(slope, float)
        and isinstance(scatter, float)
        and np.isfinite([slope, scatter]).all()
    ):
        verdicts.append(_axial_verdict(slope, scatter))
    elif quality.z_fit_std_nm:
        scatter = float(np.nanmedian(quality.z_fit_std_nm))
        bias = float(np.nanmax(np.abs(quality.z_fit_bias_nm)))
        level = _level(scatter, _SCATTER_NM)
        text = (
            f"Beads fitted slice by slice scatter by {scatter:.0f} nm about the stage, and deviate "
            f"by {bias:.0f} nm at most."
        )
        verdicts.append(Verdict(level=level, title="Height", text=text))
    warnings = summary.get("warnings")
    for warning in warnings if isinstance(warnings, list) else []:
        verdicts.append(Verdict(level="doubt", title="Note", text=str(warning)))
    return verdicts


def _level(value: float, limits: tuple[float, float]) -> Level:
    return "ok" if value <= limits[0] else "doubt" if value <= limits[1] else "bad"


def _residual_verdict(residual: float) -> Verdict:
    level = _level(residual, _RESIDUAL)
    meaning = {
        "ok": "the model describes the beads well",
        "doubt": "noise, or beads that differ; look at the report picture",
        "bad": "the beads differ from each other; remove odd stacks or clusters of beads",
    }[level]
    return Verdict(
        level=level,
        title="Fit",
        text=f"The model differs from the average bead by {100 * residual:.2g} % of its peak: "
        f"{meaning}.",
    )


def _axial_verdict(slope: float, scatter_nm: float) -> Verdict:
    levels = (_level(abs(slope - 1), _SLOPE), _level(scatter_nm, _SCATTER_NM))
    level = worst(levels)
    text = (
        f"Fitted heights follow the stage with slope {slope:.3f} (1 is perfect) and scatter by "
        f"{scatter_nm:.0f} nm."
    )
    if levels[0] != "ok":
        text += " Is the slice distance the true one?"
    return Verdict(level=level, title="Height", text=text)


def precision_verdict(psf: PsfVolume, photons: float, background: float) -> Verdict:
    """Say how precisely a molecule can be located with this PSF."""
    who = f"A molecule of {photons:,.0f} photons on a background of {background:g}"
    across = np.sqrt((psf.crlb_x_nm**2 + psf.crlb_y_nm**2) / 2)
    if not np.isfinite(across).any():
        return Verdict(
            level="doubt",
            title="Precision",
            text="Unknown until a pixel size is given (Camera page).",
        )
    best = float(np.nanmin(across))
    if psf.n_slices < 2:
        text = f"{who} can be located to {best:.1f} nm across at best. Heights are not measured."
        return Verdict(level="none", title="Precision", text=text)
    bound = np.where(np.isfinite(psf.crlb_z_nm), psf.crlb_z_nm, np.inf)
    best_z = float(bound.min())
    usable = psf.z_nm[bound <= _USABLE_FACTOR * best_z]
    text = (
        f"{who} can be located to {best:.1f} nm across and {best_z:.1f} nm in height at best; "
        f"between {usable.min():.0f} and {usable.max():.0f} nm the height stays within "
        f"{_USABLE_FACTOR * best_z:.0f} nm."
    )
    return Verdict(level="none", title="Precision", text=text)


def pixel_verdicts(
    calibration: PixelSize | None, camera: PixelSize | None, movie: PixelSize | None
) -> list[Verdict]:
    """Compare the pixel sizes that calibration, camera and movie state."""
    stated = [
        (name, size)
        for name, size in (("the camera", camera), ("the movie's file", movie))
        if size is not None
    ]
    if calibration is None:
        return _without_own_size(stated)
    own = f"{calibration.x_nm:g} × {calibration.y_nm:g} nm"
    verdicts = [
        Verdict(
            level="bad",
            title="Pixel size",
            text=f"The calibration's pixels measure {own}, {name} says {size.x_nm:g} × "
            f"{size.y_nm:g} nm. Only one can be true; with the wrong one, distances and heights "
            "are wrong. Correct the Camera page, or use the calibration of this camera.",
        )
        for name, size in stated
        if _differ(calibration, size)
    ]
    if verdicts or not stated:
        return verdicts
    names = " and ".join(name for name, _ in stated)
    text = f"{own}, as {names} say{'s' * (len(stated) == 1)}."
    return [Verdict(level="ok", title="Pixel size", text=text)]


def _without_own_size(stated: list[tuple[str, PixelSize]]) -> list[Verdict]:
    text = "The calibration does not state its pixel size"
    if not stated:
        text += "; give it on the Camera page."
        return [Verdict(level="doubt", title="Pixel size", text=text)]
    name, size = stated[0]
    text += (
        f"; {size.x_nm:g} × {size.y_nm:g} nm is taken from {name}. The bead stack must have "
        "been recorded with the same pixels."
    )
    return [Verdict(level="doubt", title="Pixel size", text=text)]


def _differ(a: PixelSize, b: PixelSize) -> bool:
    return any(
        abs(one / other - 1) > _PIXEL_TOLERANCE
        for one, other in ((a.x_nm, b.x_nm), (a.y_nm, b.y_nm))
    )
