"""A frozen table of named one-dimensional columns, each with a dtype, a unit and a meaning."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import LocalizationsError

__all__ = ["BoolArray", "ColumnSpec", "ColumnTable", "FloatArray", "IntArray", "column"]

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int32]
BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSpec:
    """What a column holds: numpy dtype name, unit (empty = dimensionless) and meaning."""

    name: str
    dtype: str
    unit: str
    doc: str
    required: bool


def column(dtype: str, unit: str, doc: str, *, required: bool = True) -> Any:
    """Declare a column of a `ColumnTable`; optional columns default to None."""
    metadata = {"dtype": dtype, "unit": unit, "doc": doc, "required": required}
    if required:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=None, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class ColumnTable:
    """Base of `Localizations` and `Emitters`: equal-length, read-only, 1-D columns.

    Raises
    ------
    LocalizationsError
        If a column is not one-dimensional, has another length than the first, or cannot be
        converted to its dtype.
    """

    def __post_init__(self) -> None:
        length: int | None = None
        for spec in self.specs():
            values = getattr(self, spec.name)
            if values is None:
                if spec.required:
                    raise LocalizationsError(f"The column {spec.name!r} is missing.")
                continue
            array = _as_column(values, spec)
            length = array.size if length is None else length
            if array.size != length:
                raise LocalizationsError(
                    f"The column {spec.name!r} has {array.size} rows where {length} are expected."
                )
            object.__setattr__(self, spec.name, array)

    @classmethod
    def specs(cls) -> tuple[ColumnSpec, ...]:
        """Return the declared columns in order."""
        return _specs(cls)  # type: ignore[arg-type]  # mypy takes the class for its instances

    @classmethod
    def empty(cls) -> Self:
        """Return a table with no rows and only the required columns."""
        return cls(**{s.name: np.empty(0, s.dtype) for s in cls.specs() if s.required})

    @classmethod
    def concatenate(cls, tables: Sequence[Self]) -> Self:
        """Join tables row-wise; an optional column survives only if every table has it."""
        if not tables:
            return cls.empty()
        names = [n for n in tables[0].columns() if all(n in t.columns() for t in tables)]
        return cls(**{n: np.concatenate([t.columns()[n] for t in tables]) for n in names})

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns that are present, by name, without copying."""
        present = ((s.name, getattr(self, s.name)) for s in self.specs())
        return {name: values for name, values in present if values is not None}

    def take(self, selection: NDArray[Any] | slice) -> Self:
        """Return the rows chosen by a boolean mask, an index array or a slice."""
        return type(self)(**{n: v[selection] for n, v in self.columns().items()})

    def replace(self, **columns: NDArray[Any]) -> Self:
        """Return a copy of the table with the given columns exchanged or added."""
        return type(self)(**{**self.columns(), **columns})

    def __len__(self) -> int:
        return int(getattr(self, self.specs()[0].name).size)


@functools.cache
def _specs(table: type[ColumnTable]) -> tuple[ColumnSpec, ...]:
    # Small tables are made thousands of times while a movie is localized.
    return tuple(
        ColumnSpec(name=f.name, **f.metadata)
        for f in dataclasses.fields(table)
        if "dtype" in f.metadata
    )


def _as_column(values: Any, spec: ColumnSpec) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise LocalizationsError(
            f"The column {spec.name!r} must be one-dimensional, but has the shape {array.shape}."
        )
    wanted = np.dtype(spec.dtype)
    from_float = wanted.kind in "iu" and array.dtype.kind == "f"
    if from_float and not np.all(np.isfinite(array) & (array == np.round(array))):
        raise LocalizationsError(f"The column {spec.name!r} must hold whole numbers.")
    if wanted.kind in "iu" and array.size:
        limits = np.iinfo(wanted)
        if array.min() < limits.min or array.max() > limits.max:
            raise LocalizationsError(f"The column {spec.name!r} has values beyond {wanted}.")
    try:
        converted = array.astype(wanted, copy=False)
    except (TypeError, ValueError) as error:
        raise LocalizationsError(f"The column {spec.name!r} is not numeric: {error}") from error
    view = converted.view()
    view.flags.writeable = False
    return view
