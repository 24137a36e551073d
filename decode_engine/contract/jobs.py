"""One specification per job: the files it reads and writes, and its settings."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from decode_engine.contract.base import Config, setting
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

__all__ = [
    "CalibrateSpec",
    "ConvertCalibrationSpec",
    "EvaluateSpec",
    "ExampleSpec",
    "ExportFormat",
    "ExportSpec",
    "FitMleSpec",
    "ImportCamerasSpec",
    "ImportSpec",
    "InspectSpec",
    "JobSpec",
    "LocalizeSpec",
    "PreviewSpec",
    "PsfPreviewSpec",
    "RenderSpec",
    "SimulateSpec",
    "TrainSpec",
]

_DEVICE = "Device: auto, cpu, cuda, cuda:1, mps."
# More pixels than any camera of the field has; a slip such as 64000 must not fill the memory.
_SidePx: TypeAlias = Annotated[int, Field(ge=1, le=8192)]
ExportFormat: TypeAlias = Literal[
    "csv", "smap-sml", "smap-csv", "thunderstorm", "picasso", "decode-h5", "decode-csv",
    "decode-h5-smap", "decode-csv-smap", "challenge", "parquet",
]  # fmt: skip


class CalibrateSpec(Config):
    """Bead stacks to calibration."""

    job: Literal["calibrate"] = "calibrate"
    beads: tuple[str, ...] = setting(..., "Bead stacks (TIFF).", min_length=1, path=True)
    out: str = setting(..., "Calibration file to write (.h5 or .mat).", path=True)
    config: CalibrateConfig


class ConvertCalibrationSpec(Config):
    """Write a calibration in another program's format, or with facts put right."""

    job: Literal["convert-calibration"] = "convert-calibration"
    file: str = setting(
        ..., "Calibration: ours, SMAP's or fit3Dcspline's .mat, uiPSF's .h5.", path=True
    )
    out: str = setting(..., "File to write: .h5 (ours) or _3dcal.mat.", path=True)
    layout: Literal["smap", "fit3dcspline"] = setting(
        "smap", "Variables of a .mat: SXY, as SMAP and DECODE read, or a plain cspline."
    )
    region: int | None = setting(None, "Field region, where the file has several.")
    channel: int | None = setting(None, "Channel, where the file has several.")
    pixel_size_x_nm: float | None = setting(
        None, "Pixel size along columns; overrides what the file says.", unit="nm", gt=0
    )
    pixel_size_y_nm: float | None = setting(
        None, "Pixel size along rows; the same as x when left out.", unit="nm", gt=0
    )
    em_mirrored: bool | None = setting(
        None, "Whether the beads were mirrored as EM frames are; overrides what the file says."
    )
    refractive_index_factor: float | None = setting(
        None,
        "Factor from the stage's z to z in the sample, usually 0.7-0.8 with an oil objective; "
        "overrides what the file says.",
        gt=0,
        le=2,
    )
    overwrite: bool = setting(False, "Replace an existing file.")


class ImportCamerasSpec(Config):
    """Read another program's cameras, or per-pixel maps, into files of this program."""

    job: Literal["import-cameras"] = "import-cameras"
    file: str = setting(
        ..., "SMAP's cameras.mat, Picasso's config.yaml, or maps (.npy, .tif, .mat).", path=True
    )
    out: str = setting(
        ..., "Folder of cameras to add to; of maps the camera file to write (.json).", path=True
    )
    name: str = setting("", "Name of the camera that the maps belong to.")
    pixel_size_x_nm: float | None = setting(
        None, "Maps only: pixel size in the sample along columns.", unit="nm", gt=0
    )
    pixel_size_y_nm: float | None = setting(
        None, "Maps only: pixel size along rows; the same as x when left out.", unit="nm", gt=0
    )
    gain_means: Literal["adu_per_e", "e_per_adu"] = setting(
        "adu_per_e", "Maps only: what the numbers of the gain are."
    )
    map_kind: Literal["offset", "variance", "gain"] | None = setting(
        None, "Maps only: what a file with a single map holds."
    )
    transposed: bool | None = setting(
        None, "Maps only: the file has columns first, as storm-analysis' calib.npy."
    )
    overwrite: bool = setting(False, "Replace existing files.")


