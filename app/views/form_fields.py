"""Editors for single settings, made from what the schema says about them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF, QWheelEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLineEdit, QWidget

from app.models.verdict import Level
from app.views.naming import named
from decode_engine.contract.base import Config

__all__ = [
    "FieldEditor",
    "FieldProblem",
    "FieldSpec",
    "LightMark",
    "describe",
    "parse_number",
    "pretty_unit",
    "schema_properties",
]

Kind = Literal["float", "int", "bool", "str", "choice", "number_or_text", "numbers"]

_SUFFIXES = ("_per_um2", "_per_adu", "_nm", "_um", "_px", "_adu", "_ms", "_s", "_e")
_AUTOMATIC = "automatic"


@cache
def schema_properties(config_type: type[Config]) -> Mapping[str, Any]:
    """Return what the schema says about each field; made once, as that takes up to 25 ms."""
    properties: Mapping[str, Any] = config_type.model_json_schema()["properties"]
    return properties


class FieldProblem(ValueError):
    """What was typed is no value of the field; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """What the schema says about one setting.

    Attributes
    ----------
    kind : Kind
    optional : bool
        None is allowed and means "automatic".
    low, high : float or None
        Limits; ``low_open``, ``high_open`` when the limit itself is not allowed.
    choices : tuple
        Values of a choice.
    length : int
        How many numbers there are (kind ``numbers``).
    default : object
        ``...`` where there is none.
    """

    name: str
    label: str
    description: str
    unit: str
    kind: Kind
    optional: bool = False
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    choices: tuple[Any, ...] = ()
    length: int = 1
    whole: bool = False
    default: Any = ...

    @classmethod
    def of(cls, config_type: type[Config], name: str, label: str | None = None) -> FieldSpec:
        """Read a field of a configuration."""
        schema = schema_properties(config_type)[name]
        parts = [p for p in schema.get("anyOf", [schema]) if p.get("type") != "null"]
        optional = len(parts) < len(schema.get("anyOf", [schema]))
        main, kinds = parts[0], {p.get("type") for p in parts}
        info = config_type.model_fields[name]
        items = main.get("prefixItems", [])
        return cls(
            name=name,
            label=label or plain_name(name),
            description=schema.get("description", ""),
            unit=pretty_unit(schema.get("unit", "")),
            kind=_kind(main, kinds),
            optional=optional,
            low=main.get("minimum", main.get("exclusiveMinimum")),
            high=main.get("maximum", main.get("exclusiveMaximum")),
            low_open="exclusiveMinimum" in main,
            high_open="exclusiveMaximum" in main,
            choices=tuple(main.get("enum", ())) or ((main["const"],) if "const" in main else ()),
            length=len(items) or 1,
            whole=bool(items) and items[0].get("type") == "integer",
            default=... if info.is_required() else info.get_default(call_default_factory=True),
        )

    @property
    def range_words(self) -> str:
        """The allowed range in words; empty where everything is allowed."""
        if self.low is not None and self.high is not None:
            ends = " (ends excluded)" if self.low_open or self.high_open else ""
            return f"{self.low:g} to {self.high:g}{ends}"
        if self.low is not None:
            return f"above {self.low:g}" if self.low_open else f"{self.low:g} or more"
        if self.high is not None:
            return f"below {self.high:g}" if self.high_open else f"{self.high:g} or less"
        return ""

    @property
    def tooltip(self) -> str:
        """Meaning, unit, range and default, one a line."""
        lines = [self.description]
        if self.unit:
            lines.append(f"Unit: {self.unit}")
        if self.range_words:
            lines.append(f"Allowed: {self.range_words}")
        if self.default is not ...:
            lines.append(f"Default: {self.words(self.default)}")
        return "\n".join(line for line in lines if line)

    def words(self, value: Any) -> str:
        """Return a value as text for people."""
        if value is None:
            return _AUTOMATIC
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, tuple | list):
            return ", ".join(self.words(v) for v in value)
        if isinstance(value, float):
            return f"{value:.10g}"
        return str(value)

    def check_range(self, value: float) -> None:
        """Raise `FieldProblem` where a number lies outside the range."""
        too_low = self.low is not None and (
            value <= self.low if self.low_open else value < self.low
        )
        too_high = self.high is not None and (
            value >= self.high if self.high_open else value > self.high
        )
        if too_low or too_high:
            raise FieldProblem(f"{value:g} is not allowed: it must be {self.range_words}.")


def _kind(main: Mapping[str, Any], kinds: set[str | None]) -> Kind:
    if {"number", "string"} <= kinds:
        return "number_or_text"
    if "enum" in main or "const" in main:
        return "choice"
    simple: dict[str, Kind] = {
        "number": "float",
        "integer": "int",
        "boolean": "bool",
        "string": "str",
    }
    if "prefixItems" in main:
        return "numbers"
    if main.get("type") in simple:
        return simple[str(main["type"])]
    raise TypeError(f"the form has no editor for {dict(main)}")


