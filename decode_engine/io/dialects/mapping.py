"""Tables of unknown programs: an explicit mapping of columns, kept as a preset (JSON)."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from decode_engine.contract.checking import validate
from decode_engine.contract.column_mapping import ColumnMapping
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError, LocalizationsError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.delimited import Delimited, layout_of, split_unit
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
    layout_guesses,
    missing_column,
    read_columns,
    require_layout,
    unused,
)

__all__ = [
    "DIALECTS",
    "ColumnMapping",
    "Mapped",
    "is_table",
    "read_mapping",
    "suggest_mapping",
    "unknown_table",
    "write_mapping",
]

# Words that other programs use for our columns, for suggestions only; never applied unasked.
_WORDS: dict[str, tuple[str, ...]] = {
    "frame": ("frame", "frame_ix", "frame number", "frame_number", "framenumber", "t", "image-id"),
    "x_nm": ("x_nm", "xnm", "x", "xnano", "position x", "x_position", "xc"),
    "y_nm": ("y_nm", "ynm", "y", "ynano", "position y", "y_position", "yc"),
    "z_nm": ("z_nm", "znm", "z", "znano", "position z", "z_position", "zc"),
    "photons": ("photons", "phot", "intensity", "number photons", "photon-count", "amplitude"),
    "background": ("background", "bg", "offset", "local background", "background11"),
    "probability": ("probability", "prob"),
    "sigma_x_nm": ("sigma_x_nm", "locprecnm", "locprec", "lpx", "uncertainty_xy", "uncertainty",
                   "precision", "precisionx", "x precision"),
    "sigma_y_nm": ("sigma_y_nm", "locprecnm", "locprec", "lpy", "uncertainty_xy", "uncertainty",
                   "precision", "precisiony", "y precision"),
    "sigma_z_nm": ("sigma_z_nm", "locprecznm", "locprecz", "lpz", "uncertainty_z", "precisionz"),
}  # fmt: skip
_REQUIRED = ("frame", "x_nm", "y_nm")
_ALIKE = 0.5  # of 1: letters in common


def read_mapping(path: Path) -> ColumnMapping:
    """Read a preset.

    Raises
    ------
    ConfigError
        If it is not JSON, or a value is impossible; the value is named.
    """
    try:
        values = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"The column mapping {path} cannot be read: {error.strerror}.", hint="Check the path."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The column mapping {path} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"The column mapping {path} does not hold an object.")
    return validate(ColumnMapping, values)


def write_mapping(path: Path, mapping: ColumnMapping, *, overwrite: bool = False) -> None:
    """Save a preset."""
    with atomic_path(path, overwrite=overwrite) as temporary:
        text = mapping.model_dump_json(indent=2, exclude_none=True)
        temporary.write_text(text + "\n", encoding="utf-8")


def suggest_mapping(names: Sequence[str]) -> dict[str, str]:
    """Return, for our columns, the columns of a table that may mean the same; to be confirmed."""
    plain = {split_unit(name)[0].lower(): name for name in reversed(names)}
    suggested = {
        ours: plain[word]
        for ours, words in _WORDS.items()
        if (word := next((word for word in words if word in plain), None)) is not None
    }
    return {**suggested, **_nearest(plain, suggested)}


def _nearest(plain: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the columns most alike those that are needed and not known by their names."""
    found: dict[str, str] = {}
    for ours in (name for name in _REQUIRED if name not in known):
        # x and y differ by one letter only, so the first one counts.
        free = [n for n, title in plain.items() if n[:1] == ours[0] and title not in known.values()]
        likeness = {
            name: max(difflib.SequenceMatcher(None, word, name).ratio() for word in _WORDS[ours])
            for name in free
        }
        best = max(likeness, key=lambda name: likeness[name], default=None)
        if best is not None and likeness[best] >= _ALIKE:
            found[ours] = plain[best]
    return found


def is_table(sample: FileSample) -> Delimited | None:
    """Return the layout of a text if its first rows hold numbers in three columns or more."""
    layout = layout_of(sample.path, sample.lines, encoding=sample.encoding)
    if layout is None or layout.n_columns < 3:
        return None
    rows = sample.lines[layout.n_header_lines : layout.n_header_lines + 1]
    texts = [field for row in rows for field in re.split(r"[,;\t ]+", row)]
    return layout if sum(map(_is_number, texts)) >= 3 else None


def _is_number(text: str) -> bool:
    try:
        float(text.strip('"'))
    except ValueError:
        return False
    return True


