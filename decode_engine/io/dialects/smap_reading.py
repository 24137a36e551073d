"""Reads SMAP's ``*_sml.mat``: version 7 or 7.3, in one file or in parts, one movie or several.

Objects of MATLAB classes (transformations, sites) cannot be decoded; they are named and skipped.
Every row is kept, also those that SMAP itself removes when it opens the file. Where SMAP turned
the frames over (EM read-out, ``info.EMmirror``), x is turned back: our tables lie on the movie as
it was recorded.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import LocalizationsError
from decode_engine.io.dialects.assembly import Source, assemble
from decode_engine.io.dialects.base import Guess, ImportedTable, ReadOptions
from decode_engine.io.dialects.convention import OURS, Convention, Geometry, to_ours
from decode_engine.io.localization_metadata import LocalizationMetadata
from decode_engine.io.matlab import (
    LazyArray,
    MatlabList,
    MatlabTree,
    MatlabValue,
    Opaque,
    read_mat,
    variable_names,
)
from decode_engine.io.smap_members import base_name, number, numbers

__all__ = ["EXTRA_VARIABLE", "MIRRORED_BACK", "SMAP", "SMAP_MIRRORED", "SMAP_NAMES", "read_sml"]

SMAP = Convention(xy_unit="nm", origin="one_based_centre", first_frame=1, with_roi_origin=True)
SMAP_MIRRORED = dataclasses.replace(SMAP, mirrored_x=True)
EXTRA_VARIABLE = "decode_desktop"
MIRRORED_BACK = (
    "SMAP turned the frames over (EM read-out); x was turned back, so that the table lies on the "
    "movie as it was recorded."
)

SMAP_NAMES: Mapping[str, tuple[str, ...]] = {
    "frame": ("frame",),
    "x_nm": ("xnm",),
    "y_nm": ("ynm",),
    "z_nm": ("znm",),
    "photons": ("phot",),
    "background": ("bg",),
    "probability": ("prob",),
    "sigma_x_nm": ("xnmerr", "xerrnm", "locprecxnm", "locprecnm"),
    "sigma_y_nm": ("ynmerr", "yerrnm", "locprecynm", "locprecnm"),
    "sigma_z_nm": ("locprecznm", "znmerr", "zerrnm", "zerr"),
    "sigma_photons": ("phot_err", "photerr"),
    "sigma_background": ("bg_err", "bgerr"),
    "log_likelihood": ("logLikelihood",),
    "iterations": ("iterations",),
    "flags": ("flags",),
    "track_id": ("track_id", "groupindex"),
}
"""Our names and SMAP's, the first that is there wins."""

_REQUIRED = ("frame", "x_nm", "y_nm")
_VARIABLES = ("saveloc", "lds", "S", "partnames", "ltemp", "transformation", EXTRA_VARIABLE)
# Raw frames, GUI settings and fit parameters play no part, and are the bulk of the file.
_SKIP = (
    "*.file.raw*", "*.file.tif*", "*.file.average*", "*.file.imagetags*", "*.file.savefit*",
    "*.file.info.allmetadata*", "*.file.info.imagemetadata*", "*.history*", "*.fitparameters*",
)  # fmt: skip
_PART = re.compile(r"_p\d+$")
_LARGEST_LOCPREC_NM = 250.0
_OLD_REFRACTIVE_FACTOR = 1.25  # what SMAP divides the z of its oldest files by


def read_sml(path: Path, options: ReadOptions) -> ImportedTable:
    """Read a SMAP file.

    Raises
    ------
    LocalizationsError
        If it has no localizations, a required column is missing, columns differ in length, a
        part is missing, or the pixel size is unknown.
    """
    whole = _whole(path)
    tree = read_mat(whole, variables=_VARIABLES, skip=_SKIP)
    saveloc = _saveloc(whole, tree)
    loc = saveloc.get("loc")
    if not isinstance(loc, dict):
        raise LocalizationsError(
            f"{whole.name} has no localizations (saveloc.loc).",
            hint="Give a file that SMAP saved with 'SMLMsaver'.",
        )
    own = _our_provenance(tree.get(EXTRA_VARIABLE))
    columns, unused, guesses = _columns(
        whole, {n: v for n, v in loc.items() if n not in own.made_up}
    )
    movies = _movies(saveloc.get("file"), own.roi_origin_px)
    notes = [*_opaque_notes(tree), *_removal_notes(columns)]
    plain, convention, extra = _in_frames(columns, loc, movies, options)
    first = movies[0] if movies else _Movie()
    source = Source(
        dialect="smap-sml",
        variant=_variant(whole, tree),
        geometry=first.geometry,
        camera=first.camera,
        guesses=tuple(guesses),
        notes=(*notes, *extra),
        unused=unused,
        metadata=own.metadata,
    )
    return assemble(plain, convention, options, source)


