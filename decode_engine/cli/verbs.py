"""The verbs of the command line: their words, their flags and the job each one becomes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decode_engine.cli.filters import FILTER_HELP, parse_filters
from decode_engine.cli.flags import add_flags, apply_settings, collect_flags
from decode_engine.contract import jobs
from decode_engine.contract.base import Config
from decode_engine.contract.checking import validate
from decode_engine.errors import ConfigError

__all__ = ["VERBS", "Verb", "build_spec"]


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb: its specification, its positional words, and the field its flags fill.

    ``nested`` is the name of the configuration field whose settings become flags of their own
    and the keys of ``--set``.
    """

    name: str
    spec: type[Config]
    positionals: tuple[tuple[str, str], ...] = ()  # (field, nargs)
    nested: str | None = None
    hidden: tuple[str, ...] = ()
    extra: Callable[[argparse.ArgumentParser], None] | None = None
    finish: Callable[[argparse.Namespace, dict[str, Any]], None] | None = None

    @property
    def nested_model(self) -> type[Config] | None:
        """Configuration model whose fields become flags."""
        if self.nested is None:
            return None
        annotation = self.spec.model_fields[self.nested].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, Config)
        return annotation


def build_spec(verb: Verb, namespace: argparse.Namespace) -> jobs.JobSpec:
    """Turn parsed words into the job's specification (file of ``--config`` first, flags last)."""
    values: dict[str, Any] = _read_config(namespace.job_file) if namespace.job_file else {}
    given = collect_flags(namespace, verb.spec)
    # An empty list of words must not replace the one of the job file.
    values.update({name: value for name, value in given.items() if value != []})
    for field, _ in verb.positionals:
        if field not in values:
            raise ConfigError(
                f"The argument {field!r} is missing: {verb.spec.model_fields[field].description}",
                hint=f"Write it behind the verb: decode-engine {verb.name} {field.upper()} …",
            )
    if verb.nested is None or verb.nested_model is None:
        apply_settings(values, namespace.set, verb.spec)
    else:
        nested = values.get(verb.nested, {})
        if not isinstance(nested, dict):
            raise ConfigError(
                f"{verb.nested!r} of the job file {namespace.job_file} is {nested!r}, not a group "
                "of settings.",
                hint='Write it as {"name": value, …}.',
            )
        nested = {**nested, **collect_flags(namespace, verb.nested_model)}
        values[verb.nested] = apply_settings(nested, namespace.set, verb.nested_model)
    if verb.finish is not None:
        verb.finish(namespace, values)
    spec: Any = validate(verb.spec, values)
    result: jobs.JobSpec = spec
    return result


def _read_config(path: str) -> dict[str, Any]:
    try:
        values = json.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"The job file {path} cannot be read: {error.strerror}.", hint="Check the path."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The job file {path} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"The job file {path} does not hold an object.")
    return values


def _size_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", metavar="PX|W,H", required=False, help="Width and height. [px]")
    parser.add_argument(
        "--density",
        dest="density_per_um2",
        metavar="PER_UM2",
        help="Emitters that are on per frame and square micrometre. [1/um^2]",
    )


def _size_finish(namespace: argparse.Namespace, values: dict[str, Any]) -> None:
    if namespace.size:
        parts = namespace.size.replace("x", ",").split(",")
        values["size_px"] = parts * 2 if len(parts) == 1 else parts


def _pixel_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pixel-size-nm", metavar="NM|X,Y", help="Pixel size of the bead stacks. [nm]"
    )


def _pixel_finish(namespace: argparse.Namespace, values: dict[str, Any]) -> None:
    if namespace.pixel_size_nm:
        parts = _one_or_two(namespace.pixel_size_nm)
        values["config"]["pixel_size_x_nm"] = parts[0]
        values["config"].setdefault("pixel_size_y_nm", parts[-1])


def _pixel_argument_of_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pixel-size-nm", metavar="NM|X,Y", help="Pixel size of the movie, x and y. [nm]"
    )


def _pixel_finish_of_table(namespace: argparse.Namespace, values: dict[str, Any]) -> None:
    if namespace.pixel_size_nm:
        parts = _one_or_two(namespace.pixel_size_nm)
        values["pixel_size_x_nm"] = parts[0]
        values.setdefault("pixel_size_y_nm", parts[-1])


def _one_or_two(text: str) -> list[str]:
    parts = text.split(",")
    if len(parts) > 2:
        raise ConfigError(
            f"The pixel size {text!r} has {len(parts)} values.",
            hint="Give one number, or two for x and y: 100 or 100,120.",
        )
    return parts