class SimulateSpec(Config):
    """Simulate a movie with its truth."""

    job: Literal["simulate"] = "simulate"
    calibration: str = setting(..., "Calibration file.", path=True)
    camera: str = setting(..., "Camera file.", path=True)
    out: str = setting(..., "Folder for movie.tif and truth.csv.", path=True)
    frames: int = setting(..., "Number of frames.", ge=1)
    size_px: tuple[_SidePx, _SidePx] = setting(..., "Width and height of the movie.", unit="px")
    density_per_um2: float | None = setting(
        None, "Emitters on per frame and area; overrides the configuration.", unit="1/um^2", gt=0
    )
    drift_nm: tuple[float, float, float] = setting(
        (0.0, 0.0, 0.0), "Drift in x, y, z from the first to the last frame.", unit="nm"
    )
    simulation: SimulationConfig = SimulationConfig()
    seed: int = setting(0, "Seed.", ge=0)
    overwrite: bool = setting(False, "Replace existing files.")
    region: int | None = setting(None, "Field region of the calibration.")
    channel: int | None = setting(None, "Channel of the calibration.")
    allow_mismatch: bool = setting(
        False, "Simulate although calibration and camera differ in pixel size or mirroring."
    )


class TrainSpec(Config):
    """Train a network for one calibration and camera."""

    job: Literal["train"] = "train"
    calibration: str = setting(..., "Calibration file.", path=True)
    camera: str = setting(..., "Camera file.", path=True)
    out: str = setting(..., "Model file to write.", path=True)
    config: TrainingConfig = TrainingConfig()
    init: str | None = setting(
        None,
        "Model to start from: a file, 'starter' (the bundled one that fits the calibration), "
        "'starter:astigmatic' and the like, or 'auto' (a starter where one fits, else nothing). A "
        "file of such a name: './auto'.",
        path=True,
        names=("auto", "starter"),
    )
    device: str = setting("auto", _DEVICE)
    resume: bool = setting(False, "Go on from the checkpoint of an unfinished training.")
    overwrite: bool = setting(False, "Replace an existing model.")
    region: int | None = setting(None, "Field region of the calibration.")
    channel: int | None = setting(None, "Channel of the calibration.")
    allow_mismatch: bool = setting(
        False, "Train although calibration and camera differ in pixel size or mirroring."
    )


class LocalizeSpec(Config):
    """Localize movies with a trained model."""

    job: Literal["localize"] = "localize"
    movies: tuple[str, ...] = setting(..., "Movies.", min_length=1, path=True)
    model: str = setting(..., "Model file.", path=True)
    out: str = setting(..., "Result file, or folder when there are several movies.", path=True)
    camera: str | None = setting(None, "Camera of the movie, if not the model's own.", path=True)
    calibration: str | None = setting(
        None, "Calibration, only to check that the model fits it.", path=True
    )
    pixel_size_nm: float | None = setting(
        None, "Pixel size of the movie, only to check that the model fits it.", unit="nm", gt=0
    )
    region: int | None = setting(None, "Field region of that calibration.")
    channel: int | None = setting(None, "Channel of that calibration.")
    config: LocalizeConfig = LocalizeConfig()
    device: str = setting("auto", _DEVICE)


class FitMleSpec(Config):
    """Fit isolated emitters by maximum likelihood."""

    job: Literal["fit-mle"] = "fit-mle"
    movie: str = setting(..., "Movie.", path=True)
    calibration: str = setting(..., "Calibration file.", path=True)
    camera: str = setting(..., "Camera file.", path=True)
    out: str = setting(..., "Result file.", path=True)
    config: FitMleConfig = FitMleConfig()
    device: str = setting("auto", _DEVICE)
    region: int | None = setting(None, "Field region of the calibration.")
    channel: int | None = setting(None, "Channel of the calibration.")


class RenderSpec(Config):
    """Draw localizations."""

    job: Literal["render"] = "render"
    localizations: str = setting(..., "Localization file.", path=True)
    out: str = setting(..., "Image to write (.png or .tif).", path=True)
    filters: FilterConfig = setting(FilterConfig(), "Which localizations are drawn.")
    camera_pixel_size_nm: tuple[float, float] | None = setting(
        None,
        "Size of a camera pixel in x and y, where the table counts in pixels and does not say it.",
        unit="nm",
    )
    config: RenderConfig = RenderConfig()


class EvaluateSpec(Config):
    """Compare localizations with the truth."""

    job: Literal["evaluate"] = "evaluate"
    localizations: str = setting(..., "Localization file.", path=True)
    truth: str = setting(..., "True emitters (CSV).", path=True)
    config: EvaluateConfig = EvaluateConfig()