def unknown_table(layout: Delimited) -> LocalizationsError:
    """Return the error for a table that no dialect knows, with a mapping to start from."""
    suggested = suggest_mapping(layout.names)
    shown = ", ".join(map(repr, layout.names[:12])) + (" …" if len(layout.names) > 12 else "")
    missing = [name for name in _REQUIRED if name not in suggested]
    if not layout.names:
        message = f"{layout.path} has {layout.n_columns} columns without names."
        suggested = {"frame": "1", "x_nm": "2", "y_nm": "3"}
    else:
        message = f"{layout.path} is a table of an unknown program; its columns are {shown}."
        plain = {split_unit(name)[0].lower() for name in layout.names}
        for name in _REQUIRED:
            if name in suggested and not plain & set(_WORDS[name]):
                message += f" Nearest to {name!r} is {suggested[name]!r}."
        if missing:
            message += f" Nothing is like {' or '.join(repr(n) for n in missing)}."
    # The same rules as of a mapping that says none, and as --suggest-mapping writes.
    rules = {"xy_unit": "nm", "origin": "centre", "first_frame": 0}
    example = json.dumps({"columns": suggested, **rules})
    return LocalizationsError(
        message,
        hint="Say what they mean in a JSON file and give it with --mapping (check units, origin "
        f"and first frame): {example}",
    )


class Mapped:
    """Any table of numbers, read as a mapping says."""

    name = "mapping"
    title = "Table read by a column mapping"
    words = "Any table of text whose columns are explained by a preset (JSON)."
    suffix = ".csv"
    can_read = True
    can_write = False
    needs_pixel_size = False

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim nothing: what columns mean must be said."""
        del sample
        return None

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read a table with the mapping of the options."""
        layout = require_layout(path, "frame,x,y")
        mapping = options.mapping
        if mapping is None:
            raise unknown_table(layout)
        chosen = {ours: _position(layout, ours, col) for ours, col in mapping.columns.items()}
        columns = read_columns(layout, chosen)
        for ours, factor in mapping.scale.items():
            columns[ours] = columns[ours] * factor
        size = mapping.pixel_size_x_nm
        source = Source(
            dialect=self.name,
            variant=mapping.name,
            geometry=Geometry(
                pixel_size_x_nm=size, pixel_size_y_nm=mapping.pixel_size_y_nm or size
            ),
            guesses=(*layout_guesses(layout), *_unit_doubts(layout, chosen, mapping)),
            unused=unused(layout, chosen),
            n_header_lines=layout.n_header_lines,
        )
        convention = Convention(
            xy_unit=mapping.xy_unit,
            z_unit=mapping.z_unit,
            origin=mapping.origin,
            first_frame=mapping.first_frame,
            swapped_xy=mapping.swapped_xy,
            mirrored_x=mapping.mirrored_x,
            z_sign=mapping.z_sign,
        )
        return assemble(columns, convention, options, source)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Not possible: a mapping describes what another program wrote."""
        del path, table, context, overwrite
        raise ConfigError(
            "A column mapping is for reading.", hint="Choose a format to write, such as csv."
        )


def _position(layout: Delimited, ours: str, column: str | int) -> int:
    if isinstance(column, int) or (not layout.names and column.isdigit()):
        number = int(column)
        if not 1 <= number <= layout.n_columns:
            raise ConfigError(
                f"The mapping takes {ours} from column {number}; {layout.path.name} has "
                f"{layout.n_columns}.",
                hint="Columns are numbered from 1.",
            )
        return number - 1
    count = layout.names.count(column)
    if count == 0:
        raise missing_column(layout, column, (column,))
    if count > 1:
        raise LocalizationsError(
            f"{layout.path} has the column {column!r} {count} times.",
            hint="Give its number, from 1, instead of its name.",
        )
    return layout.names.index(column)


def _unit_doubts(layout: Delimited, chosen: dict[str, int], mapping: ColumnMapping) -> list[Guess]:
    """Say where a title names another unit than the mapping."""
    doubts: list[Guess] = []
    for ours, position in chosen.items():
        if not layout.names or ours in mapping.scale:
            continue
        stated = split_unit(layout.names[position])[1]
        is_axial = ours in ("z_nm", "sigma_z_nm")
        meant = mapping.z_unit if is_axial else mapping.xy_unit if ours.endswith("_nm") else ""
        if stated and meant and stated != meant and stated in ("nm", "um", "px"):
            why = f"the mapping says so, but the title {layout.names[position]!r} says {stated}"
            doubts.append(Guess(f"unit of {ours.removesuffix('_nm')}", meant, why))
    return doubts


DIALECTS = (Mapped(),)
