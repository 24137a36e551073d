"""A form made from the schema of a configuration: each setting is declared once, there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from app.models.verdict import Level
from app.views.form_fields import (
    FieldEditor,
    FieldProblem,
    FieldSpec,
    LightMark,
    describe,
)
from app.views.naming import named
from decode_engine.contract.base import Config

__all__ = ["ConfigForm", "FieldGroup"]

_NAMED = 3  # settings that are named in one change
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Fields under one title; advanced ones sit behind the "Advanced" button."""

    title: str
    fields: tuple[str, ...]
    advanced: bool = False


class ConfigForm(QWidget):
    """Edits one configuration.

    What cannot be a value stays as it was typed, with the reason beside it; the other fields
    go on to count. Settings that no group names keep the values given to `set_value`.

    Parameters
    ----------
    config_type : type of Config
    groups : sequence of FieldGroup
    labels : mapping
        Plain words by field name; of a choice by ``"field.choice"``.

    Signals
    -------
    changed : Config
        A new, valid value made by the user. A field that is not valid at the moment has its
        last valid value in it.
    validity_changed : bool
        Whether `value` returns something.
    """

    changed = Signal(object)
    validity_changed = Signal(bool)

    def __init__(
        self,
        config_type: type[Config],
        *,
        groups: Sequence[FieldGroup],
        labels: Mapping[str, str] = _NO_LABELS,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._type = config_type
        self._labels = labels
        self._specs: dict[str, FieldSpec] = {}
        self._rows: dict[str, _Row] = {}
        self._group_marks: list[tuple[FieldGroup, _Message]] = []
        self._base: dict[str, Any] | None = None
        self._was_valid: bool | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for group in groups:
            if not group.advanced:
                self._add_group(group, layout)
        advanced = [group for group in groups if group.advanced]
        if advanced:
            self._add_advanced(advanced, layout)
        layout.addStretch()
        self._align()
        self._start_with_defaults()

    def set_value(self, value: Config) -> None:
        """Show a configuration, without emitting.

        What the user has typed and is not (yet) valid stays, unless that setting is another
        one in ``value``.
        """
        new = {name: getattr(value, name) for name in type(value).model_fields}
        old, whole = self._base, self.value() is not None
        for name, row in self._rows.items():
            if whole or old is None or old.get(name, ...) != new[name]:
                row.editor.set_value(new[name])
        self._base = new
        self._judge()

    def value(self) -> Config | None:
        """Return the configuration as it is typed; None while something is not valid."""
        values, problems = self._typed()
        if problems:
            return None
        return self._built(values)[0]

    def name_of_change(self, what: str, before: Config | None, after: Config) -> str:
        """Name a change for undo: ``what`` and the settings that differ, as labelled here.

        Two settings in a row then are two steps of undo, one that is adjusted stays one.
        """
        labels = [
            row.spec.label
            for name, row in self._rows.items()
            if before is None or getattr(before, name) != getattr(after, name)
        ]
        if not 0 < len(labels) <= _NAMED:
            return what
        return f"{what}: {', '.join(map(_inside_a_sentence, labels))}"

    def set_light(self, field: str, level: Level, text: str) -> None:
        """Show a plausibility light beside a field; doubts are also written below it."""
        row = self._rows[field]
        row.light.show_level(level, text)
        row.advice = text if level in ("doubt", "bad") else ""
        row.advice_level = level
        self._judge()

    def set_automatic_text(self, field: str, text: str) -> None:
        """Say what "automatic" comes to for a field."""
        self._rows[field].editor.set_automatic_text(text)

    def set_field_visible(self, field: str, visible: bool) -> None:
        """Show or hide a field that does not always apply."""
        self._rows[field].set_visible(visible)

    def editor(self, field: str) -> FieldEditor:
        """Return the editor of a field (say, to put the cursor there)."""
        return self._rows[field].editor

    # -- building

    def _start_with_defaults(self) -> None:
        self._base = None
        for row in self._rows.values():
            row.editor.set_value(row.spec.default)
        self._judge()

    def _add_group(self, group: FieldGroup, layout: QVBoxLayout) -> None:
        if group.title:
            title = QLabel(group.title)
            font = title.font()
            font.setBold(True)
            title.setFont(font)
            layout.addWidget(title)
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        for name in group.fields:
            spec = FieldSpec.of(self._type, name, self._labels.get(name))
            self._specs[name] = spec
            row = _Row(spec, self._labels, grid)
            row.editor.edited.connect(self._judge)
            row.editor.committed.connect(self._commit)
            row.reset.clicked.connect(lambda _=False, n=name: self._reset(n))
            self._rows[name] = row
        mark = _Message()
        self._group_marks.append((group, mark))
        layout.addLayout(grid)
        layout.addWidget(mark)
        layout.addSpacing(8)

    def _align(self) -> None:
        """Let the editors of all groups begin at one line; advanced groups are on their own."""
        groups = [group for group, _ in self._group_marks if not group.advanced]
        labels = [self._rows[name].label for group in groups for name in group.fields]
        width = max((label.sizeHint().width() for label in labels), default=0)
        for label in labels:
            label.setMinimumWidth(width)

    def _add_advanced(self, groups: Sequence[FieldGroup], layout: QVBoxLayout) -> None:
        button = named(QToolButton(), "form-advanced")
        button.setText("Advanced")
        button.setCheckable(True)
        button.setAutoRaise(True)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setArrowType(Qt.ArrowType.RightArrow)
        button.setToolTip("Settings that rarely need a change.")
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        for group in groups:
            self._add_group(group, inner)
        body.hide()

        def toggle(on: bool) -> None:
            body.setVisible(on)
            button.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)

        button.toggled.connect(toggle)
        self._advanced = button
        layout.addWidget(button)
        layout.addWidget(body)

    # -- judging

    def _typed(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what can be read from the editors, and the problems of the rest."""
        values: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for name, row in self._rows.items():
            try:
                values[name] = row.editor.value()
            except FieldProblem as problem:
                problems[name] = str(problem)
        return values, problems

    def _built(self, values: Mapping[str, Any]) -> tuple[Config | None, dict[str, str]]:
        """Return the configuration, or what its schema says against it ("" for the whole)."""
        try:
            return self._type(**{**(self._base or {}), **values}), {}
        except ValidationError as error:
            problems: dict[str, str] = {}
            for entry in error.errors():
                name = str(entry["loc"][0]) if entry["loc"] else ""
                text = entry["msg"].removeprefix("Value error, ")
                text = describe(text, self._specs)
                text = text[:1].upper() + text[1:]
                if name not in self._rows and name:
                    text = f"{name}: {text}"
                problems[name if name in self._rows else ""] = f"{text.rstrip('.')}."
            return None, problems

    def _judge(self) -> None:
        """Show the problems beside their fields and groups."""
        values, problems = self._typed()
        base = self._base or {}
        kept = {**values, **{n: base[n] for n in problems if n in base}}
        if len(kept) == len(self._rows):
            problems = {**self._built(kept)[1], **problems}
        for name, row in self._rows.items():
            row.show_problem(problems.get(name, ""))
            row.show_resettable(values.get(name, ...))
        whole = problems.get("", "")
        named_fields = [n for n in self._rows if self._specs[n].label in whole]
        for group, mark in self._group_marks:
            here = bool(whole) and (
                any(n in group.fields for n in named_fields)
                or (not named_fields and (group, mark) == self._group_marks[0])
            )
            mark.show_text("bad", whole if here else "")
        self._open_where_wrong(problems)
        valid = not problems
        if valid != self._was_valid:
            self._was_valid = valid
            self.validity_changed.emit(valid)

    def _open_where_wrong(self, problems: Mapping[str, str]) -> None:
        """Unfold the advanced part when the reason for a refusal hides in it."""
        for group, _ in self._group_marks:
            if group.advanced and any(n in group.fields for n in problems):
                self._advanced.setChecked(True)

    def _commit(self) -> None:
        self._judge()
        values, problems = self._typed()
        base = self._base or {}
        if any(name not in base for name in problems):
            return
        config, refused = self._built({**values, **{n: base[n] for n in problems}})
        if config is None or refused:
            return
        new = {name: getattr(config, name) for name in type(config).model_fields}
        if new != self._base:
            self._base = new
            self.changed.emit(config)

    def _reset(self, name: str) -> None:
        row = self._rows[name]
        row.editor.set_value(row.spec.default)
        self._commit()
        row.editor.setFocus()


def _inside_a_sentence(label: str) -> str:
    """Return a label with a small first letter, but for abbreviations (EM gain)."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


class _Message(QWidget):
    """A sign and words, hidden while there is nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        self._mark = LightMark()
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._level: Level = "none"
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 2)
        grid.addWidget(self._mark, 0, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self._text, 0, 1)
        grid.setColumnStretch(1, 1)
        self.hide()

    @property
    def text(self) -> str:
        return self._text.text()

    def show_text(self, level: Level, text: str) -> None:
        self._level = level
        self._text.setText(text)
        self._mark.show_level(level if text else "none", text)
        self.setVisible(bool(text))


class _Row:
    """Label, editor, unit, light, reset button; below them what is wrong."""

    def __init__(self, spec: FieldSpec, labels: Mapping[str, str], grid: QGridLayout) -> None:
        self.spec = spec
        self.advice = ""
        self.advice_level: Level = "none"
        self.label = QLabel(spec.label)
        self.editor = FieldEditor(spec, labels)
        self.label.setBuddy(self.editor.main)
        self.label.setToolTip(spec.tooltip)
        self.unit = QLabel(spec.unit)
        self.unit.setToolTip(spec.tooltip)
        self.light = LightMark()
        self.reset = named(QToolButton(), f"reset-{spec.name}")
        self.reset.setText("↺")
        self.reset.setMaximumWidth(22)
        self.reset.setAutoRaise(True)
        self.reset.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.reset.setAccessibleName(f"{spec.label}: back to the default")
        self.reset.setToolTip(f"Back to the default: {spec.words(spec.default)}")
        self.visible = True
        self._keep_room_for_reset(True)
        self.message = _Message()
        self.message.setObjectName(f"message-{spec.name}")
        row = grid.rowCount()
        for column, widget in enumerate(
            (self.label, self.editor, self.unit, self.light, self.reset)
        ):
            grid.addWidget(widget, row, column)
        grid.addWidget(self.message, row + 1, 1, 1, 4)

    def show_problem(self, text: str) -> None:
        """Show why the value is refused, or else the advice of the light."""
        if text:
            self.message.show_text("bad", text)
        else:
            self.message.show_text(self.advice_level, self.advice)
        lit = self.light.level != "none"
        self.light.setVisible(self.visible and lit and not text and not self.advice)
        if not self.visible:
            self.message.hide()
        self.editor.set_describing(text or self.advice)

    def show_resettable(self, value: Any) -> None:
        other = self.spec.default is not ... and value != self.spec.default
        self.reset.setVisible(self.visible and other)

    def set_visible(self, visible: bool) -> None:
        if visible == self.visible:
            return
        self.visible = visible
        self._keep_room_for_reset(visible)
        for widget in (self.label, self.editor, self.unit, self.light, self.reset):
            widget.setVisible(visible)
        self.message.setVisible(visible and bool(self.message.text))

    def _keep_room_for_reset(self, on: bool) -> None:
        policy = self.reset.sizePolicy()
        policy.setRetainSizeWhenHidden(on)
        self.reset.setSizePolicy(policy)
