"""Tables of instruments' programs that are read only: ONI, Zeiss Elyra, Vutara, rapidSTORM.

What these programs do not document is a `Guess` that the user sees: the place of the origin
within the first pixel, and for some the number of the first frame.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError
from decode_engine.io.delimited import Delimited
from decode_engine.io.dialects.assembly import Source, assemble
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    Guess,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.convention import Convention, Geometry
from decode_engine.io.dialects.text import (
    choose,
    has_names,
    layout_guesses,
    missing_column,
    read_columns,
    require_layout,
    unused,
)

__all__ = ["DIALECTS", "Elyra", "InstrumentTable", "Oni"]

_ORIGIN = Guess("origin", "centre of the first pixel", "the program does not document it")


@dataclass(frozen=True, kw_only=True)
class InstrumentTable:
    """A table that is recognised and read by the names of its columns."""

    name: str
    title: str
    words: str
    names: Mapping[str, Sequence[str]]  # our column: its spellings, without units
    signature: Sequence[Sequence[str]]  # of each group, one name must be there
    convention: Convention = field(default_factory=Convention)
    guesses: tuple[Guess, ...] = ()
    suffix: str = ".csv"
    can_read: bool = True
    can_write: bool = False
    needs_pixel_size: bool = False

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim tables that have the names of the signature."""
        if has_names(sample, *self.signature) is None:
            return None
        named = ", ".join(group[0] for group in self.signature[:3])
        return Match(confidence=85, why=f"it has the columns {named}")

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read the columns that mean the same as ours."""
        layout = self.layout(path)
        chosen = choose(layout, self.names)
        for ours in ("frame", "x_nm", "y_nm"):
            if ours not in chosen:
                raise missing_column(layout, ours, self.names[ours])
        columns = read_columns(layout, chosen)
        geometry, found = self.geometry(layout)
        source = Source(
            dialect=self.name,
            geometry=geometry,
            guesses=(*layout_guesses(layout), *self.guesses, *found),
            unused=unused(layout, chosen),
            n_header_lines=layout.n_header_lines,
        )
        return assemble(columns, self.convention, options, source)

    def layout(self, path: Path) -> Delimited:
        """Return how the table is laid out."""
        return require_layout(path, ",".join(spellings[0] for spellings in self.names.values()))

    def geometry(self, layout: Delimited) -> tuple[Geometry, tuple[Guess, ...]]:
        """Return what the file says about its pixels."""
        del layout
        return Geometry(), ()

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Not possible: the instrument's program does not read tables of others."""
        del path, table, context, overwrite
        raise ConfigError(
            f"{self.title} can be read but not written.", hint="Choose another format, as csv."
        )


@dataclass(frozen=True, kw_only=True)
class Oni(InstrumentTable):
    """ONI Nanoimager; newer versions repeat positions in pixels, which gives the pixel size."""

    def geometry(self, layout: Delimited) -> tuple[Geometry, tuple[Guess, ...]]:
        """Divide nm by pixels, where both are there."""
        exact = [name.lower() for name in layout.names]
        sizes: list[float] = []
        for axis in "xy":
            if f"{axis} (nm)" not in exact or f"{axis} (pix)" not in exact:
                return Geometry(), ()
            places = {"nm": exact.index(f"{axis} (nm)"), "px": exact.index(f"{axis} (pix)")}
            values: dict[str, NDArray[Any]] = read_columns(layout, places)
            usable = values["px"] > 1
            if not usable.any():
                return Geometry(), ()
            sizes.append(round(float(np.median(values["nm"][usable] / values["px"][usable])), 3))
        guess = Guess("pixel size", f"{sizes[0]:g} x {sizes[1]:g} nm", "X (nm) over X (pix)")
        return Geometry(pixel_size_x_nm=sizes[0], pixel_size_y_nm=sizes[1]), (guess,)


