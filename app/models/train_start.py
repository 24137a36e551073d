"""From which model a training may start, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from app.models.project import ProjectSettings, RunRecord
from app.models.simulation_words import photon_words
from app.models.verdict import Level
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.errors import EngineError, InputError
from decode_engine.io.calibrations import PixelSize, read_calibration
from decode_engine.io.models import ModelBundle, read_model
from decode_engine.io.resources import resource_path
from decode_engine.io.starters import (
    AUTO,
    STARTER,
    fitting_starter,
    is_starter,
    starter_model,
)

__all__ = ["StartChoice", "StartJudgement", "judge_start", "model_of_run", "start_choices"]

_PIXEL_TOLERANCE = 0.05
_NO_CALIBRATION = "Choose a calibration: it decides which starter fits."
_FROM_NOTHING = (
    "Learns from nothing: this takes much longer than from a model, even one of another microscope."
)


@dataclass(frozen=True, slots=True)
class StartChoice:
    """One entry of the list: words and the model's path (None for random weights)."""

    words: str
    path: str | None


class StartJudgement(NamedTuple):
    """A light and words about a start, and whether the training would learn from nothing."""

    level: Level
    text: str
    from_nothing: bool = False


def model_of_run(run: RunRecord) -> str | None:
    """Return the model that a training wrote; of one cut short its best so far."""
    path = run.outputs.get("model")
    return path if path and Path(path).is_file() else None


def start_choices(runs: tuple[RunRecord, ...], current: str | None) -> tuple[StartChoice, ...]:
    """Return from what a training can start: starter, earlier runs (newest first) ... nothing."""
    choices = [StartChoice("Starter that fits, or nothing", AUTO)]
    choices += [
        StartChoice(f"{run.title} ({run.run_id})", path)
        for run in reversed(runs)
        if (path := model_of_run(run)) is not None
    ]
    example = example_model()
    if example is not None:
        choices.append(StartChoice("Example model (built in)", example))
    if current is not None and all(choice.path != current for choice in choices):
        named = current.partition(":")[2] or "of the calibration's kind"
        words = f"Starter {named}" if is_starter(current) else f"File {Path(current).name}"
        choices.append(StartChoice(words, current))
    choices.append(StartChoice("Nothing (random weights)", None))
    return tuple(choices)


def example_model() -> str | None:
    """Return the bundled model; None where this installation lacks it."""
    try:
        return str(resource_path("example", "model.decode"))
    except InputError:
        return None


def judge_start(path: str | None, settings: ProjectSettings) -> StartJudgement:
    """Read a model and say whether the project's training can start from it (None: from nothing).

    Raises
    ------
    ModelError
        If the file is no model.
    """
    if path is None:
        return _judge_nothing(settings)
    if path == AUTO:
        return _judge_automatic(settings)
    if is_starter(path):
        return _judge_starter(path, settings)
    bundle = read_model(Path(path))
    refusal = _refusal(bundle, settings)
    if refusal:
        return StartJudgement("bad", refusal)
    differences = _differences(bundle, settings)
    about = _about(bundle)
    if differences:
        return StartJudgement(
            "doubt",
            f"Compatible, but made for {'; '.join(differences)}. It still saves time; "
            f"give the training a few minutes more. {about}",
        )
    return StartJudgement("ok", f"Compatible. {about}")


def _judge_automatic(settings: ProjectSettings) -> StartJudgement:
    """Say which starter is chosen, if any; nothing is refused."""
    try:
        calibration = _calibration(settings)
    except EngineError:
        calibration = None  # the Calibration page says what is wrong with the file
    if calibration is None:
        return StartJudgement("none", _NO_CALIBRATION)
    path = fitting_starter(calibration)
    if path is None:
        return StartJudgement("none", f"No built-in starter fits this PSF. {_FROM_NOTHING}", True)
    judgement = _judge_built_in(path, settings)
    if judgement.level == "ok":
        return judgement
    return StartJudgement("none", f"No built-in starter fits these settings. {_FROM_NOTHING}", True)


