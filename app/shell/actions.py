"""All actions of the window in one table: menus, shortcuts and their list derive from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from app.models.steps import STEP_INFO, Step

__all__ = ["ACTIONS", "MENUS", "ActionSet", "ActionSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpec:
    """One action.

    Attributes
    ----------
    id : str
        Object name of the action, and its key.
    menu : str
        Title of the menu it is in.
    callback : str
        Name of the method of the commands object that it calls.
    argument : str or None
        Passed to the callback where it is not None.
    enabled_when : str
        Name of a condition (see `ActionSet.refresh`); always enabled where it is empty.
    group : str
        Exclusive group of checkable actions it belongs to; "check" for a check box of its own.
    rule_before : bool
        Whether a line stands above it in the menu.
    """

    id: str
    text: str
    menu: str
    callback: str
    shortcut: str = ""
    tooltip: str = ""
    argument: str | None = None
    enabled_when: str = ""
    group: str = ""
    rule_before: bool = False


MENUS = ("&Project", "&Edit", "&Go", "&View", "&Tools", "&Help")


def _steps() -> tuple[ActionSpec, ...]:
    return tuple(
        ActionSpec(
            id=f"go-{step.value}",
            text=STEP_INFO[step].title,
            menu="&Go",
            callback="go_to_step",
            argument=step.value,
            shortcut=f"Ctrl+{(number + 1) % 10}",
            tooltip=STEP_INFO[step].subtitle,
        )
        for number, step in enumerate(Step)
    )


ACTIONS: tuple[ActionSpec, ...] = (
    ActionSpec(id="new", text="&New project…", menu="&Project", callback="new_project",
               shortcut="Ctrl+N", tooltip="Make a folder for a new experiment."),
    ActionSpec(id="open", text="&Open project…", menu="&Project", callback="open_project",
               shortcut="Ctrl+O", tooltip="Open the folder of an earlier project."),
    ActionSpec(id="save-as", text="Save project &as…", menu="&Project", callback="save_as",
               shortcut="Ctrl+Shift+S", rule_before=True,
               tooltip="Copy the project to another folder and go on there. "
                       "Projects save themselves; there is no Save."),
    ActionSpec(id="open-folder", text="Open project &folder", menu="&Project",
               callback="open_folder", tooltip="Show the project's files."),
    ActionSpec(id="close", text="&Close project", menu="&Project", callback="close_project",
               shortcut="Ctrl+W", tooltip="Close the project and go to the start page."),
    ActionSpec(id="quit", text="&Quit", menu="&Project", callback="quit", shortcut="Ctrl+Q",
               rule_before=True, tooltip="Close the app; everything is saved."),
    ActionSpec(id="undo", text="&Undo", menu="&Edit", callback="undo", shortcut="Ctrl+Z",
               enabled_when="can_undo", tooltip="Take back the last change of a setting."),
    ActionSpec(id="redo", text="&Redo", menu="&Edit", callback="redo", shortcut="Ctrl+Shift+Z",
               enabled_when="can_redo", tooltip="Make the change again that was taken back."),
    *_steps(),
    ActionSpec(id="previous", text="&Previous step", menu="&Go", callback="go_back",
               shortcut="Alt+Left", enabled_when="has_previous", rule_before=True,
               tooltip="Go to the step before this one."),
    ActionSpec(id="next", text="&Next step", menu="&Go", callback="go_next",
               shortcut="Alt+Right", enabled_when="has_next",
               tooltip="Go to the step after this one."),
    ActionSpec(id="theme-system", text="&System theme", menu="&View", callback="set_theme",
               argument="system", group="theme", tooltip="Light or dark as the system is."),
    ActionSpec(id="theme-light", text="&Light theme", menu="&View", callback="set_theme",
               argument="light", group="theme", tooltip="Dark text on light ground."),
    ActionSpec(id="theme-dark", text="&Dark theme", menu="&View", callback="set_theme",
               argument="dark", group="theme", tooltip="Light text on dark ground."),
    ActionSpec(id="help-panel", text="&Help beside the page", menu="&View",
               callback="toggle_help", shortcut="F1", group="check", rule_before=True,
               tooltip="Explain the page beside it."),
    ActionSpec(id="settings", text="&Settings…", menu="&Tools", callback="show_settings",
               shortcut="Ctrl+,", tooltip="Theme, engine, device and folders."),
    ActionSpec(id="log", text="&Log", menu="&Tools", callback="show_log", shortcut="Ctrl+L",
               rule_before=True, tooltip="What the app and its engine did."),
    ActionSpec(id="copy-diagnostics", text="&Copy diagnostics", menu="&Tools",
               callback="copy_diagnostics",
               tooltip="Put versions, log and job outcomes on the clipboard; no data of yours."),
    ActionSpec(id="save-diagnostics", text="Save &diagnostics…", menu="&Tools",
               callback="save_diagnostics", tooltip="The same as a ZIP file."),
    ActionSpec(id="tour", text="&Tour of the app", menu="&Help", callback="start_tour",
               tooltip="A short walk through the window."),
    ActionSpec(id="shortcuts", text="&Keyboard shortcuts", menu="&Help",
               callback="show_shortcuts", shortcut="Ctrl+/", tooltip="All keys in one list."),
    ActionSpec(id="about", text="&About Decode Desktop", menu="&Help", callback="show_about",
               rule_before=True, tooltip="Versions, licences and how to cite."),
)  # fmt: skip


class ActionSet:
    """The actions of a window, made from `ACTIONS` and put into its menu bar.

    Parameters
    ----------
    window : QMainWindow
        Gets the menus.
    commands : object
        Has a method for each ``callback``.
    """

    def __init__(self, window: QMainWindow, commands: object) -> None:
        self._actions: dict[str, QAction] = {}
        self.menus: dict[str, QMenu] = {}
        groups: dict[str, QActionGroup] = {}
        for title in MENUS:
            menu = window.menuBar().addMenu(title)
            menu.setToolTipsVisible(True)
            menu.setObjectName(f"menu-{title.strip('&').lower()}")
            self.menus[title] = menu
        for spec in ACTIONS:
            action = _make(spec, window, commands)
            if spec.group not in ("", "check"):
                group = groups.setdefault(spec.group, QActionGroup(window))
                group.addAction(action)
            menu = self.menus[spec.menu]
            if spec.rule_before:
                menu.addSeparator()
            menu.addAction(action)
            self._actions[spec.id] = action

    def __getitem__(self, action_id: str) -> QAction:
        return self._actions[action_id]

    def refresh(self, conditions: Mapping[str, bool]) -> None:
        """Enable what the conditions allow."""
        for spec in ACTIONS:
            if spec.enabled_when:
                self._actions[spec.id].setEnabled(conditions.get(spec.enabled_when, False))


def _make(spec: ActionSpec, window: QMainWindow, commands: object) -> QAction:
    action = QAction(spec.text, window)
    action.setObjectName(f"action-{spec.id}")
    if spec.shortcut:
        action.setShortcut(QKeySequence(spec.shortcut))
    action.setToolTip(spec.tooltip)
    action.setStatusTip(spec.tooltip)
    action.setCheckable(bool(spec.group))
    if spec.id == "quit":
        action.setMenuRole(QAction.MenuRole.QuitRole)
    elif spec.id == "settings":
        action.setMenuRole(QAction.MenuRole.PreferencesRole)
    elif spec.id == "about":
        action.setMenuRole(QAction.MenuRole.AboutRole)
    callback: Callable[..., object] = getattr(commands, spec.callback)
    argument = spec.argument
    if argument is None:
        action.triggered.connect(lambda _checked=False: callback())
    else:
        action.triggered.connect(lambda _checked=False: callback(argument))
    return action
