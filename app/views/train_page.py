"""The Train page: choices on the left, the course of the training on the right."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.models.steps import Step
from app.views.page import Page
from app.views.train_progress import TrainProgress
from app.views.train_setup import TrainSetup

__all__ = ["TrainPage"]


class TrainPage(Page):
    """Shows what the next training will be, and how the present or last one went."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Step.TRAIN, parent)
        self.setup = TrainSetup()
        self.progress = TrainProgress()
        row = QHBoxLayout()
        row.setSpacing(14)
        row.addWidget(self.setup)
        row.addWidget(self.progress, 1)
        self.body.addLayout(row, 1)