class ExportSpec(Config):
    """Write localizations in another program's format."""

    job: Literal["export"] = "export"
    localizations: str = setting(
        ..., "Localizations: ours, or a table of any program that is known.", path=True
    )
    out: str = setting(..., "File to write; what belongs to it goes beside it.", path=True)
    format: ExportFormat = setting("csv", "Format.")
    filters: FilterConfig = setting(FilterConfig(), "Which localizations are written.")
    camera: str | None = setting(
        None, "Camera file, for formats that carry it; the result's own if left out.", path=True
    )
    calibration_file: str = setting(
        "", "Bead calibration behind the model; SMAP looks there to prepare a training.", path=True
    )
    pixel_size_x_nm: float | None = setting(
        None, "Pixel size along columns, where the localizations do not say it.", unit="nm", gt=0
    )
    pixel_size_y_nm: float | None = setting(
        None, "Pixel size along rows; the same as x when left out.", unit="nm", gt=0
    )
    roi_origin_px: tuple[int, int] | None = setting(
        None,
        "Where the frame's top-left pixel lies on the chip (x, y from 0), for programs that "
        "count from the chip's corner (SMAP).",
        unit="px",
    )
    overwrite: bool = setting(False, "Replace existing files.")


class ImportSpec(Config):
    """Read another program's table and write it as our localization file."""

    job: Literal["import"] = "import"
    file: str = setting(..., "Table of localizations.", path=True)
    out: str | None = setting(None, "Localization file to write (.h5).", path=True)
    explain: bool = setting(
        False, "Say how the file was understood, and what was guessed; --out may be left out."
    )
    format: str = setting(
        "auto", "Format (for example thunderstorm); known by its content when left out."
    )
    pixel_size_x_nm: float | None = setting(
        None, "Pixel size along columns; overrides what the file says.", unit="nm", gt=0
    )
    pixel_size_y_nm: float | None = setting(
        None, "Pixel size along rows; the same as x when left out.", unit="nm", gt=0
    )
    frame_size: tuple[_SidePx, _SidePx] | None = setting(
        None, "Width and height of the movie's frame; overrides what the file says.", unit="px"
    )
    mapping: str | None = setting(
        None, "Column mapping (JSON) that says which column means what.", path=True
    )
    suggest_mapping: str | None = setting(
        None, "Write a column mapping to start from (JSON) instead of reading.", path=True
    )
    keep_nan: bool = setting(False, "Keep rows whose position is not a number.")
    overwrite: bool = setting(False, "Replace an existing file.")


class InspectSpec(Config):
    """Say what a file is."""

    job: Literal["inspect"] = "inspect"
    file: str = setting(..., "File or folder.", path=True)


class PreviewSpec(Config):
    """Localize a single frame and keep the answer small (for the app)."""

    job: Literal["preview"] = "preview"
    movie: str = setting(..., "Movie.", path=True)
    model: str = setting(..., "Model file.", path=True)
    frame: int = setting(0, "Frame.", ge=0)
    camera: str | None = setting(None, "Camera of the movie, if not the model's own.", path=True)
    out: str = setting(..., "Folder for frame.npy and localizations.csv.", path=True)
    config: LocalizeConfig = LocalizeConfig()
    device: str = setting("auto", _DEVICE)


class PsfPreviewSpec(Config):
    """Sample a calibration's PSF and its precision over z (for the app)."""

    job: Literal["psf-preview"] = "psf-preview"
    calibration: str = setting(..., "Calibration file.", path=True)
    out: str = setting(..., "Folder for psf.npz.", path=True)
    camera: str | None = setting(
        None,
        "Camera file, for its noise and pixel size; shot noise alone when left out.",
        path=True,
    )
    pixel_size_nm: float | None = setting(
        None,
        "Pixel size where neither the calibration nor a camera states one.",
        unit="nm",
        gt=0,
    )
    photons: float = setting(5000.0, "Photons of the molecule.", unit="photon", gt=0)
    background: float = setting(20.0, "Background.", unit="photon/px", ge=0)
    slices: int = setting(61, "Number of heights between the ends of the z range.", ge=2, le=501)
    region: int | None = setting(None, "Field region of the calibration.")
    channel: int | None = setting(None, "Channel of the calibration.")


class ExampleSpec(Config):
    """Localize, draw and score the bundled example."""

    job: Literal["example"] = "example"
    out: str = setting(..., "Folder for the results.", path=True)
    device: str = setting("auto", _DEVICE)
    overwrite: bool = setting(False, "Replace earlier results.")


JobSpec: TypeAlias = Annotated[
    CalibrateSpec
    | ConvertCalibrationSpec
    | ImportCamerasSpec
    | SimulateSpec
    | TrainSpec
    | LocalizeSpec
    | FitMleSpec
    | RenderSpec
    | EvaluateSpec
    | ExportSpec
    | ImportSpec
    | InspectSpec
    | PreviewSpec
    | PsfPreviewSpec
    | ExampleSpec,
    Field(discriminator="job"),
]