def describe(text: str, specs: Mapping[str, FieldSpec]) -> str:
    """Return a message of the schema with the fields' names in plain words."""
    for name in sorted(specs, key=len, reverse=True):
        text = text.replace(f"{name}=", f"{specs[name].label} = ").replace(name, specs[name].label)
    return text


def plain_name(name: str) -> str:
    """Return ``flux_mean_nm`` as "Flux mean"."""
    suffix = next((s for s in _SUFFIXES if name.endswith(s)), "")
    name = name.removesuffix(suffix)
    return name.replace("_", " ").capitalize()


def pretty_unit(unit: str) -> str:
    """Return a unit as it is printed: 1/µm² for ``1/um^2``."""
    return unit.replace("um", "µm").replace("^2", "²").replace("e-", "e⁻")


def parse_number(text: str, *, whole: bool = False) -> float | int:
    """Read a number as people type it; the point is the decimal sign.

    Raises
    ------
    FieldProblem
        Saying what is wrong, a comma in its own words.
    """
    text = text.strip().replace("−", "-")
    if not text:
        raise FieldProblem("A number is needed here.")
    if "," in text:
        point = text.replace(",", ".")
        raise FieldProblem(f'Write the decimal sign as a point: "{point}" instead of "{text}".')
    try:
        value = float(text)
    except ValueError:
        raise FieldProblem(f'"{text}" is not a number.') from None
    if not math.isfinite(value):
        raise FieldProblem(f'"{text}" is not a finite number.')
    if whole and value != int(value):
        raise FieldProblem(f"{text} is not a whole number.")
    return int(value) if whole else value


