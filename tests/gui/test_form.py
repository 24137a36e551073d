"""Forms made from schemas: typed, refused, reset, by real keys and clicks."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QToolButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.views.form import ConfigForm, FieldGroup
from app.views.form_fields import FieldSpec, LightMark, pretty_unit
from decode_engine.contract.base import Config
from decode_engine.contract.configs import (
    CameraConfig,
    LocalizeConfig,
    RenderConfig,
    SimulationConfig,
    TrainingConfig,
)

GROUPS = (
    FieldGroup(
        "Molecules",
        ("density_min_per_um2", "density_max_per_um2", "flux_mean", "flux_distribution"),
    ),
    FieldGroup("Depth", ("z_min_nm", "z_max_nm")),
    FieldGroup("More", ("gain_jitter", "margin_px"), advanced=True),
)
LABELS = {
    "density_min_per_um2": "Lowest density",
    "density_max_per_um2": "Highest density",
    "flux_distribution.normal": "bell curve",
}


@pytest.fixture
def form(qtbot: QtBot) -> ConfigForm:
    form = ConfigForm(SimulationConfig, groups=GROUPS, labels=LABELS)
    qtbot.addWidget(form)
    form.set_value(SimulationConfig(prior="rings"))
    form.show()
    return form


def _line(form: QWidget, field: str) -> QLineEdit:
    line = form.findChild(QLineEdit, f"field-{field}")
    assert line is not None
    return line


def _type(qtbot: QtBot, form: QWidget, field: str, text: str) -> None:
    line = _line(form, field)
    line.setFocus()
    line.selectAll()
    qtbot.keyClicks(line, text)
    qtbot.keyClick(line, Qt.Key.Key_Return)


def _message(form: QWidget, field: str) -> str:
    box = form.findChild(QWidget, f"message-{field}")
    assert box is not None
    return box.findChildren(QLabel)[0].text() if not box.isHidden() else ""


def test_typing_makes_a_new_value_and_keeps_what_is_not_in_the_form(
    qtbot: QtBot, form: ConfigForm
) -> None:
    with qtbot.waitSignal(form.changed) as signal:
        _type(qtbot, form, "flux_mean", "1.5e3")
    assert signal.args == [SimulationConfig(prior="rings", flux_mean=1500)]
    assert form.value() == SimulationConfig(prior="rings", flux_mean=1500)


def test_a_change_is_named_by_its_fields(form: ConfigForm) -> None:
    before = SimulationConfig(prior="rings")
    dense = before.model_copy(update={"density_max_per_um2": 3.0})
    name = form.name_of_change
    assert name("Change", before, dense) == "Change: highest density"
    assert name("Change", before, before) == "Change"
    assert name("Change", before, before.model_copy(update={"prior": "bands"})) == "Change"


def test_setting_a_value_emits_nothing_and_shows_it(qtbot: QtBot, form: ConfigForm) -> None:
    with qtbot.assertNotEmitted(form.changed):
        form.set_value(SimulationConfig(flux_mean=800, z_min_nm=-400.0))
    assert _line(form, "flux_mean").text() == "800"
    assert _line(form, "z_min_nm").text() == "-400"


def test_leaving_a_field_unchanged_emits_nothing(qtbot: QtBot, form: ConfigForm) -> None:
    with qtbot.assertNotEmitted(form.changed):
        _line(form, "flux_mean").setFocus()
        qtbot.keyClick(_line(form, "flux_mean"), Qt.Key.Key_Tab)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,5", 'a point: "1.5"'),
        ("abc", "not a number"),
        ("", "needed"),
        ("inf", "finite"),
        ("-5", "above 0"),
    ],
)
def test_what_is_no_value_stays_with_the_reason_beside_it(
    qtbot: QtBot, form: ConfigForm, text: str, words: str
) -> None:
    line = _line(form, "flux_mean")
    with qtbot.assertNotEmitted(form.changed):
        line.selectAll()
        qtbot.keyClick(line, Qt.Key.Key_Delete)
        qtbot.keyClicks(line, text)
        qtbot.keyClick(line, Qt.Key.Key_Return)
    assert line.text() == text
    assert words in _message(form, "flux_mean")
    assert words in line.accessibleDescription()
    assert form.value() is None
    # The other fields go on to count, and what was typed here stays.
    with qtbot.waitSignal(form.changed) as signal:
        _type(qtbot, form, "density_min_per_um2", "0.1")
    assert signal.args[0].density_min_per_um2 == 0.1
    assert signal.args[0].flux_mean == 3500
    form.set_value(signal.args[0])
    assert line.text() == text
    _type(qtbot, form, "flux_mean", "900")
    assert _message(form, "flux_mean") == ""
    assert form.value() == SimulationConfig(prior="rings", flux_mean=900, density_min_per_um2=0.1)


def test_an_undo_replaces_what_cannot_be_read(qtbot: QtBot, form: ConfigForm) -> None:
    _type(qtbot, form, "flux_mean", "abc")
    form.set_value(SimulationConfig(flux_mean=77))
    assert _line(form, "flux_mean").text() == "77"
    assert form.value() == SimulationConfig(flux_mean=77)


def test_fields_that_contradict_each_other_are_told_beside_their_group(
    qtbot: QtBot, form: ConfigForm
) -> None:
    with qtbot.assertNotEmitted(form.changed):
        _type(qtbot, form, "density_min_per_um2", "9")
    assert form.value() is None
    shown = [w.text() for w in form.findChildren(QLabel) if w.isVisible() and "above" in w.text()]
    assert shown == ["Lowest density = 9 lies above Highest density = 2.5."]
    with qtbot.waitSignal(form.changed) as signal:
        _type(qtbot, form, "density_max_per_um2", "10")
    assert signal.args[0].density_min_per_um2 == 9


def test_automatic_is_a_box_and_a_value(qtbot: QtBot, form: ConfigForm) -> None:
    box = form.findChild(QCheckBox, "field-z_max_nm-automatic")
    assert box is not None
    assert box.isChecked()
    assert not _line(form, "z_max_nm").isEnabled()
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Space)
    assert _line(form, "z_max_nm").isEnabled()
    assert form.value() is None  # a number is needed now
    with qtbot.waitSignal(form.changed) as signal:
        _type(qtbot, form, "z_max_nm", "400")
    assert signal.args[0].z_max_nm == 400
    form.set_value(signal.args[0])
    with qtbot.waitSignal(form.changed) as signal:
        qtbot.keyClick(box, Qt.Key.Key_Space)
    assert signal.args[0].z_max_nm is None
    form.set_automatic_text("z_max_nm", "automatic (600)")
    assert box.text() == "automatic (600)"


def test_back_to_the_default_is_a_button_where_it_differs(qtbot: QtBot, form: ConfigForm) -> None:
    reset = form.findChild(QToolButton, "reset-flux_mean")
    assert reset is not None
    assert not reset.isVisible()
    _type(qtbot, form, "flux_mean", "12")
    assert reset.isVisible()
    assert "3500" in reset.toolTip()
    with qtbot.waitSignal(form.changed) as signal:
        qtbot.mouseClick(reset, Qt.MouseButton.LeftButton)
    assert signal.args[0].flux_mean == 3500
    assert not reset.isVisible()


def test_the_wheel_changes_nothing_without_focus(qtbot: QtBot, form: ConfigForm) -> None:
    box = form.findChild(QComboBox, "field-flux_distribution")
    assert box is not None
    assert box.itemText(0) == "bell curve"
    _line(form, "flux_mean").setFocus()
    at = QPointF(5, 5)
    none = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    event = QWheelEvent(
        at, at, QPoint(0, 0), QPoint(0, -120), *none, Qt.ScrollPhase.NoScrollPhase, False
    )
    with qtbot.assertNotEmitted(form.changed):
        QApplication.sendEvent(box, event)
    assert box.currentIndex() == 0
    with qtbot.waitSignal(form.changed) as signal:
        box.setFocus()
        qtbot.keyClick(box, Qt.Key.Key_Down)
    assert signal.args[0].flux_distribution == "lognormal"


def test_advanced_fields_are_folded_and_open_where_one_is_wrong(
    qtbot: QtBot, form: ConfigForm
) -> None:
    button = form.findChild(QToolButton, "form-advanced")
    assert button is not None
    line = _line(form, "gain_jitter")
    assert not line.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert line.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    line.setText("3")
    line.textEdited.emit("3")
    assert line.isVisible()
    assert "0 to 0.2" in _message(form, "gain_jitter")


def test_lights_have_shape_words_and_tooltip(form: ConfigForm) -> None:
    form.set_light("flux_mean", "doubt", "Three times as bright as your movie.")
    assert _message(form, "flux_mean") == "Three times as bright as your movie."
    form.set_light("flux_mean", "ok", "Fits your movie.")
    assert _message(form, "flux_mean") == ""
    marks = [m for m in form.findChildren(LightMark) if m.level == "ok" and m.isVisible()]
    assert [m.toolTip() for m in marks] == ["Fits your movie."]
    assert marks[0].accessibleName() == "plausible: Fits your movie."
    form.grab()


def test_tooltips_say_meaning_unit_range_and_default(form: ConfigForm) -> None:
    tooltip = _line(form, "flux_mean").toolTip()
    assert "Mean photons" in tooltip
    assert "Unit: photon" in tooltip
    assert "Allowed: above 0" in tooltip
    assert "Default: 3500" in tooltip
    assert pretty_unit("1/um^2") == "1/µm²"


def test_a_required_value_must_be_given_first(qtbot: QtBot) -> None:
    form = ConfigForm(CameraConfig, groups=[FieldGroup("", ("pixel_size_x_nm", "offset_adu"))])
    qtbot.addWidget(form)
    assert form.value() is None
    with qtbot.waitSignal(form.changed) as signal:
        _type(qtbot, form, "pixel_size_x_nm", "127.5")
    assert signal.args == [CameraConfig(pixel_size_x_nm=127.5)]
    with qtbot.waitSignal(form.changed) as signal:
        _type(qtbot, form, "offset_adu", "dark.npy")
    assert signal.args[0].offset_adu == "dark.npy"


def test_several_numbers_have_a_line_each(qtbot: QtBot) -> None:
    form = ConfigForm(LocalizeConfig, groups=[FieldGroup("", ("roi", "frames"))])
    qtbot.addWidget(form)
    form.set_value(LocalizeConfig(roi=(1, 2, 30, 40)))
    second = form.findChild(QLineEdit, "field-roi-1")
    assert second is not None
    with qtbot.waitSignal(form.changed) as signal:
        second.selectAll()
        qtbot.keyClicks(second, "7")
        qtbot.keyClick(second, Qt.Key.Key_Return)
    assert signal.args[0].roi == (1, 7, 30, 40)
    second.setText("7.5")
    second.textEdited.emit("7.5")
    assert form.value() is None


def test_a_choice_among_numbers_and_a_number_that_may_be_infinite(qtbot: QtBot) -> None:
    form = ConfigForm(TrainingConfig, groups=[FieldGroup("", ("context_frames", "batch_size"))])
    qtbot.addWidget(form)
    form.set_value(TrainingConfig(context_frames=1))
    box = form.findChild(QComboBox, "field-context_frames")
    assert box is not None
    assert box.currentData() == 1
    _type(qtbot, form, "batch_size", "2.5")
    assert "whole number" in _message(form, "batch_size")
    spec = FieldSpec.of(RenderConfig, "sigma_max_nm")
    assert spec.label == "Sigma max"


@pytest.mark.parametrize(
    "config", [CameraConfig, LocalizeConfig, RenderConfig, SimulationConfig, TrainingConfig]
)
def test_every_plain_field_has_an_editor(qtbot: QtBot, config: type[Config]) -> None:
    left_out = {"schema_version", "network_options", "simulation"}
    names = tuple(n for n in config.model_fields if n not in left_out)
    form = ConfigForm(config, groups=[FieldGroup("All", names)])
    qtbot.addWidget(form)
    for name in names:
        assert form.editor(name).main.accessibleName() or name == "frames"
