"""What a dialect is, what it is given and what it returns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, Self

import pydantic

from decode_engine.contract.column_mapping import ColumnMapping
from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import LocalizationsError
from decode_engine.io.delimited import WORKBOOK
from decode_engine.io.dialects.convention import Geometry
from decode_engine.io.filetypes import FileType, file_type
from decode_engine.io.localization_metadata import LocalizationMetadata, software_versions
from decode_engine.io.spreadsheet import is_workbook, sheet_lines

__all__ = [
    "Dialect",
    "ExportContext",
    "FileSample",
    "Guess",
    "ImportedTable",
    "Match",
    "ReadOptions",
]

_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Guess:
    """Something the file does not say and that was assumed: what, which value, and why."""

    field: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"{self.field}: {self.value} ({self.why})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A dialect's claim that it can read a file.

    ``confidence`` is 0..100: 90 = a signature of that program alone, 60 = a layout that others
    could have too, 30 = readable. ``variant`` names the version (``"1.3, 2D"``), ``why`` what
    gave it away (``"its header names 'uncertainty [nm]'"``).
    """

    confidence: int
    variant: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What the user says about a file; every value overrides what the file says."""

    pixel_size_x_nm: float | None = None
    pixel_size_y_nm: float | None = None
    frame_size: tuple[int, int] | None = None
    mapping: ColumnMapping | None = None
    keep_nan: bool = False

    def over(self, geometry: Geometry) -> Geometry:
        """Return what a file says, with the user's values in front."""
        width, height = self.frame_size or (geometry.width_px, geometry.height_px)
        return Geometry(
            pixel_size_x_nm=self.pixel_size_x_nm or geometry.pixel_size_x_nm,
            pixel_size_y_nm=self.pixel_size_y_nm
            or self.pixel_size_x_nm
            or geometry.pixel_size_y_nm,
            width_px=width,
            height_px=height,
            roi_origin_px=geometry.roi_origin_px,
            n_frames=geometry.n_frames,
        )


@dataclass(frozen=True, kw_only=True)
class ImportedTable:
    """A table in our convention, and all that is to be said about how it became one.

    Parameters
    ----------
    table : Localizations
    geometry : Geometry
        What the file (or the user) said about pixels and frames.
    camera : mapping
        What the file says about the camera, under the names of `CameraConfig`.
    guesses : tuple of Guess
    n_rows_file : int
        Rows of the file; ``len(table) + sum(n_dropped.values())``.
    n_dropped : mapping of str to int
        Rows left out, by reason.
    dialect, variant : str
    notes : tuple of str
        Sentences for the user: columns that were not taken over, rows outside the frame, ...
    metadata : LocalizationMetadata or None
        The full provenance where the file carries ours.
    """

    table: Localizations
    geometry: Geometry
    camera: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    guesses: tuple[Guess, ...] = ()
    n_rows_file: int
    n_dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    dialect: str
    variant: str = ""
    notes: tuple[str, ...] = ()
    metadata: LocalizationMetadata | None = None

    def camera_config(self) -> CameraConfig | None:
        """Return the camera where the file says how counts become photons; else None.

        A camera of which only the pixel size is known would be one of made-up defaults. Pixel
        sizes are those of ``geometry``, in which the user's stand in front.
        """
        facts = dict(self.camera)
        if not {"offset_adu", "e_per_adu"} & facts.keys():
            return None
        if self.geometry.pixel_size_x_nm is not None:
            facts["pixel_size_x_nm"] = self.geometry.pixel_size_x_nm
            facts["pixel_size_y_nm"] = self.geometry.pixel_size_y_nm
        try:
            return CameraConfig.model_validate(facts)
        except pydantic.ValidationError:
            return None  # what a file says about its camera must not keep its positions back