def _export_argument(parser: argparse.ArgumentParser) -> None:
    _filter_argument(parser)
    _pixel_argument_of_table(parser)


def _export_finish(namespace: argparse.Namespace, values: dict[str, Any]) -> None:
    _filter_finish(namespace, values)
    _pixel_finish_of_table(namespace, values)


def _filter_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filter", action="append", default=[], metavar="LIMIT", help=FILTER_HELP)


def _filter_finish(namespace: argparse.Namespace, values: dict[str, Any]) -> None:
    if namespace.filter:
        values["filters"] = parse_filters(namespace.filter)


def _example_finish(_namespace: argparse.Namespace, values: dict[str, Any]) -> None:
    values.setdefault("out", "decode-example")


VERBS: tuple[Verb, ...] = (
    Verb(name="inspect", spec=jobs.InspectSpec, positionals=(("file", "?"),)),
    Verb(
        name="calibrate",
        spec=jobs.CalibrateSpec,
        positionals=(("beads", "*"),),
        nested="config",
        extra=_pixel_argument,
        finish=_pixel_finish,
    ),
    Verb(
        name="convert-calibration",
        spec=jobs.ConvertCalibrationSpec,
        positionals=(("file", "?"), ("out", "?")),
        extra=_pixel_argument_of_table,
        finish=_pixel_finish_of_table,
    ),
    Verb(
        name="import-cameras",
        spec=jobs.ImportCamerasSpec,
        positionals=(("file", "?"),),
        extra=_pixel_argument_of_table,
        finish=_pixel_finish_of_table,
    ),
    Verb(
        name="simulate",
        spec=jobs.SimulateSpec,
        nested="simulation",
        hidden=("size_px", "density_per_um2"),
        extra=_size_argument,
        finish=_size_finish,
    ),
    Verb(name="train", spec=jobs.TrainSpec, nested="config"),
    Verb(name="localize", spec=jobs.LocalizeSpec, positionals=(("movies", "*"),), nested="config"),
    Verb(name="fit-mle", spec=jobs.FitMleSpec, positionals=(("movie", "?"),), nested="config"),
    Verb(
        name="render",
        spec=jobs.RenderSpec,
        positionals=(("localizations", "?"),),
        nested="config",
        extra=_filter_argument,
        finish=_filter_finish,
    ),
    Verb(
        name="evaluate",
        spec=jobs.EvaluateSpec,
        positionals=(("localizations", "?"), ("truth", "?")),
        nested="config",
    ),
    Verb(
        name="export",
        spec=jobs.ExportSpec,
        positionals=(("localizations", "?"),),
        extra=_export_argument,
        finish=_export_finish,
    ),
    Verb(
        name="import",
        spec=jobs.ImportSpec,
        positionals=(("file", "?"),),
        extra=_pixel_argument_of_table,
        finish=_pixel_finish_of_table,
    ),
    Verb(name="preview", spec=jobs.PreviewSpec, positionals=(("movie", "?"),), nested="config"),
    Verb(name="psf-preview", spec=jobs.PsfPreviewSpec, positionals=(("calibration", "?"),)),
    Verb(name="example", spec=jobs.ExampleSpec, finish=_example_finish),
)


def add_verb(subparsers: Any, verb: Verb) -> None:
    """Add the parser of one verb."""
    summary = (verb.spec.__doc__ or "").strip().splitlines()[0]
    parser: argparse.ArgumentParser = subparsers.add_parser(
        verb.name, help=summary, description=summary
    )
    for field, nargs in verb.positionals:
        info = verb.spec.model_fields[field]
        parser.add_argument(field, nargs=nargs, help=info.description, metavar=field.upper())
    positional_fields = [field for field, _ in verb.positionals]
    nested_fields = set(verb.nested_model.model_fields) if verb.nested_model else set()
    add_flags(parser, verb.spec, skip=[*positional_fields, *verb.hidden])
    if verb.extra is not None:
        verb.extra(parser)
    if verb.nested_model is not None:
        taken = set(verb.spec.model_fields) & nested_fields
        add_flags(parser, verb.nested_model, skip=[*taken, *verb.hidden])
    parser.add_argument(
        "--config", dest="job_file", metavar="JOB.JSON", help="Job file; flags override it."
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Any other setting, for example simulation.flux_mean=2000.",
    )
    parser.add_argument("--json", action="store_true", help="Print the summary as JSON.")
    parser.add_argument(
        "--json-events", action="store_true", help="Print all events as JSON lines."
    )
    parser.set_defaults(verb=verb)