@dataclass(frozen=True, kw_only=True)
class Elyra(InstrumentTable):
    """Zeiss Elyra (ZEN): the table ends at a NUL or at an empty line; "VoxelSizeX : …" follows."""

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim tables that begin with Elyra's columns, whatever follows them."""
        head = sample.head.split(b"\0", 1)[0].split(b"\n", 1)[0].decode("latin-1").lower()
        named = {part.strip().strip('"') for part in head.split("\t")}
        if not {"first frame", "position x [nm]", "position y [nm]"} <= named:
            return None
        return Match(confidence=90, why="it has the columns First Frame, Position X [nm]")

    def layout(self, path: Path) -> Delimited:
        """Return the layout of the part before the footer."""
        with path.open("r", encoding="latin-1") as file:
            header = file.readline()
        names = tuple(part.strip().strip('"') for part in header.rstrip("\r\n").split("\t"))
        return Delimited(
            path=path,
            names=names,
            delimiter="\t",
            encoding="latin-1",
            n_columns=len(names),
            end=_footer_start(path),
        )

    def geometry(self, layout: Delimited) -> tuple[Geometry, tuple[Guess, ...]]:
        """Read the footer."""
        footer = _footer(layout.path)
        values = {key: float(text) for key, text in footer.items()}
        if "VoxelSizeX" not in values:
            return Geometry(), ()
        x = values["VoxelSizeX"] * 1000.0
        y = values.get("VoxelSizeY", values["VoxelSizeX"]) * 1000.0
        size = {axis: values.get(f"Size{axis}") for axis in "XY"}
        scale = {axis: values.get(f"Resolution{axis}", 1.0) for axis in "XY"}
        width = round(size["X"] * scale["X"]) if size["X"] else None
        height = round(size["Y"] * scale["Y"]) if size["Y"] else None
        geometry = Geometry(pixel_size_x_nm=x, pixel_size_y_nm=y, width_px=width, height_px=height)
        guess = Guess("pixel size", f"{x:g} x {y:g} nm", "VoxelSizeX, VoxelSizeY at the end")
        return geometry, (guess,)


_FOOTER_BYTES = 1 << 16
_FOOTER_LINE = re.compile(r"^(\w+)\s*:\s*([\d.]+)", re.M)


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _FOOTER_BYTES))
        return file.read().decode("latin-1")


def _footer_start(path: Path) -> str:
    """Return the text that ends the table."""
    tail = _tail(path)
    return "\0" if "\0" in tail else "VoxelSizeX" if "VoxelSizeX" in tail else ""


def _footer(path: Path) -> dict[str, str]:
    tail = _tail(path)
    start = tail.find("VoxelSizeX")
    return dict(_FOOTER_LINE.findall(tail[start:])) if start >= 0 else {}


ONI = Oni(
    name="oni",
    title="ONI Nanoimager table",
    words="CSV of the Nanoimager (NimOS).",
    names={
        "frame": ("frame",),
        "x_nm": ("x (nm)",),
        "y_nm": ("y (nm)",),
        "z_nm": ("z (nm)",),
        "photons": ("photons",),
        "background": ("background",),
        "sigma_x_nm": ("x precision (nm)", "xprecision (nm)"),
        "sigma_y_nm": ("y precision (nm)", "yprecision (nm)"),
        "sigma_z_nm": ("z precision (nm)", "zprecision (nm)"),
    },
    signature=(("channel", "channel index"), ("x (nm)",), ("y (nm)",), ("frame",)),
    guesses=(_ORIGIN, Guess("first frame", "0", "frames are taken as they are counted there")),
)

ELYRA = Elyra(
    name="elyra",
    title="Zeiss Elyra table",
    words="Text of the PALM module of ZEN.",
    names={
        "frame": ("first frame",),
        "x_nm": ("position x",),
        "y_nm": ("position y",),
        "z_nm": ("position z",),
        "photons": ("number photons",),
        "sigma_x_nm": ("precision",),
        "sigma_y_nm": ("precision",),
        "sigma_z_nm": ("precision z",),
    },
    signature=(("first frame",), ("position x",), ("position y",)),
    convention=Convention(first_frame=1),
    guesses=(_ORIGIN, Guess("first frame", "1", "ZEN counts from 1")),
    suffix=".txt",
)

VUTARA = InstrumentTable(
    name="vutara",
    title="Vutara table",
    words="CSV of particles of Vutara's SRX.",
    names={
        "frame": ("image-id",),
        "x_nm": ("x",),
        "y_nm": ("y",),
        "z_nm": ("z",),
        "photons": ("photon-count",),
        "background": ("background11",),
        "sigma_x_nm": ("precisionx",),
        "sigma_y_nm": ("precisiony",),
        "sigma_z_nm": ("precisionz",),
        "log_likelihood": ("log-likelihood",),
    },
    signature=(("image-id",), ("photon-count",), ("psfx",), ("x",), ("y",)),
    guesses=(
        _ORIGIN,
        Guess("unit of x, y, z", "nm", "SRX writes nm; the table itself states none"),
        Guess("frame", "image-ID from 0", "'frame' begins again in each cycle"),
        Guess("z sign", "as in the file", "it is that of the instrument"),
    ),
)

DIALECTS = (ONI, ELYRA, VUTARA)
