"""The camera database: one JSON file a camera model, or a camera of a laboratory.

A file names the camera, the words or the metadata values by which it is recognised, its read-out
modes with their values, and which values the movie's own metadata state. Files in
``resources/cameras`` ship with the program; users keep theirs in a folder of their own.

Every name of a metadata setting (``when``, ``identity``, ``property``) is that of the
acquisition program, with or without the device's own label in front: ``Pre-Amp-Gain`` and
``Andor-Pre-Amp-Gain`` name the same.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from decode_engine.contract.base import Config, setting

__all__ = ["CameraMode", "CameraPreset", "MetadataForm", "MetadataRule", "ModeValues"]

MetadataForm = Literal["number", "equals", "differs", "above"]


class ModeValues(Config):
    """Values of `CameraConfig` that depend on read-out mode and gain; None leaves one as it is."""

    offset_adu: float | None = setting(None, "Signal without light.", unit="ADU")
    e_per_adu: float | None = setting(None, "Conversion.", unit="e-/ADU")
    em_gain: float | None = setting(None, "Usual EM gain.")
    read_noise_e: float | None = setting(None, "Read noise after the EM register.", unit="e-")
    spurious_charge_e: float | None = setting(None, "Clock-induced and dark charge.", unit="e-")
    saturation_adu: float | None = setting(None, "Level at which pixels clip.", unit="ADU")
    em_mirrored: bool | None = setting(None, "Frames are mirrored by the EM read-out.")
    # Own and imported cameras only: the pixel size depends on the microscope.
    pixel_size_x_nm: float | None = setting(None, "Pixel size along columns.", unit="nm")
    pixel_size_y_nm: float | None = setting(None, "Pixel size along rows.", unit="nm")
    quantum_efficiency: float | None = setting(None, "Detected electrons per photon.")


class CameraMode(Config):
    """One read-out mode of a camera, that is one combination of amplifier, rate and gain.

    ``when`` are settings of the metadata that must all have the value given; of several modes
    that apply, the one with the most settings is meant. ``match`` are words of the metadata (any
    case), where no setting is known exactly. ``kind`` is given where it is not the camera's
    usual one: an EMCCD read out without EM register has no excess noise and counts as scmos.
    """

    name: str = setting(..., "Name of the mode.")
    match: tuple[str, ...] = setting((), "Words of the metadata that speak for it.")
    when: dict[str, str] = setting({}, "Settings of the metadata that must hold.")
    kind: Literal["ideal", "emccd", "scmos"] | None = setting(None, "Type, if unusual.")
    values: ModeValues = setting(..., "Values in this mode.")


class MetadataRule(Config):
    """A value that the movie's metadata state: which setting, and how it is to be read.

    ``number`` takes the number that the setting begins with, times ``factor``; ``equals``,
    ``differs`` and ``above`` answer yes or no and are for ``em_on`` only, which says whether
    the EM register amplified.
    """

    field: Literal["em_on", "em_gain", "e_per_adu", "offset_adu", "pixel_size_x_nm"] = setting(
        ..., "What is stated."
    )
    property: str = setting(..., "Name of the setting.")
    form: MetadataForm = setting("number", "How its text is read.")
    argument: str = setting("", "What the text is compared with.")
    factor: float = setting(1.0, "Factor of a number.")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if (self.form == "number") == (self.field == "em_on"):
            raise ValueError(f"{self.field} cannot be read by the form {self.form!r}")
        if self.form == "above":
            float(self.argument)
        return self


class CameraPreset(Config):
    """A camera with its modes.

    Where ``identity`` is given, it recognises this very camera (a serial number) and goes before
    ``match``, the words by which a model is recognised (any case). ``source`` says where the
    values come from, ``note`` what to mind.
    """

    schema_version: Literal[1] = 1
    id: str = setting(..., "Name of the file, without .json.")
    vendor: str = setting(..., "Manufacturer.")
    model: str = setting(..., "Model, or the user's name for the camera.")
    kind: Literal["ideal", "emccd", "scmos"] = setting(..., "Type of camera.")
    chip_pixel_um: float | None = setting(None, "Pixel size on the chip.", unit="um", gt=0)
    match: tuple[str, ...] = setting((), "Words by which the model is recognised.")
    identity: dict[str, str] = setting({}, "Settings that this very camera has.")
    rules: tuple[MetadataRule, ...] = setting((), "Values that the metadata state.")
    modes: tuple[CameraMode, ...] = setting(..., "Read-out modes.", min_length=1)
    note: str = setting("", "What to mind.")
    source: str = setting(..., "Where the values come from.")
    own: bool = setting(False, "Made or imported by the user.")

    @property
    def title(self) -> str:
        """Name in lists."""
        return f"{self.vendor} {self.model}".strip()