@dataclass(frozen=True, kw_only=True)
class _Movie:
    """One element of ``saveloc.file``."""

    name: str = ""
    geometry: Geometry = dataclasses.field(default_factory=Geometry)
    camera: Mapping[str, object] = dataclasses.field(default_factory=dict)

    @property
    def convention(self) -> Convention:
        """SMAP's, with the mirror where SMAP turned this movie's frames over."""
        can_turn_back = self.geometry.width_px is not None and self.geometry.has_pixel_size
        return SMAP_MIRRORED if self.camera.get("em_mirrored") and can_turn_back else SMAP


def _whole(path: Path) -> Path:
    """Return the main file when a part of it is given."""
    if not path.is_file():
        raise LocalizationsError(f"{path} does not exist.", hint="Check the name.")
    if not _PART.search(path.stem) or "ltemp" not in variable_names(path):
        return path
    whole = path.with_name(_PART.sub("", path.stem) + path.suffix)
    if whole.is_file():
        return whole
    raise LocalizationsError(
        f"{path.name} is one part of a SMAP file; {whole.name} is not beside it.",
        hint="Put all parts of the file into one folder.",
    )


def _variant(path: Path, tree: MatlabTree) -> str:
    with path.open("rb") as handle:
        head = handle.read(128)
    version = "v7.3" if b"MATLAB 7.3" in head or head.startswith(b"\x89HDF") else "v7"
    return f"{version}, in parts" if "lds" in tree else version


def _saveloc(path: Path, tree: MatlabTree) -> dict[str, MatlabValue]:
    if "lds" in tree:
        tree["saveloc"] = _joined(path, tree)
    saveloc = tree.get("saveloc")
    if isinstance(saveloc, dict):
        return saveloc
    raise LocalizationsError(
        f"{path.name} is a MATLAB file without localizations (no variable saveloc).",
        hint="Give a file whose name ends with _sml.mat.",
    )


def _joined(path: Path, tree: MatlabTree) -> MatlabValue:
    """Return ``saveloc`` of a file in parts: the columns of the parts put into ``lds``."""
    outer = tree.get("lds")
    saveloc = outer.get("saveloc") if isinstance(outer, dict) else None
    if not isinstance(saveloc, dict):
        raise LocalizationsError(
            f"The parts of {path.name} do not belong to a SMAP file (lds has no saveloc).",
            hint="Save it again in SMAP.",
        )
    loc = saveloc.get("loc")
    merged = dict(loc) if isinstance(loc, dict) else {}
    names = tree.get("partnames")
    parts = [str(n) for n in names] if isinstance(names, MatlabList) else [str(names)]
    for name in filter(None, map(base_name, parts)):
        part = path.with_name(name)
        if not part.is_file():
            # The file was renamed: SMAP keeps the number behind the name.
            number_of_part = Path(name).stem.rpartition("_p")[2]
            part = path.with_name(f"{path.stem}_p{number_of_part}{path.suffix}")
        if not part.is_file():
            raise LocalizationsError(
                f"{path.name} is one of several files, and {name} is not beside it.",
                hint="Put all parts of the file into one folder.",
            )
        content = read_mat(part, variables=("ltemp",)).get("ltemp")
        merged.update(content if isinstance(content, dict) else {})
    return {**saveloc, "loc": merged}