class FieldEditor(QWidget):
    """Edits one setting: a line, a check box or a list, and "automatic" where None is allowed.

    Signals
    -------
    edited
        While the user types: validity may have changed.
    committed
        After Enter, leaving the field, or a click.
    """

    edited = Signal()
    committed = Signal()

    def __init__(
        self, spec: FieldSpec, choice_words: Mapping[str, str], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.spec = spec
        self._lines: list[QLineEdit] = []
        self._box: QCheckBox | None = None
        self._list: QComboBox | None = None
        self._auto: QCheckBox | None = None
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        if spec.optional:
            self._add_automatic()
        if spec.kind == "bool":
            self._add_box()
        elif spec.kind == "choice":
            self._add_list(choice_words)
        else:
            self._add_lines()
        self.setFocusProxy(self._auto or self.main)
        self.setToolTip(spec.tooltip)

    @property
    def main(self) -> QWidget:
        """The widget that takes the value (for the label's buddy)."""
        return self._box or self._list or self._lines[0]

    def value(self) -> Any:
        """Return the value; raise `FieldProblem` where what was typed is none."""
        if self._auto is not None and self._auto.isChecked():
            return None
        if self._box is not None:
            return self._box.isChecked()
        if self._list is not None:
            return self._list.currentData()
        if self.spec.kind == "str":
            return self._lines[0].text()
        if self.spec.kind == "number_or_text":
            return self._number_or_text()
        whole = self.spec.whole or self.spec.kind == "int"
        numbers = [parse_number(line.text(), whole=whole) for line in self._lines]
        for number in numbers:
            self.spec.check_range(number)
        return tuple(numbers) if self.spec.kind == "numbers" else numbers[0]

    def set_value(self, value: Any) -> None:
        """Show a value without emitting; ``...`` empties the editor."""
        if self._auto is not None:
            self._auto.blockSignals(True)
            self._auto.setChecked(value is None)
            self._auto.blockSignals(False)
            self._enable(value is not None)
        if value is None:
            return
        if self._box is not None:
            self._box.blockSignals(True)
            self._box.setChecked(value is True)
            self._box.blockSignals(False)
        elif self._list is not None:
            self._list.blockSignals(True)
            self._list.setCurrentIndex(self._list.findData(value))
            self._list.blockSignals(False)
        else:
            several = value if isinstance(value, tuple | list) else [value] * len(self._lines)
            for line, one in zip(self._lines, several, strict=True):
                line.setText("" if one is ... else self.spec.words(one))

    def set_automatic_text(self, text: str) -> None:
        """Say what "automatic" comes to (say, "automatic (600)")."""
        if self._auto is not None:
            self._auto.setText(text or _AUTOMATIC)

    def set_describing(self, text: str) -> None:
        """Tell assistive technology what is written beside the field."""
        self.main.setAccessibleDescription(text)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave the wheel to the page: a value changes by wheel only where the focus is."""
        wheel = isinstance(event, QWheelEvent) and isinstance(watched, QWidget)
        if wheel and not watched.hasFocus():  # type: ignore[attr-defined] # a QWidget, see above
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def _number_or_text(self) -> float | str:
        text = self._lines[0].text().strip()
        try:
            number = parse_number(text)
        except FieldProblem:
            if not text or not any(c.isalpha() for c in text):
                raise
            return text
        self.spec.check_range(number)
        return number

    def _add_automatic(self) -> None:
        auto = named(QCheckBox(_AUTOMATIC), f"field-{self.spec.name}-automatic")
        auto.setAccessibleName(f"{self.spec.label}: {_AUTOMATIC}")
        auto.setToolTip(self.spec.tooltip)
        auto.toggled.connect(self._automatic_toggled)
        self._row.addWidget(auto)
        self._auto = auto

    def _automatic_toggled(self, on: bool) -> None:
        self._enable(not on)
        if not on:
            self.main.setFocus()
        self.edited.emit()
        self.committed.emit()

    def _enable(self, on: bool) -> None:
        for widget in [self._box, self._list, *self._lines]:
            if widget is not None:
                widget.setEnabled(on)

    def _add_box(self) -> None:
        self._box = self._prepared(QCheckBox())
        self._box.toggled.connect(self.edited)
        self._box.toggled.connect(self.committed)
        self._row.addWidget(self._box)
        self._row.addStretch()

    def _add_list(self, choice_words: Mapping[str, str]) -> None:
        box = self._prepared(QComboBox())
        box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        for choice in self.spec.choices:
            words = choice_words.get(f"{self.spec.name}.{choice}", str(choice))
            box.addItem(words, choice)
        box.installEventFilter(self)
        box.activated.connect(self.edited)
        box.activated.connect(self.committed)
        self._list = box
        self._row.addWidget(box, 1)

    def _add_lines(self) -> None:
        for i in range(self.spec.length):
            line = self._prepared(QLineEdit())
            if self.spec.length > 1:
                line.setObjectName(f"field-{self.spec.name}-{i}")
                line.setAccessibleName(f"{self.spec.label}, number {i + 1}")
            line.setMinimumWidth(52)
            line.textEdited.connect(self.edited)
            line.editingFinished.connect(self.committed)
            self._lines.append(line)
            self._row.addWidget(line, 1)

    def _prepared(self, widget: Any) -> Any:
        named(widget, f"field-{self.spec.name}")
        widget.setAccessibleName(self.spec.label)
        widget.setToolTip(self.spec.tooltip)
        return widget


class LightMark(QWidget):
    """A plausibility light: disc with tick, triangle, or square with cross."""

    _LIGHT: ClassVar[dict[Level, str]] = {
        "ok": "#1B7F4B",
        "doubt": "#B26A00",
        "bad": "#C02A2A",
    }
    _DARK: ClassVar[dict[Level, str]] = {"ok": "#4CC38A", "doubt": "#F2B34A", "bad": "#FF7B72"}
    _WORDS: ClassVar[dict[Level, str]] = {
        "ok": "plausible",
        "doubt": "doubtful",
        "bad": "implausible",
        "none": "",
    }

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.level: Level = "none"
        self.setFixedSize(18, 18)

    def show_level(self, level: Level, text: str) -> None:
        """Show a level and, as tooltip, why."""
        self.level = level
        self.setToolTip(text)
        self.setAccessibleName(f"{self._WORDS[level]}: {text}" if level != "none" else "")
        self.update()

    @classmethod
    def color(cls, level: Level, palette: QPalette) -> QColor:
        """Return the colour of a level on a palette's window."""
        dark = palette.color(QPalette.ColorRole.Window).lightness() < 128
        return QColor((cls._DARK if dark else cls._LIGHT)[level])

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint shape and sign."""
        if self.level == "none":
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.color(self.level, self.palette()))
        area = QRectF(2, 2, 14, 14)
        sign = self.palette().color(QPalette.ColorRole.Window)
        pen = QPen(sign, 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap)
        if self.level == "ok":
            painter.drawEllipse(area)
            painter.setPen(pen)
            painter.drawPolyline(QPolygonF([QPointF(5.5, 9), QPointF(8, 11.5), QPointF(12.5, 6.5)]))
        elif self.level == "doubt":
            painter.drawPolygon(QPolygonF([QPointF(9, 1.5), QPointF(17, 16), QPointF(1, 16)]))
            painter.setPen(pen)
            painter.drawLine(QPointF(9, 7), QPointF(9, 10.5))
            painter.drawPoint(QPointF(9, 13.5))
        else:
            painter.drawRoundedRect(area, 2, 2)
            painter.setPen(pen)
            painter.drawLine(QPointF(6, 6), QPointF(12, 12))
            painter.drawLine(QPointF(12, 6), QPointF(6, 12))
        painter.end()
