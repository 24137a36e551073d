"""What can be exported: one entry a kind; the Export page and its jobs derive from this table."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from app.models.explore_filters import FILTER_FIELDS, cuts_of
from app.models.project import Project
from decode_engine.contract.configs import FilterConfig, RenderConfig
from decode_engine.contract.jobs import ExportFormat, ExportSpec, RenderSpec

__all__ = [
    "EXPORT_KINDS",
    "ExportInputs",
    "ExportKind",
    "calibration_for_smap",
    "filter_words",
    "free_path",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportInputs:
    """What is exported and how it is drawn."""

    localizations: str
    filters: FilterConfig
    render: RenderConfig
    pixel_size_nm: tuple[float, float] | None = None  # only where the file does not say it
    calibration: str = ""  # bead calibration for SMAP (.mat); it prepares trainings with it


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportKind:
    """One kind of file.

    Parameters
    ----------
    name : str
        For object names and settings.
    title, words : str
        What the user reads.
    suffix : str
        Ending of the file's name.
    draws : bool
        Whether the settings of the picture matter.
    spec : callable
        Makes the job from what is exported and the file to write.
    """

    name: str
    title: str
    words: str
    suffix: str
    draws: bool
    spec: Callable[[ExportInputs, Path], ExportSpec | RenderSpec]


def _table_of(format_name: ExportFormat) -> Callable[[ExportInputs, Path], ExportSpec]:
    def spec(inputs: ExportInputs, out: Path) -> ExportSpec:
        size_x_nm, size_y_nm = inputs.pixel_size_nm or (None, None)
        return ExportSpec(
            localizations=inputs.localizations,
            pixel_size_x_nm=size_x_nm,
            pixel_size_y_nm=size_y_nm,
            out=str(out),
            format=format_name,
            filters=inputs.filters,
            calibration_file=inputs.calibration if format_name == "smap-sml" else "",
        )

    return spec


def calibration_for_smap(project: Project) -> str:
    """Return the project's bead calibration if SMAP reads it and the results are of this project.

    Tables from elsewhere were made with other beads.
    """
    settings = project.settings
    path = settings.calibration.path or ""
    if settings.calibration.mode != "file" or not path.lower().endswith(".mat"):
        return ""
    made_here = any(settings.localizations in run.outputs.values() for run in project.runs)
    return path if made_here else ""


def _picture(inputs: ExportInputs, out: Path) -> RenderSpec:
    return RenderSpec(
        localizations=inputs.localizations,
        out=str(out),
        config=inputs.render,
        filters=inputs.filters,
        camera_pixel_size_nm=inputs.pixel_size_nm,
    )


def _measurable_picture(inputs: ExportInputs, out: Path) -> RenderSpec:
    # Values to measure in, not colours: one number a pixel, and of the same localizations as
    # the tables, so the limits that only make a picture look better do not hold.
    opened = {"color": "none", "sigma_max_nm": math.inf, "probability_min": 0.0}
    return _picture(replace(inputs, render=inputs.render.model_copy(update=opened)), out)


# The formats' own words live with their writers (`decode_engine.io.dialects`); repeated here
# are only those for people who know their program and not its files. Imported there, all
# writers would take a second of the app's start.
EXPORT_KINDS = (
    ExportKind(
        name="csv",
        title="Table (CSV)",
        words="All columns with their units; for Excel, R, Python, MATLAB.",
        suffix=".csv",
        draws=False,
        spec=_table_of("csv"),
    ),
    ExportKind(
        name="png",
        title="Picture (PNG)",
        words="With scale bar and colours; for slides and figures.",
        suffix=".png",
        draws=True,
        spec=_picture,
    ),
    ExportKind(
        name="tiff",
        title="Calibrated image (TIFF)",
        words="All that the tables hold, counted per pixel, with the pixel size inside; for "
        "Fiji/ImageJ.",
        suffix=".tif",
        draws=True,
        spec=_measurable_picture,
    ),
    ExportKind(
        name="smap-sml",
        title="SMAP",
        words="_sml.mat with camera and provenance; opens with a double click.",
        suffix="_sml.mat",
        draws=False,
        spec=_table_of("smap-sml"),
    ),
    ExportKind(
        name="thunderstorm",
        title="ThunderSTORM (Fiji)",
        words="CSV with its protocol, and a macro that opens both.",
        suffix="_thunderstorm.csv",
        draws=False,
        spec=_table_of("thunderstorm"),
    ),
    ExportKind(
        name="picasso",
        title="Picasso",
        words="_locs.hdf5 with the .yaml beside it; keep the two together.",
        suffix="_locs.hdf5",
        draws=False,
        spec=_table_of("picasso"),
    ),
    ExportKind(
        name="decode-h5",
        title="DECODE (Python)",
        words="What DECODE 0.10 itself saves; x and y in its own order.",
        suffix="_decode.h5",
        draws=False,
        spec=_table_of("decode-h5"),
    ),
    ExportKind(
        name="parquet",
        title="Parquet",
        words="Compact columns with units for pandas, polars, R.",
        suffix=".parquet",
        draws=False,
        spec=_table_of("parquet"),
    ),
)


def free_path(folder: Path, stem: str, suffix: str, promised: Collection[Path] = ()) -> Path:
    """Return a path that does not exist yet: ``stem.csv``, else ``stem-2.csv``, and so on.

    ``promised`` are the files of jobs that have not written them yet.
    """
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists() or path in promised:
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def filter_words(filters: FilterConfig) -> str:
    """Put the filters into words, or say that there are none."""
    words = []
    for field in FILTER_FIELDS:
        low, high = cuts_of(filters, field)
        end = f" {field.unit}" if field.unit else ""
        if math.isfinite(low) and math.isfinite(high):
            words.append(f"{field.label} {low:g} to {high:g}{end}")
        elif math.isfinite(low):
            words.append(f"{field.label} at least {low:g}{end}")
        elif math.isfinite(high):
            words.append(f"{field.label} at most {high:g}{end}")
    return f"Filters: {'; '.join(words)}." if words else "No filter is set."