def _columns(
    path: Path, loc: dict[str, MatlabValue]
) -> tuple[dict[str, NDArray[Any]], list[str], list[Guess]]:
    guesses: list[Guess] = []
    found = {ours: next((n for n in names if n in loc), None) for ours, names in SMAP_NAMES.items()}
    present = {
        ours: values
        for ours, theirs in found.items()
        if theirs is not None and (values := _vector(loc[theirs])) is not None
    }
    has_rows = any(values.size for values in present.values())
    # SMAP keeps fields that were never filled as [].
    columns = {ours: values for ours, values in present.items() if values.size or not has_rows}
    for name in _REQUIRED:
        if name not in columns:
            wanted = SMAP_NAMES[name][0]
            near = difflib.get_close_matches(wanted, loc, n=3, cutoff=0.4)
            also = f"; the nearest are {', '.join(near)}" if near else ""
            raise LocalizationsError(
                f"The localizations in {path.name} have no {wanted}{also}.",
                hint="Frame, xnm and ynm are needed; save the file again in SMAP.",
                detail=f"fields: {', '.join(loc)}",
            )
    lengths = {SMAP_NAMES[n][0]: v.size for n, v in columns.items()}
    if len(set(lengths.values())) > 1:
        raise LocalizationsError(
            f"The columns in {path.name} differ in length: {lengths}.",
            hint="The file is damaged; save it again in SMAP.",
        )
    if "z_nm" not in columns and (old := _vector(loc.get("z"))) is not None and old.size:
        columns["z_nm"] = old * (1000.0 / _OLD_REFRACTIVE_FACTOR)
        guesses.append(Guess("z_nm", "z · 1000 / 1.25", "as SMAP reads its oldest files"))
    if found["sigma_x_nm"] == found["sigma_y_nm"] == "locprecnm" and "sigma_x_nm" in columns:
        why = "the file has one uncertainty for both"
        guesses.append(Guess("sigma_x_nm, sigma_y_nm", "locprecnm", why))
    _whole_numbers(columns, guesses)
    known = {"locprecnm", "locprecznm", "xpix", "ypix", "filenumber", "channel", "LLrel"}
    unused = [n for n in loc if n not in known and n not in found.values()]
    return columns, unused, guesses


def _vector(value: MatlabValue | None) -> NDArray[Any] | None:
    if isinstance(value, LazyArray | np.ndarray):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            return array.ravel()
        if array.dtype.kind == "c":  # SMAP's word for a failed fit
            return np.where(array.imag == 0, array.real, np.nan).ravel()
    return None


def _whole_numbers(columns: dict[str, NDArray[Any]], guesses: list[Guess]) -> None:
    """Leave out columns of whole numbers where they hold others (averages over a group)."""
    for name in ("iterations", "flags", "track_id"):
        values = columns.get(name)
        if values is None:
            continue
        low, high = (0, 2**32 - 1) if name == "flags" else (-(2**31), 2**31 - 1)
        fits = np.isfinite(values).all() and bool(np.all((values >= low) & (values <= high)))
        if not (fits and bool(np.all(values == np.round(values)))):
            del columns[name]
            guesses.append(Guess(name, "left out", "it holds numbers that are not whole"))


def _movies(value: MatlabValue | None, origin: tuple[int, int] | None) -> list[_Movie]:
    members = list(value) if isinstance(value, MatlabList) else [value]
    return [_movie(member, origin) for member in members if isinstance(member, dict)]


def _movie(member: dict[str, MatlabValue], origin: tuple[int, int] | None) -> _Movie:
    info = member.get("info")
    name = base_name(_text(member.get("name")))
    if not isinstance(info, dict):
        return _Movie(name=name)
    pixel_um = numbers(info.get("cam_pixelsize_um", info.get("pixsize")))
    pixel_nm = [float(v) * 1e3 for v in pixel_um if np.isfinite(v) and v > 0]
    roi = numbers(info.get("roi"))
    width, height = number(info.get("Width")), number(info.get("Height"))
    frames = number(info.get("numberOfFrames"))
    start = (0, 0)
    if roi.size >= 2 and np.isfinite(roi[:2]).all():
        start = (round(float(roi[0])), round(float(roi[1])))
    geometry = Geometry(
        pixel_size_x_nm=pixel_nm[0] if pixel_nm else None,
        pixel_size_y_nm=pixel_nm[-1] if pixel_nm else None,
        width_px=round(width) if width else None,
        height_px=round(height) if height else None,
        roi_origin_px=origin or start,
        n_frames=round(frames) if frames else None,
    )
    return _Movie(name=name, geometry=geometry, camera=_camera(info, pixel_nm))


def _text(value: MatlabValue | None) -> str:
    if isinstance(value, MatlabList):  # a column of characters, as other programs write it
        return "".join(one for one in value if isinstance(one, str))
    return value if isinstance(value, str) else ""


def _camera(info: dict[str, MatlabValue], pixel_nm: Sequence[float]) -> dict[str, object]:
    assigned = info.get("assigned")

    def known(name: str) -> float | None:
        flag = number(assigned.get(name)) if isinstance(assigned, dict) else None
        return None if flag == 0 else number(info.get(name))

    has_em = known("EMon")
    camera: dict[str, object] = {}
    if has_em is not None:
        camera["kind"] = "emccd" if has_em else "scmos"
    if comment := _text(info.get("comment")):
        camera["name"] = comment
    if pixel_nm:
        camera["pixel_size_x_nm"], camera["pixel_size_y_nm"] = pixel_nm[0], pixel_nm[-1]
    for ours, theirs in (("offset_adu", "offset"), ("e_per_adu", "conversion")):
        value = known(theirs)
        if value is not None and (ours != "e_per_adu" or value > 0):
            camera[ours] = value
    gain, mirrored = known("emgain"), known("EMmirror")
    if has_em and gain:
        camera["em_gain"] = gain
    if mirrored is not None:
        camera["em_mirrored"] = bool(mirrored and has_em)
    return camera