def _judge_nothing(settings: ProjectSettings) -> StartJudgement:
    """Point out the starter where one would do."""
    try:
        starter = _judge_starter(STARTER, settings)
    except EngineError:
        starter = StartJudgement("bad", "")  # the Calibration page says what is wrong with the file
    if starter.level == "ok":
        return StartJudgement(
            "doubt",
            "Learns from nothing. A built-in starter model fits your calibration: a training "
            "that begins with it is ahead from the first minute. Choose it above.",
            True,
        )
    return StartJudgement("ok", _FROM_NOTHING, True)


def _judge_starter(name: str, settings: ProjectSettings) -> StartJudgement:
    calibration = _calibration(settings)
    if calibration is None:
        return StartJudgement("doubt", _NO_CALIBRATION)
    try:
        path = starter_model(name, calibration)
    except EngineError as error:
        return StartJudgement("bad", f"{error.message} {error.hint}".strip())
    return _judge_built_in(path, settings)


def _judge_built_in(path: Path, settings: ProjectSettings) -> StartJudgement:
    refusal = _refusal(read_model(path), settings)
    if refusal:
        return StartJudgement("bad", refusal)
    return StartJudgement(
        "ok",
        f"Fits: the {path.stem} starter has learned from many computed microscopes, cameras and "
        "densities. The training makes it yours.",
    )


def _calibration(settings: ProjectSettings) -> Calibration | None:
    choice = settings.calibration
    if choice.mode == "gaussian_2d":
        sigma_nm = choice.psf_sigma_nm
        return Calibration(psf=GaussianPsf(sigma0_x_nm=sigma_nm, sigma0_y_nm=sigma_nm))
    if choice.mode != "file" or not choice.path:
        return None
    # The kind of PSF does not depend on the pixel size, which some files do not say.
    return read_calibration(
        Path(choice.path),
        region=choice.region,
        channel=choice.channel,
        pixel_size=PixelSize(x_nm=100.0, y_nm=100.0),
    )


def _refusal(bundle: ModelBundle, settings: ProjectSettings) -> str:
    own, other = settings.training, bundle.training_config
    if own.context_frames != other.context_frames:
        return (
            f"Not compatible: this model sees {_frames(other.context_frames)} at once, the "
            f"training is set to {_frames(own.context_frames)}. Choose another start."
        )
    if not bundle.holds(own.network, own.network_options, own.context_frames):
        return (
            f"Not compatible: this model holds another network ({bundle.network}, "
            f"{_options(bundle.network_options)}). Choose another start."
        )
    return ""


def _differences(bundle: ModelBundle, settings: ProjectSettings) -> list[str]:
    found: list[str] = []
    camera = settings.camera
    if camera is not None:
        own, other = camera.pixel_size_x_nm, bundle.camera.pixel_size_x_nm
        if abs(own / other - 1) > _PIXEL_TOLERANCE:
            found.append(f"pixels of {other:g} nm (yours: {own:g} nm)")
    is_3d = bundle.calibration.z_range_nm[1] > bundle.calibration.z_range_nm[0]
    if is_3d and settings.calibration.mode == "gaussian_2d":
        found.append("a three-dimensional PSF (yours is flat)")
    seen = bundle.training_config.simulation
    own_flux, flux = settings.simulation.flux_mean, seen.flux_mean
    if not 0.5 / seen.flux_spread <= own_flux / flux <= 2.0 * seen.flux_spread:
        found.append(f"molecules of {photon_words(seen)} (yours: {own_flux:,.0f})")
    return found


def _about(bundle: ModelBundle) -> str:
    low, high = bundle.calibration.z_range_nm
    depth = f"z from {low:.0f} to {high:.0f} nm" if high > low else "2D"
    return f"Made for {bundle.camera.pixel_size_x_nm:g} nm pixels, {depth}."


def _frames(n: int) -> str:
    return "one frame" if n == 1 else f"{n} frames"


def _options(options: dict[str, int | float | str | bool]) -> str:
    return ", ".join(f"{k}={v}" for k, v in sorted(options.items())) or "default size"