@dataclass(frozen=True, kw_only=True)
class ExportContext:
    """What a writer may say about the table besides its rows.

    ``calibration_path`` names the bead calibration behind the model, where it is known: SMAP's
    DECODE plug-in looks there when it prepares a training.
    """

    metadata: LocalizationMetadata | None = None
    geometry: Geometry = field(default_factory=Geometry)
    camera: CameraConfig | None = None
    calibration_path: str = ""
    versions: Mapping[str, str] = field(default_factory=software_versions)

    @classmethod
    def of(
        cls,
        metadata: LocalizationMetadata,
        camera: CameraConfig | None = None,
        roi_origin_px: tuple[int, int] | None = None,
    ) -> Self:
        """Return the context of one of our results; its own camera unless one is given.

        An imported result remembers the place of its frame on the chip in its settings.
        """
        if roi_origin_px is None:
            left, top = metadata.config.get("roi_origin_px") or (0, 0)
            roi_origin_px = (int(left), int(top))
        if camera is None and metadata.camera:
            camera = CameraConfig.model_validate(dict(metadata.camera))
        geometry = Geometry(
            pixel_size_x_nm=metadata.pixel_size_x_nm or None,
            pixel_size_y_nm=metadata.pixel_size_y_nm or None,
            width_px=metadata.width_px or None,
            height_px=metadata.height_px or None,
            roi_origin_px=roi_origin_px,
            n_frames=metadata.movie_frames or metadata.frame_stop or None,
        )
        return cls(metadata=metadata, geometry=geometry, camera=camera)


class FileSample:
    """The beginning of a file, for recognising it; the file itself is opened only where needed."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise LocalizationsError(f"{path} does not exist.", hint="Check the name.")
        self.path = path

    @cached_property
    def kind(self) -> FileType:
        """What its first bytes say; MATLAB v7.3 is "matlab", though HDF5 lies behind it."""
        return file_type(self.path)

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB."""
        if self.path.is_dir():
            return b""
        with self.path.open("rb") as handle:
            return handle.read(_HEAD_BYTES)

    @cached_property
    def is_text(self) -> bool:
        """Whether it can be a table of text (UTF-16 with its mark, a sheet of Excel included)."""
        if not self.head:
            return False
        if self.is_workbook:
            return True
        return self.head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" not in self.head

    @cached_property
    def is_workbook(self) -> bool:
        """Whether it is a workbook of Excel, of which the first sheet counts as text."""
        return self.head.startswith(b"PK") and is_workbook(self.path)

    @cached_property
    def encoding(self) -> str:
        """UTF-8 where it is, UTF-16 by its mark, else what Western Windows writes."""
        if self.is_workbook:
            return WORKBOOK
        if self.head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return "utf-16"
        try:
            self.head.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(self.head) - 4:
                return "cp1252"
        return "utf-8-sig"

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The first lines of a text, without their ends (the last may be cut)."""
        if not self.is_text:
            return ()
        if self.is_workbook:
            try:
                return tuple(itertools.islice(sheet_lines(self.path), 100))
            except LocalizationsError:
                return ()
        return tuple(self.head.decode(self.encoding, errors="replace").splitlines())


class Dialect(Protocol):
    """One format of one program."""

    @property
    def name(self) -> str:
        """As in the registry and on the command line."""

    @property
    def title(self) -> str:
        """What it is called, such as "ThunderSTORM table"."""

    @property
    def words(self) -> str:
        """One sentence: what it is for and which program opens it."""

    @property
    def suffix(self) -> str:
        """Of files we write, with its dot."""

    @property
    def can_read(self) -> bool:
        """Whether `read` works."""

    @property
    def can_write(self) -> bool:
        """Whether `write` works."""

    @property
    def needs_pixel_size(self) -> bool:
        """Whether writing needs it."""

    def recognise(self, sample: FileSample) -> Match | None:
        """Say by its content whether the file can be read; never raise."""
        ...

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read a file that was recognised, or that the user says is of this kind."""
        ...

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Write the table and what belongs to it; return all files, ``path`` first."""
        ...

    # A dialect may also have ``remarks(table, context) -> tuple[str, ...]``: see
    # `decode_engine.io.dialects.registry.export_remarks`.
