"""The Python API: one function per job, with files in and domain objects out.

    import decode_engine as de

    de.calibrate(["beads.tif"], dz_nm=10, pixel_size_x_nm=100, out="cal.h5")
    de.train(calibration="cal.h5", camera="camera.json", out="model.decode", minutes=30)
    localizations = de.localize("movie.tif", model="model.decode", out="locs.h5")

Settings are those of the configuration classes in `decode_engine.contract.configs`, given as
keyword arguments; ``on_event`` receives the job's events and ``cancel`` stops it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeAlias

from decode_engine.contract import jobs
from decode_engine.contract.base import Config
from decode_engine.contract.checking import validate
from decode_engine.contract.configs import (
    CalibrateConfig,
    EvaluateConfig,
    FilterConfig,
    FitMleConfig,
    LocalizeConfig,
    RenderConfig,
    SimulationConfig,
    TrainingConfig,
)
from decode_engine.domain.calibration import Calibration
from decode_engine.domain.localizations import Localizations
from decode_engine.io.any_localizations import read_any_localizations
from decode_engine.io.calibrations import read_calibration
from decode_engine.io.dialects.base import ImportedTable
from decode_engine.io.models import ModelBundle, read_model
from decode_engine.jobs.context import CancelToken, EventSink, JobContext
from decode_engine.jobs.import_table import read_for
from decode_engine.jobs.many import MovieOutcome
from decode_engine.jobs.many import localize_many as many_localized
from decode_engine.jobs.registry import run_job

__all__ = [
    "calibrate",
    "convert_calibration",
    "evaluate",
    "export",
    "fit_mle",
    "import_cameras",
    "import_table",
    "inspect",
    "localize",
    "localize_many",
    "read_calibration",
    "read_localizations",
    "read_model",
    "render",
    "simulate",
    "train",
]

PathLike: TypeAlias = str | os.PathLike[str]
read_localizations = read_any_localizations


def calibrate(
    beads: PathLike | Sequence[PathLike],
    *,
    out: PathLike,
    on_event: EventSink | None = None,
    cancel: CancelToken | None = None,
    **settings: Any,
) -> Calibration:
    """Make a calibration from bead stacks; ``settings`` are those of `CalibrateConfig`."""
    spec = jobs.CalibrateSpec(
        beads=_paths(beads), out=os.fspath(out), config=_config(CalibrateConfig, settings)
    )
    _run(spec, on_event, cancel)
    return read_calibration(Path(out))


def convert_calibration(file: PathLike, *, out: PathLike, **settings: Any) -> Calibration:
    """Write a calibration in another program's format, or with facts put right.

    Parameters
    ----------
    file : path
        Ours, SMAP's or fit3Dcspline's ``.mat``, uiPSF's ``.h5``.
    out : path
        ``.h5`` (ours) or ``.mat``.
    settings
        Further fields of `decode_engine.contract.jobs.ConvertCalibrationSpec`, such as
        ``layout``, ``pixel_size_x_nm``, ``em_mirrored``, ``refractive_index_factor``.
    """
    given = {"file": os.fspath(file), "out": os.fspath(out)}
    _run(validate(jobs.ConvertCalibrationSpec, given | settings), None, None)
    return read_calibration(Path(out))


def import_cameras(file: PathLike, *, out: PathLike, **settings: Any) -> list[Path]:
    """Read another program's cameras, or per-pixel maps; return the files written.

    Parameters
    ----------
    file : path
        SMAP's ``cameras.mat``, Picasso's ``config.yaml``, or maps (``.npy``, ``.tif``, ``.mat``).
    out : path
        Folder of cameras to add to; of maps the camera file to write (``.json``).
    settings
        Further fields of `decode_engine.contract.jobs.ImportCamerasSpec`, such as
        ``pixel_size_x_nm``, ``gain_means``, ``transposed``.
    """
    given = {"file": os.fspath(file), "out": os.fspath(out)}
    summary = _run(validate(jobs.ImportCamerasSpec, given | settings), None, None)
    return [Path(path) for path in summary["outputs"]]


def simulate(
    *,
    calibration: PathLike,
    camera: PathLike,
    out: PathLike,
    frames: int,
    size_px: tuple[int, int],
    on_event: EventSink | None = None,
    cancel: CancelToken | None = None,
    **settings: Any,
) -> Path:
    """Simulate ``movie.tif`` and ``truth.csv`` into the folder ``out`` and return it.

    ``settings`` are those of `SimulateSpec` (seed, density_per_um2, drift_nm, overwrite) and of
    `SimulationConfig`.
    """
    own = {k: settings.pop(k) for k in list(settings) if k in jobs.SimulateSpec.model_fields}
    spec = jobs.SimulateSpec(
        calibration=os.fspath(calibration),
        camera=os.fspath(camera),
        out=os.fspath(out),
        frames=frames,
        size_px=size_px,
        simulation=_config(SimulationConfig, settings),
        **own,
    )
    _run(spec, on_event, cancel)
    return Path(out)


def train(
    *,
    calibration: PathLike,
    camera: PathLike,
    out: PathLike,
    on_event: EventSink | None = None,
    cancel: CancelToken | None = None,
    **settings: Any,
) -> ModelBundle:
    """Train a network; ``settings`` are those of `TrainSpec` and `TrainingConfig`."""
    own = {k: settings.pop(k) for k in list(settings) if k in jobs.TrainSpec.model_fields}
    spec = jobs.TrainSpec(
        calibration=os.fspath(calibration),
        camera=os.fspath(camera),
        out=os.fspath(out),
        config=_config(TrainingConfig, settings),
        **own,
    )
    _run(spec, on_event, cancel)
    return read_model(Path(out))


def localize(
    movies: PathLike | Sequence[PathLike],
    *,
    model: PathLike,
    out: PathLike,
    on_event: EventSink | None = None,
    cancel: CancelToken | None = None,
    **settings: Any,
) -> Localizations | list[Localizations]:
    """Localize one movie (a table) or several (a list of tables, in the order given).

    ``settings`` are those of `LocalizeSpec` (device, camera, ...) and `LocalizeConfig`.
    """
    spec = _localize_spec(movies, model, out, settings)
    summary = _run(spec, on_event, cancel)
    tables = [read_any_localizations(Path(path)) for path in summary["outputs"]]
    return tables[0] if len(tables) == 1 else tables


def localize_many(
    movies: Sequence[PathLike],
    *,
    model: PathLike,
    out: PathLike,
    executor: Executor,
    on_done: Callable[[MovieOutcome], None] = lambda _: None,
    **settings: Any,
) -> list[MovieOutcome]:
    """Localize many movies into the folder ``out``, each a task of an executor.

    ``executor`` is a `concurrent.futures.ProcessPoolExecutor`, or a cluster's:
    ``distributed.Client(address).get_executor()``. ``settings`` as for `localize`; with
    ``resume=True`` the same call goes on after whatever stopped it. See `jobs.many`.
    """
    spec = _localize_spec(movies, model, out, settings)
    return many_localized(spec, executor, on_done)


def _localize_spec(
    movies: PathLike | Sequence[PathLike], model: PathLike, out: PathLike, settings: dict[str, Any]
) -> jobs.LocalizeSpec:
    own = {k: settings.pop(k) for k in list(settings) if k in jobs.LocalizeSpec.model_fields}
    return jobs.LocalizeSpec(
        movies=_paths(movies),
        model=os.fspath(model),
        out=os.fspath(out),
        config=_config(LocalizeConfig, settings),
        **own,
    )


def fit_mle(
    movie: PathLike,
    *,
    calibration: PathLike,
    camera: PathLike,
    out: PathLike,
    on_event: EventSink | None = None,
    cancel: CancelToken | None = None,
    **settings: Any,
) -> Localizations:
    """Fit isolated emitters by maximum likelihood; ``settings`` are those of `FitMleConfig`."""
    own = {k: settings.pop(k) for k in list(settings) if k in jobs.FitMleSpec.model_fields}
    spec = jobs.FitMleSpec(
        movie=os.fspath(movie),
        calibration=os.fspath(calibration),
        camera=os.fspath(camera),
        out=os.fspath(out),
        config=_config(FitMleConfig, settings),
        **own,
    )
    _run(spec, on_event, cancel)
    return read_any_localizations(Path(out))


def render(
    localizations: PathLike,
    *,
    out: PathLike,
    filters: FilterConfig | None = None,
    **settings: Any,
) -> Path:
    """Draw localizations into a PNG or TIFF; ``settings`` are those of `RenderConfig`.

    Only those that pass the filters are drawn.
    """
    spec = jobs.RenderSpec(
        localizations=os.fspath(localizations),
        out=os.fspath(out),
        filters=filters or FilterConfig(),
        config=_config(RenderConfig, settings),
    )
    _run(spec, None, None)
    return Path(out)


def evaluate(localizations: PathLike, truth: PathLike, **settings: Any) -> dict[str, Any]:
    """Score localizations against the truth; ``settings`` are those of `EvaluateConfig`."""
    spec = jobs.EvaluateSpec(
        localizations=os.fspath(localizations),
        truth=os.fspath(truth),
        config=_config(EvaluateConfig, settings),
    )
    return _run(spec, None, None)


def export(localizations: PathLike, *, out: PathLike, format: str = "csv", **settings: Any) -> Path:
    """Write localizations in another program's format.

    Parameters
    ----------
    localizations : path
        Ours, or a table of any program that is known.
    format : str
        smap-sml, smap-csv, thunderstorm, picasso, decode-h5, decode-csv, challenge, csv, parquet.
    settings
        Further fields of `decode_engine.contract.jobs.ExportSpec`, such as ``overwrite``,
        ``filters``, ``pixel_size_x_nm``.
    """
    given = {"localizations": os.fspath(localizations), "out": os.fspath(out), "format": format}
    _run(validate(jobs.ExportSpec, given | settings), None, None)
    return Path(out)


def import_table(file: PathLike, *, out: PathLike | None = None, **settings: Any) -> ImportedTable:
    """Read another program's table; write it as our localization file where ``out`` is given.

    Parameters
    ----------
    settings
        Further fields of `decode_engine.contract.jobs.ImportSpec`, such as ``format``,
        ``pixel_size_x_nm``, ``mapping`` (path of a preset).

    Returns
    -------
    ImportedTable
        The table in our convention, with all guesses, notes and counts.
    """
    given: dict[str, Any] = {"file": os.fspath(file), "explain": out is None}
    spec = validate(
        jobs.ImportSpec, given | ({"out": os.fspath(out)} if out is not None else {}) | settings
    )
    if out is not None:
        _run(spec, None, None)
    return read_for(spec)


def inspect(file: PathLike) -> dict[str, Any]:
    """Say what a file is."""
    return _run(jobs.InspectSpec(file=os.fspath(file)), None, None)


def _paths(given: PathLike | Sequence[PathLike]) -> tuple[str, ...]:
    if isinstance(given, (str, os.PathLike)):
        return (os.fspath(given),)
    return tuple(os.fspath(path) for path in given)


def _config(model: type[Config], settings: dict[str, Any]) -> Any:
    return validate(model, settings)


def _run(
    spec: jobs.JobSpec, on_event: EventSink | None, cancel: CancelToken | None
) -> dict[str, Any]:
    context = JobContext()
    if on_event is not None:
        context.emit = on_event
    if cancel is not None:
        context.cancel = cancel
    return run_job(spec, context)
