"""Read the calibration files of SMAP and fit3Dcspline (``*_3dcal.mat``), every variant.

Conventions
-----------
``coeff(i, j, k, c)``: dim 1 = image row, dim 2 = image column, dim 3 = slice, and
``c = p1 + 4 p2 + 16 p3`` counted from 0, which is the order of
`decode_engine.domain.calibration.SplinePsf`. ``z0`` is stored 1-based but used by SMAP's fitter
and by DECODE against a spline coordinate that counts from 0; it is kept as it is, so z agrees
with both. ``x0`` (1-based centre pixel, used for both axes) becomes ``x0 - 1``; where it is
missing, the centre is sample ``n // 2`` of n voxels, where SMAP's fitter puts an emitter in the
middle of its window and where ``x0 - 1`` lies for SMAP's (odd) windows.

Photons: SMAP normalises both channels of a two-channel calibration by the first one's
brightness and multiplies fitted photons by ``normf``. Here the coefficients of a channel are
divided by its ``normf`` instead, so photons are detected photons of that channel. The target
channel is read in the orientation of the camera chip: from ``SXY(2)`` or ``coeffrawtar``, or by
undoing ``mirror`` (1: columns, 2: rows).

SMAP mirrors the columns of EM frames when it reads them, of bead stacks (``EMon``) as of movies.
This program does not mirror movies; a spline with ``EMon`` is mirrored back on reading, so that it
describes the frames as they are stored, and ``em_mirrored`` says that these are mirrored.

Oldest files hold ``outforfit`` (also ``gauss_zfit``): 8 numbers [sigma0x Ax Ay Bx By g d sigma0y],
``sigma(z) = sigma0 sqrt(1 + u^2 + A u^3 + B u^4)``, ``u = (z - g) / d``, in y with ``-g``; z in
micrometres, widths in camera pixels, so they need a pixel size to become nm. The z range is not
stored; ``|g| + |d|`` to both sides is used, less where a width would become imaginary. The sign
of z in these files could not be compared with that of spline files.

Files written by this program also hold ``decode_desktop``: JSON text with what SMAP's layout has
no place for (pixel size in nm, provenance, quality). MATLAB programs ignore it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from decode_engine.domain.calibration import Calibration, PsfParameters, SplinePsf
from decode_engine.errors import CalibrationError
from decode_engine.io.atomic import sha256_file
from decode_engine.io.calibration_report import (
    CalibrationEntry,
    CalibrationReport,
    CalibrationSource,
    PixelSize,
)
from decode_engine.io.matlab import (
    LazyArray,
    MatlabList,
    MatlabTree,
    MatlabValue,
    read_mat,
    variable_names,
)
from decode_engine.io.smap_extra import EXTRA_COEFFICIENTS, EXTRA_VARIABLE, ExtraFacts, read_extra
from decode_engine.io.smap_members import (
    PARAMETERS,
    GaussianMember,
    SplineMember,
    Struct,
    gaussian_member,
    mirror_columns,
    mirrored,
    numbers,
    pixel_size,
    settings_facts,
    spline_members,
)

__all__ = ["open_smap_calibration"]

_SKIPPED = (
    "*.PSF",
    "*.PSFsmooth",
    "*.gausscal",
    "*.gauss_sx2_sy2",
    "*.bspline",
    "*.transformation",
    "*.Tfile",
    "*.smappos",
)
# Two-channel files repeat the coefficients up to 16 times.
_RAW_COEFFICIENTS = ("*.coeffrawref", "*.coeffrawtar")

_MIRRORED_BACK = (
    "SMAP mirrored the EM frames of the beads; the PSF is mirrored back here and suits the movie "
    "as it is stored"
)

Member = SplineMember | GaussianMember


def open_smap_calibration(path: Path) -> CalibrationSource:
    """Recognise a ``.mat`` file and return what it holds.

    Raises
    ------
    CalibrationError
        If it is no calibration, or one that cannot be used (4Pi, ``*_3Dcorr.mat``, ...).
    """
    names = variable_names(path)
    if "outforfit" in names:
        return _open_gaussian(path)
    if "SXY" in names or "SXY_g" in names:
        return _open_regions(path, names)
    if "cspline" in names or "cspline_all" in names:
        return _open_standalone(path)
    raise _refusal(path, names)


def _refusal(path: Path, names: list[str]) -> CalibrationError:
    known = {
        "ZcorrInterp": "a correction of depth-dependent aberrations (*_3Dcorr.mat)",
        "zcorr": "a correction of depth-dependent aberrations (*_3Dcorr.mat)",
        "cal4pi": "a 4Pi calibration, which needs four channels at once,",
        "saveloc": "localizations (*_sml.mat)",
        "cameras": "SMAP's camera database",
        "transformation": "a transformation between channels",
    }
    found = next((text for name, text in known.items() if name in names), "")
    held = found or f"the variables {', '.join(names[:8]) or '(none)'}"
    return CalibrationError(
        f"{path.name} holds {held} and no PSF calibration.",
        hint="Give the *_3dcal.mat of SMAP or fit3Dcspline (variable SXY or cspline).",
    )


def _read(path: Path, variables: tuple[str, ...], skip: tuple[str, ...]) -> MatlabTree:
    return read_mat(
        path,
        variables=(*variables, "EMon", *PARAMETERS, EXTRA_VARIABLE, EXTRA_COEFFICIENTS),
        skip=skip,
    )


# ---------------------------------------------------------------- the variants


def _open_regions(path: Path, names: list[str]) -> CalibrationSource:
    """``SXY``: one struct for each region of the field, or for each of two channels."""
    main = "SXY" if "SXY" in names else "SXY_g"
    tree = _read(path, (main,), (*_SKIPPED, *_RAW_COEFFICIENTS) if main == "SXY" else _SKIPPED)
    elements = _structs(tree.get(main))
    if not elements:
        raise CalibrationError(
            f"{path.name} has an empty variable {main}.",
            hint="SMAP writes this when it finds no bead; make the calibration again.",
        )
    two_channels = "SXY_g" in names or "parameters_g" in names
    # Both channels of a region lie half the array apart, whichever way SMAP laid it out.
    paired = main == "SXY" and two_channels and len(elements) % 2 == 0
    half = len(elements) // 2 if paired else len(elements)
    placed = [
        (index % half, index // half if paired else member.channel, element, member)
        for index, element in enumerate(elements)
        for member in _members(path, element, tree)
    ]
    kind = "SMAP two-channel calibration" if paired or main == "SXY_g" else "SMAP calibration"
    size = f", {len(elements)} elements" if len(elements) > 1 else ""
    return _source(path, f"{kind} ({main}{size})", placed, tree)


def _open_standalone(path: Path) -> CalibrationSource:
    """``cspline`` at the top level, in old files inside ``cspline_all``."""
    tree = _read(path, ("cspline", "cspline_all", "gauss_zfit"), _SKIPPED)
    variant = "fit3Dcspline calibration (cspline)"
    cspline = tree.get("cspline")
    if not (isinstance(cspline, dict) and "coeff" in cspline):
        variant = "old fit3Dcspline calibration (cspline_all)"
        older = tree.get("cspline_all")
        inner = older.get("cspline", older) if isinstance(older, dict) else None
        cspline = inner if isinstance(inner, dict) else {}
    element: Struct = {"cspline": cspline, "gauss_zfit": tree.get("gauss_zfit", "")}
    placed = [(0, m.channel, element, m) for m in _members(path, element, tree)]
    return _source(path, variant, placed, tree)


def _open_gaussian(path: Path) -> CalibrationSource:
    """``outforfit``: the oldest files."""
    tree = _read(path, ("outforfit",), _SKIPPED)
    member = gaussian_member(path.name, tree["outforfit"], "outforfit")
    return _source(path, "SMAP Gaussian calibration (outforfit)", [(0, 0, {}, member)], tree)


def _members(path: Path, element: Struct, tree: MatlabTree) -> list[Member]:
    cspline = element.get("cspline")
    gaussian = element.get("gauss_zfit")
    no_spline = not (isinstance(cspline, dict) and "coeff" in cspline)
    if no_spline and gaussian is not None and numbers(gaussian).size == 8:
        return [gaussian_member(path.name, gaussian, "gauss_zfit")]
    return list(spline_members(path.name, cspline if isinstance(cspline, dict) else {}, tree))


def _structs(value: MatlabValue | None) -> list[Struct]:
    if isinstance(value, dict):
        return [value]
    return [v for v in value if isinstance(v, dict)] if isinstance(value, MatlabList) else []


# ---------------------------------------------------------------- the report and its loaders


def _source(
    path: Path, variant: str, placed: list[tuple[int, int, Struct, Member]], tree: MatlabTree
) -> CalibrationSource:
    extra = read_extra(tree.get(EXTRA_VARIABLE))
    pixel = extra.pixel_size if extra else pixel_size(tree)
    notes = list(dict.fromkeys(note for *_, member in placed for note in member.notes))
    if pixel is not None and extra is None:
        notes.append("the pixel size is what SMAP's settings say; compare it with your camera")
    em_mirrored = extra.em_mirrored if extra else mirrored(placed[0][2], tree)
    if em_mirrored and any(isinstance(member, SplineMember) for *_, member in placed):
        notes.append(_MIRRORED_BACK)
    report = CalibrationReport(
        path=path,
        variant=variant,
        entries=tuple(
            _entry(r, c, element, member, extra.refractive_index_factor if extra else 1.0)
            for r, c, element, member in placed
        ),
        pixel_size_x_nm=pixel.x_nm if pixel else None,
        pixel_size_y_nm=pixel.y_nm if pixel else None,
        em_mirrored=em_mirrored,
        notes=tuple(notes),
    )
    facts, raw = settings_facts(tree), tree.get(EXTRA_COEFFICIENTS) if extra else None
    loaders: list[Callable[[PixelSize | None], Calibration]] = [
        functools.partial(_load, report, entry, placed[index][3], (facts, extra, raw))
        for index, entry in enumerate(report.entries)
    ]
    return CalibrationSource(report=report, loaders=tuple(loaders))


def _entry(
    region: int, channel: int, element: Struct, member: Member, factor: float
) -> CalibrationEntry:
    if isinstance(member, GaussianMember):
        return CalibrationEntry(
            region=region,
            channel=channel,
            model="gaussian",
            shape=None,
            dz_nm=None,
            z_range_nm=(-member.z_limit_nm * factor, member.z_limit_nm * factor),
        )
    slices = member.shape[2]
    return CalibrationEntry(
        region=region,
        channel=channel,
        model="spline",
        shape=member.shape,
        dz_nm=member.dz_nm,
        z_range_nm=(
            -(slices - member.z0_slice) * member.dz_nm * factor,
            member.z0_slice * member.dz_nm * factor,
        ),
        x_range_px=_limits(element.get("Xrange")),
        y_range_px=_limits(element.get("Yrange")),
    )


def _limits(value: MatlabValue | None) -> tuple[float, float] | None:
    values = numbers(value)
    return (float(values[0]), float(values[-1])) if values.size >= 2 else None


def _load(
    report: CalibrationReport,
    entry: CalibrationEntry,
    member: Member,
    known: tuple[dict[str, str], ExtraFacts | None, MatlabValue | None],
    pixel: PixelSize | None,
) -> Calibration:
    facts, extra, coefficients = known
    if report.pixel_size_x_nm is not None and report.pixel_size_y_nm is not None:
        pixel = PixelSize(x_nm=report.pixel_size_x_nm, y_nm=report.pixel_size_y_nm)
    calibration = Calibration(
        psf=_as_stored(member.psf(pixel), report, coefficients),
        pixel_size_x_nm=pixel.x_nm if pixel else None,
        pixel_size_y_nm=pixel.y_nm if pixel else None,
        em_mirrored=report.em_mirrored,
        source=f"{report.variant}, {report.path.name}",
        provenance={**facts, **member.facts, **_place(report.path, entry)},
    )
    return extra.complete(calibration) if extra else calibration


def _as_stored(
    psf: PsfParameters, report: CalibrationReport, raw: MatlabValue | None
) -> PsfParameters:
    """Return the PSF in the orientation of the frames as the camera's program stored them."""
    if not report.em_mirrored or not isinstance(psf, SplinePsf):
        return psf
    mirrored_back = mirror_columns(psf)
    if isinstance(raw, np.ndarray | LazyArray) and raw.shape == psf.coefficients.shape:
        return dataclasses.replace(mirrored_back, coefficients=np.asarray(raw, np.float32))
    return mirrored_back


def _place(path: Path, entry: CalibrationEntry) -> dict[str, str]:
    place = {
        "file": path.name,
        "file_sha256": sha256_file(path),
        "region": str(entry.region),
        "channel": str(entry.channel),
    }
    for axis, limits in (("x", entry.x_range_px), ("y", entry.y_range_px)):
        if limits is not None:
            place[f"region_{axis}_px"] = f"{limits[0]:g} to {limits[1]:g}"
    return place
