"""Settings of simulation, training, localization, calibration and rendering."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, model_validator

from decode_engine.contract.base import Config, setting

__all__ = [
    "CalibrateConfig",
    "CameraConfig",
    "EvaluateConfig",
    "FilterConfig",
    "FilterRange",
    "FitMleConfig",
    "LocalizeConfig",
    "RenderConfig",
    "SimulationConfig",
    "TrainingConfig",
]


class CameraConfig(Config):
    """Contents of a camera file (JSON). Map entries are paths relative to the file."""

    # `CameraModel` refuses numbers that are not finite, maps included, in the camera's own words.
    model_config = ConfigDict(allow_inf_nan=True)

    schema_version: Literal[1] = 1
    kind: Literal["ideal", "emccd", "scmos"] = setting("scmos", "Type of camera.")
    name: str = setting("", "Name of the camera, for the record.")
    pixel_size_x_nm: float = setting(
        ..., "Pixel size along columns in the sample plane.", unit="nm"
    )
    pixel_size_y_nm: float | None = setting(
        None, "Pixel size along rows; the same as x when left out.", unit="nm"
    )
    offset_adu: float | str = setting(100.0, "Offset, or path of a per-pixel map.", unit="ADU")
    e_per_adu: float | str = setting(1.0, "Conversion, or path of a map.", unit="e-/ADU")
    em_gain: float = setting(1.0, "EM gain; 1 where there is no EM register.")
    quantum_efficiency: float = setting(1.0, "1 makes photons mean detected photons.")
    read_noise_e: float | str = setting(
        0.0, "Read noise (standard deviation) after the EM register, or path of a map.", unit="e-"
    )
    spurious_charge_e: float = setting(0.0, "Clock-induced and dark charge per frame.", unit="e-")
    saturation_adu: float | None = setting(None, "Level at which pixels clip.", unit="ADU")
    em_mirrored: bool = setting(False, "Frames are mirrored left-right (EM read-out).")


class SimulationConfig(Config):
    """What the simulated frames contain."""

    schema_version: Literal[1] = 1
    density_min_per_um2: float = setting(
        0.3, "Lowest emitter density (emitters that are on in one frame).", unit="1/um^2", ge=0
    )
    density_max_per_um2: float = setting(
        2.5,
        "Highest density; each sample draws one between the two, log-uniformly.",
        unit="1/um^2",
        gt=0,
    )
    flux_distribution: Literal["normal", "lognormal", "gamma", "exponential", "uniform"] = setting(
        "normal", "Distribution of the photon flux over molecules."
    )
    flux_mean: float = setting(
        3500.0, "Mean photons of a molecule that is on during a whole frame.", unit="photon", gt=0
    )
    flux_std: float = setting(
        2000.0, "Standard deviation of the flux over molecules.", unit="photon", ge=0
    )
    flux_min: float = setting(1.0, "Fluxes below are raised to this.", unit="photon", gt=0)
    flux_spread: float = setting(
        1.0,
        "All molecules of a sample are brighter or dimmer by one factor of at most this, "
        "log-uniform; 1 for none.",
        ge=1,
        le=100,
    )
    lifetime_frames: float = setting(
        2.0, "Mean on-time of a molecule (exponential).", unit="frame", gt=0
    )
    z_min_nm: float | None = setting(
        None, "Lowest z; the calibration's own limit when left out.", unit="nm"
    )
    z_max_nm: float | None = setting(
        None, "Highest z; the calibration's own limit when left out.", unit="nm"
    )
    prior: Literal["uniform", "filaments", "rings"] = setting(
        "uniform", "Where molecules are: anywhere, on 3D filaments, on nuclear-pore-like rings."
    )
    background_min: float = setting(10.0, "Lowest mean background.", unit="photon/px", ge=0)
    background_max: float = setting(60.0, "Highest mean background.", unit="photon/px", ge=0)
    background_variation: float = setting(
        0.2, "Spatial variation of the background (Perlin), relative to its mean.", ge=0, lt=1
    )
    background_scale_px: float = setting(
        24.0, "Length over which the background varies.", unit="px", gt=1
    )
    background_correlation_frames: float = setting(
        100.0, "Frames over which the background drifts to another level.", unit="frame", gt=0
    )
    psf_width_jitter: float = setting(
        0.0, "Standard deviation of a random lateral scaling of the PSF per sample.", ge=0, le=0.2
    )
    z_scale_jitter: float = setting(
        0.0, "Standard deviation of a random axial scaling of the PSF per sample.", ge=0, le=0.2
    )
    gain_jitter: float = setting(
        0.0, "Standard deviation of a random relative camera gain per sample.", ge=0, le=0.2
    )
    margin_px: float | None = setting(
        None,
        "Width of the zone outside the frame in which emitters are simulated too; half of "
        "the PSF when left out.",
        unit="px",
        ge=0,
    )

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        pairs = [
            ("density_min_per_um2", "density_max_per_um2"),
            ("background_min", "background_max"),
            ("z_min_nm", "z_max_nm"),
        ]
        for low, high in pairs:
            a, b = getattr(self, low), getattr(self, high)
            if a is not None and b is not None and a > b:
                raise ValueError(f"{low}={a:g} lies above {high}={b:g}")
        return self


class TrainingConfig(Config):
    """How a network is trained."""

    schema_version: Literal[1] = 1
    network: str = setting("fast", "fast, or decode: the network of the DECODE paper.")
    network_options: dict[str, int | float | str | bool] = setting(
        {}, "Options of the network (for example width=72)."
    )
    context_frames: Literal[1, 3] = setting(3, "Frames seen at once: 3 (t-1, t, t+1) or 1.")
    simulation: SimulationConfig = SimulationConfig()
    patch_px: int = setting(40, "Width and height of training frames.", unit="px", ge=16, le=256)
    batch_size: int = setting(8, "Samples per step.", ge=1)
    steps: int | None = setting(None, "Stop after this many steps.", ge=1)
    minutes: float | None = setting(
        None,
        "Stop after this time; 60 minutes when neither steps nor a time are given.",
        unit="min",
        gt=0,
    )
    optimizer: Literal["muon", "adamw"] = setting(
        "muon", "muon: kernels between features move by orthogonalised steps; adamw: none do."
    )
    learning_rate: float = setting(1e-3, "Highest learning rate.", gt=0)
    weight_decay: float = setting(0.1, "AdamW weight decay (weights of convolutions only).", ge=0)
    warmup_fraction: float = setting(0.02, "Part of the run in which the rate rises.", ge=0, lt=1)
    final_learning_rate_fraction: float = setting(0.02, "Last rate relative to the highest.", gt=0)
    gradient_clip: float = setting(0.5, "Largest L2 norm of the gradient.", gt=0)
    ema_decay: float = setting(0.998, "Decay of the averaged weights that are kept.", ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "bf16 is used by auto where the hardware really supports it."
    )
    label_min_photons: float = setting(
        50.0, "Dimmer emitters stay in the image but need not be found.", unit="photon", ge=0
    )
    count_weight: float = setting(1.0, "Weight of the count term of the loss.", ge=0)
    background_weight: float = setting(1.0, "Weight of the background term of the loss.", ge=0)
    validation_frames: int = setting(256, "Frames of the frozen validation set.", ge=8)
    validate_every_steps: int | None = setting(
        None, "Steps between validations; about 20 validations a run when left out.", ge=1
    )
    patience: int | None = setting(
        None, "Stop after this many validations without improvement.", ge=1
    )
    checkpoint_every_s: float = setting(60.0, "Time between checkpoints.", unit="s", gt=0)
    seed: int = setting(0, "Seed of everything random.", ge=0)


class LocalizeConfig(Config):
    """How a movie is localized."""

    schema_version: Literal[1] = 1
    frames: tuple[int, int] | None = setting(None, "First frame and end (exclusive).")
    roi: tuple[int, int, int, int] | None = setting(
        None, "Region x, y, width, height in pixels of the frame.", unit="px"
    )
    movie_channel: int | None = setting(
        None, "Channel of the movie, where it has several; from 0.", ge=0
    )
    z_slice: int | None = setting(
        None, "Slice of the movie, where it has several at each time; from 0.", ge=0
    )
    probability_threshold: float = setting(
        0.5, "Localizations below this probability are dropped.", gt=0, lt=1
    )
    batch_frames: int | None = setting(None, "Frames per step; chosen by size when left out.", ge=1)
    tile_px: int | None = setting(
        None,
        "Largest width and height handled at once; chosen by memory when left out.",
        unit="px",
        ge=64,
    )
    chunk_frames: int = setting(500, "Frames between two writes of the result.", ge=1)
    write_every_s: float = setting(
        30.0, "Longest time between two writes; a kill loses at most this much.", unit="s", gt=0
    )
    precision: Literal["auto", "fp32", "bf16"] = setting("auto", "Arithmetic of the network.")
    allow_mismatch: bool = setting(
        False, "Fit although model, camera, calibration or pixel size differ."
    )
    overwrite: bool = setting(False, "Replace an existing result.")
    resume: bool = setting(False, "Go on with an unfinished result.")
    follow_s: float = setting(
        0.0,
        "Wait this long for new frames of a movie that still grows; 0 = do not.",
        unit="s",
        ge=0,
    )


class FitMleConfig(Config):
    """How isolated emitters are fitted by maximum likelihood."""

    schema_version: Literal[1] = 1
    frames: tuple[int, int] | None = setting(None, "First frame and end (exclusive).")
    roi: tuple[int, int, int, int] | None = setting(
        None, "Region x, y, width, height in pixels of the frame.", unit="px"
    )
    movie_channel: int | None = setting(
        None, "Channel of the movie, where it has several; from 0.", ge=0
    )
    z_slice: int | None = setting(
        None, "Slice of the movie, where it has several at each time; from 0.", ge=0
    )
    fit_px: int = setting(13, "Width of the fit window (odd).", unit="px", ge=5, le=41)
    detection_sigma: float = setting(
        5.0, "Candidates rise above the local background by this many standard deviations.", gt=0
    )
    max_iterations: int = setting(50, "Iterations of Levenberg-Marquardt.", ge=1)
    z_starts_nm: tuple[float, ...] | None = setting(
        None, "Start values of z; searched for when left out.", unit="nm"
    )
    chunk_frames: int = setting(500, "Frames between two writes of the result.", ge=1)
    allow_mismatch: bool = setting(
        False, "Fit although calibration and camera differ in pixel size or mirroring."
    )
    overwrite: bool = setting(False, "Replace an existing result.")
    resume: bool = setting(False, "Go on with an unfinished result.")


class CalibrateConfig(Config):
    """How bead stacks become a calibration."""

    schema_version: Literal[1] = 1
    dz_nm: float = setting(
        ..., "Stage step between slices (a falling stage is negative).", unit="nm"
    )
    pixel_size_x_nm: float = setting(..., "Pixel size along columns.", unit="nm", gt=0)
    pixel_size_y_nm: float | None = setting(None, "Pixel size along rows.", unit="nm", gt=0)
    roi_px: int = setting(27, "Width of the PSF window (odd).", unit="px", ge=7, le=101)
    z_slices: int | None = setting(None, "Slices kept around the focus; all when left out.", ge=5)
    z_reference: Literal["focus", "middle"] = setting(
        "focus", "Where z = 0 is: in the focus (equal widths, or sharpest), or mid-range."
    )
    smoothing_z_nm: float = setting(
        17.8,
        "Details along z with a period below 2 pi times this are smoothed away; 17.8 is SMAP's "
        "'smoothing z' of 1 at 10 nm slices.",
        unit="nm",
        ge=0,
    )
    min_distance_px: float = setting(25.0, "Beads closer than this are not used.", unit="px", ge=0)
    detection_cutoff: float = setting(
        1.0, "Relative height above which a maximum counts as bead.", gt=0
    )
    filter_px: float = setting(2.0, "Smoothing before detection.", unit="px", gt=0)
    max_beads: int = setting(200, "Largest number of beads used.", ge=1)
    offset_adu: float | None = setting(None, "Camera offset; estimated when left out.", unit="ADU")
    photons_per_adu: float = setting(1.0, "Photons per ADU of the bead stack.", gt=0)
    em_mirrored: bool = setting(False, "The bead stack is mirrored as EM frames are.")
    refractive_index_factor: float = setting(
        1.0,
        "Factor from the stage's z to z in the sample: 1 in the medium of the objective, usually "
        "0.7-0.8 with an oil objective in a watery sample. All heights are in the sample then.",
        gt=0,
        le=2,
    )
    movie_channel: int | None = setting(
        None, "Channel of the bead stacks, where they have several; from 0.", ge=0
    )
    overwrite: bool = setting(False, "Replace an existing file.")


class FilterRange(Config):
    """Localizations with ``low <= column <= high`` stay; a limit left out does not apply."""

    column: str = setting(..., "Name of a column of the table.")
    low: float | None = setting(None, "Lower limit, in the unit of the column.")
    high: float | None = setting(None, "Upper limit, in the unit of the column.")


class FilterConfig(Config):
    """Which localizations are drawn and exported."""

    schema_version: Literal[1] = 1
    ranges: tuple[FilterRange, ...] = setting((), "Ranges that must all hold.")


class RenderConfig(Config):
    """How localizations become an image."""

    schema_version: Literal[1] = 1
    pixel_size_nm: float = setting(10.0, "Pixel size of the image.", unit="nm", gt=0)
    mode: Literal["histogram", "gaussian"] = setting("gaussian", "How a localization is drawn.")
    color: Literal["none", "z"] = setting("none", "Colour by z, or brightness only.")
    z_min_nm: float | None = setting(None, "z of the first colour.", unit="nm")
    z_max_nm: float | None = setting(None, "z of the last colour.", unit="nm")
    colormap: str | None = setting(None, "Name of a colour map (turbo, viridis, ...).")
    contrast_quantile: float = setting(
        0.99, "Quantile of the filled pixels that is drawn brightest.", gt=0, le=1
    )
    gamma: float = setting(0.7, "Brightness exponent.", gt=0)
    scale_bar_nm: float | None = setting(
        None, "Length of the scale bar; chosen when left out, 0 for none.", unit="nm", ge=0
    )
    sigma_min_nm: float = setting(3.0, "Smallest width of a drawn Gaussian.", unit="nm", ge=0)
    sigma_max_nm: float = setting(
        100.0,
        "Localizations with larger sigma are left out; inf for none.",
        unit="nm",
        gt=0,
        allow_inf_nan=True,
    )
    probability_min: float = setting(0.0, "Localizations below are left out.", ge=0, le=1)
    field_nm: tuple[float, float, float, float] | None = setting(
        None, "Left, top, right, bottom of the image; all localizations when left out.", unit="nm"
    )
    overwrite: bool = setting(False, "Replace an existing image.")


class EvaluateConfig(Config):
    """How localizations are compared with the truth (SMLM challenge 2016 rules)."""

    schema_version: Literal[1] = 1
    tolerance_lateral_nm: float = setting(250.0, "Largest lateral distance.", unit="nm", gt=0)
    tolerance_axial_nm: float = setting(
        500.0, "Largest axial distance; inf for any.", unit="nm", gt=0, allow_inf_nan=True
    )
    matching: Literal["greedy", "hungarian"] = setting("greedy", "How pairs are found.")
    border_nm: float = setting(0.0, "Zone at the border that is not judged.", unit="nm", ge=0)
    field_nm: tuple[float, float, float, float] | None = setting(
        None, "Left, top, right, bottom of the field; from the data when left out.", unit="nm"
    )
    min_photons: float | None = setting(
        None, "True emitters at or below are not judged.", unit="photon", ge=0
    )
    min_photons_quantile: float | None = setting(
        None, "The same as a quantile of the true photons (the challenge uses 0.25).", ge=0, lt=1
    )
    two_dimensional: bool = setting(False, "Ignore z.")
