"""Which controller makes which page; each is imported when its page is first needed."""

from __future__ import annotations

import importlib
import importlib.util

from PySide6.QtWidgets import QLabel

from app.controllers.page_controller import AppContext, PageController
from app.models.steps import Step
from app.views.page import Page

__all__ = ["make_controller"]


def make_controller(step: Step, context: AppContext) -> PageController:
    """Return the controller of a step with its page."""
    name = f"app.controllers.{step.value}"
    if importlib.util.find_spec(name) is None:
        return _placeholder(step, context)
    controller = getattr(importlib.import_module(name), f"{step.value.title()}Controller")
    made: PageController = controller(context)
    return made


def _placeholder(step: Step, context: AppContext) -> PageController:
    page = Page(step)
    page.body.addWidget(QLabel("This page is being built."))
    page.body.addStretch()
    return PageController(context, page)