def _in_frames(
    columns: dict[str, NDArray[Any]],
    loc: dict[str, MatlabValue],
    movies: Sequence[_Movie],
    options: ReadOptions,
) -> tuple[dict[str, NDArray[Any]], Convention, list[str]]:
    """Return the columns with each movie's own region and pixel size taken into account."""
    owner = _vector(loc.get("filenumber"))
    used = [] if owner is None or not owner.size else np.unique(owner[np.isfinite(owner)]).tolist()
    if owner is None or len(used) < 2:
        movie = _at(movies, used[0] if used else 1)
        return columns, movie.convention, _mirror_notes([movie])
    notes = [
        f"The file joins {len(used)} movies, whose frames overlap: "
        + ", ".join(
            f"{_movie_name(movies, one)} ({int(np.count_nonzero(owner == one))} rows)"
            for one in used
        )
        + "."
    ]
    joined = [_at(movies, one) for one in used]
    notes += _mirror_notes(joined)
    if len({(movie.geometry, movie.convention) for movie in joined}) < 2:
        return columns, joined[0].convention, notes
    plain = {name: np.array(values, np.float64) for name, values in columns.items()}
    for one in used:
        rows = owner == one
        geometry = options.over(_at(movies, one).geometry)
        convention = _at(movies, one).convention
        part = to_ours({n: v[rows] for n, v in columns.items()}, convention, geometry)
        for name, values in part.items():
            plain[name][rows] = values
    notes.append("Their regions or pixel sizes differ; each was read with its own.")
    return plain, OURS, notes


def _mirror_notes(movies: Sequence[_Movie]) -> list[str]:
    if not any(movie.convention.mirrored_x for movie in movies):
        return []
    return [MIRRORED_BACK]


def _at(movies: Sequence[_Movie], file_number: float) -> _Movie:
    index = round(file_number) - 1
    if 0 <= index < len(movies):
        return movies[index]
    return movies[0] if movies else _Movie()


def _movie_name(movies: Sequence[_Movie], file_number: float) -> str:
    return _at(movies, file_number).name or f"movie {file_number:g}"


def _removal_notes(columns: Mapping[str, NDArray[Any]]) -> list[str]:
    sigma = columns.get("sigma_x_nm"), columns.get("sigma_y_nm")
    if sigma[0] is None or sigma[1] is None:
        return []
    lateral = np.sqrt((sigma[0] ** 2 + sigma[1] ** 2) / 2.0)
    count = int(np.count_nonzero(~(lateral <= _LARGEST_LOCPREC_NM)))
    if not count:
        return []
    return [
        f"{count} rows have an uncertainty above 250 nm or none; SMAP removes them when it opens "
        "the file, here they are kept."
    ]


def _opaque_notes(tree: MatlabTree) -> list[str]:
    found = sorted({f"{path} ({name})" for path, name in _opaque(tree, "")})
    if not found:
        return []
    shown = ", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "")
    return [f"MATLAB objects that cannot be decoded were skipped: {shown}."]


def _opaque(value: MatlabValue | MatlabTree, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Opaque):
        yield path, value.class_name or "object"
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _opaque(member, f"{path}.{name}" if path else name)
    elif isinstance(value, MatlabList):
        for member in value:
            yield from _opaque(member, path)


@dataclass(frozen=True, kw_only=True)
class _Own:
    """What our own files carry besides SMAP's fields."""

    metadata: LocalizationMetadata | None = None
    roi_origin_px: tuple[int, int] | None = None
    made_up: frozenset[str] = frozenset()


def _our_provenance(value: MatlabValue | None) -> _Own:
    if not isinstance(value, str):
        return _Own()
    try:
        content = json.loads(value)
        x_px, y_px = content["roi_origin_px"]
        metadata = content["metadata"]
        return _Own(
            metadata=metadata and LocalizationMetadata.from_json(json.dumps(metadata)),
            roi_origin_px=(int(x_px), int(y_px)),
            made_up=frozenset(map(str, content["made_up"])),
        )
    except (ValueError, KeyError, TypeError, LocalizationsError):
        return _Own()  # SMAP's own fields remain
