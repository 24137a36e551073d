"""The Simulation page: settings, your frames beside simulated ones, and how well they match."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.models.match_words import QUANTITIES, Change, Histograms
from app.models.steps import Step
from app.models.verdict import Verdict
from app.views.charts import HistogramChart
from app.views.form import ConfigForm, FieldGroup
from app.views.frame_pair import FramePair
from app.views.naming import named
from app.views.page import Page
from app.views.side_column import SideColumn
from app.views.verdict_list import VerdictList
from decode_engine.contract.configs import SimulationConfig

__all__ = ["SimulationPage"]

_LEFT_WIDTH = 320
_GROUPS = (
    FieldGroup(
        "Molecules",
        (
            "density_min_per_um2",
            "density_max_per_um2",
            "flux_mean",
            "flux_std",
            "lifetime_frames",
        ),
    ),
    FieldGroup("Background", ("background_min", "background_max", "background_variation")),
    FieldGroup("Depth", ("z_min_nm", "z_max_nm")),
    FieldGroup(
        "Robustness",
        ("flux_spread", "psf_width_jitter", "z_scale_jitter", "gain_jitter"),
        advanced=True,
    ),
    FieldGroup(
        "Details",
        (
            "prior",
            "flux_distribution",
            "flux_min",
            "background_scale_px",
            "background_correlation_frames",
            "margin_px",
        ),
        advanced=True,
    ),
)
LABELS = {
    "density_min_per_um2": "Density, lowest",
    "density_max_per_um2": "Density, highest",
    "flux_mean": "Photons, mean",
    "flux_std": "Photons, spread",
    "lifetime_frames": "On-time",
    "background_min": "Background, lowest",
    "background_max": "Background, highest",
    "background_variation": "Unevenness",
    "z_min_nm": "Height, lowest",
    "z_max_nm": "Height, highest",
    "flux_spread": "Brightness varies by factor",
    "psf_width_jitter": "PSF width varies by",
    "z_scale_jitter": "Height scale varies by",
    "gain_jitter": "Camera gain varies by",
    "prior": "Where molecules are",
    "prior.uniform": "anywhere",
    "prior.filaments": "on filaments",
    "prior.rings": "on rings",
    "flux_distribution": "Photons distributed",
    "flux_min": "Photons, least",
    "background_scale_px": "Size of patches",
    "background_correlation_frames": "Drifts over",
    "margin_px": "Zone around",
}


class SimulationPage(Page):
    """Setters and request signals; decisions are the controller's."""

    suggest_requested = Signal()
    suggestion_cancelled = Signal()
    proposal_accepted = Signal()
    proposal_refused = Signal()
    step_requested = Signal(object)  # Step that must be done first

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Step.SIMULATION, parent)
        self._step: Step | None = None
        self.form = ConfigForm(SimulationConfig, groups=_GROUPS, labels=LABELS)
        named(self.form, "simulation-form")
        self.pair = FramePair()
        self.matches = VerdictList("simulation-matches", stacked=True)
        row = QHBoxLayout()
        row.setSpacing(16)
        row.addWidget(self._make_left())
        row.addWidget(self._make_right(), 1)
        self.body.addLayout(row, 1)
        self.show_missing("", None)
        self.show_suggesting("")
        self.show_proposal(())

    def show_missing(self, text: str, step: Step | None) -> None:
        """Say what must be done first, with a button to that page; empty for nothing."""
        self._missing.setText(text)
        self._step = step
        self._go.setText(f"Go to {step.value.capitalize()}" if step is not None else "")
        self._go.setVisible(step is not None)
        self._right.setCurrentIndex(0 if text else 1)
        self._suggest.setEnabled(not text)
        self._suggest.setToolTip(
            text
            or "Measure your frames, simulate and compare a few times, and propose settings. "
            "Nothing changes before you accept."
        )

    def show_depth(self, z_range_nm: tuple[float, float] | None) -> None:
        """Show the height range of the calibration where none is set; hide it all in 2D."""
        low, high = z_range_nm or (-1.0, 1.0)
        is_3d = high > low
        for field, value in (("z_min_nm", low), ("z_max_nm", high)):
            self.form.set_field_visible(field, is_3d)
            text = "automatic" if z_range_nm is None else f"auto ({value:g})"
            self.form.set_automatic_text(field, text)
        self.form.set_field_visible("z_scale_jitter", is_3d)

    def show_suggesting(self, text: str) -> None:
        """Say how far the suggestion is; empty when none is being made."""
        busy = bool(text)
        self._suggest.setVisible(not busy)
        self._progress.setText(text)
        self._progress.setVisible(busy)
        self._stop.setVisible(busy)

    def show_proposal(self, proposal: Sequence[Change]) -> None:
        """Show proposed changes to be accepted or not; nothing to hide them."""
        lines = [
            f"<tr><td>{LABELS.get(c.field, c.field)}&nbsp;&nbsp;</td><td align='right'>"
            f"{c.before:,g}</td><td>&nbsp;→&nbsp;</td><td align='right'><b>{c.after:,g}</b>"
            f"&nbsp;{_unit(c.field)}</td></tr>"
            for c in proposal
        ]
        self._proposal.setText(f"<table>{''.join(lines)}</table>")
        self._proposal_box.setVisible(bool(proposal))

    def show_matches(self, matches: Sequence[Verdict]) -> None:
        """Show how well each quantity agrees."""
        self.matches.show_lines(matches)

    def show_histograms(self, histograms: Histograms, *, with_simulated: bool) -> None:
        """Draw the histograms of both, or of the own frames alone; empty takes them away."""
        for name, chart in self._charts.items():
            if name not in histograms:
                chart.clear()
                continue
            edges, mine, theirs = histograms[name]
            chart.set_histogram("yours", edges, mine)
            if with_simulated:
                chart.set_histogram("simulated", edges, theirs)

    def _make_left(self) -> SideColumn:
        inner = QWidget()
        layout = QVBoxLayout(inner)
        layout.setContentsMargins(0, 0, 4, 0)
        self._suggest = named(QPushButton("&Suggest from my movie"), "simulation-suggest")
        self._suggest.clicked.connect(self.suggest_requested)
        self._progress = named(QLabel(), "simulation-progress")
        self._stop = named(QPushButton("Stop"), "simulation-stop")
        self._stop.setToolTip("Stop comparing; the settings stay as they are.")
        self._stop.clicked.connect(self.suggestion_cancelled)
        busy = QHBoxLayout()
        busy.addWidget(self._progress, 1)
        busy.addWidget(self._stop)
        layout.addWidget(self._suggest)
        layout.addLayout(busy)
        layout.addWidget(self._make_proposal())
        layout.addWidget(self.form)
        layout.addStretch()
        return SideColumn(inner, width=_LEFT_WIDTH)

    def _make_proposal(self) -> QFrame:
        self._proposal_box = named(QFrame(), "simulation-proposal")
        self._proposal_box.setProperty("card", True)
        self._proposal_box.setFrameShape(QFrame.Shape.StyledPanel)
        self._proposal = named(QLabel(), "simulation-proposal-text")
        self._proposal.setTextFormat(Qt.TextFormat.RichText)
        accept = named(QPushButton("&Use these"), "simulation-accept")
        accept.setToolTip("Change all of them in one step, which Edit > Undo takes back.")
        accept.clicked.connect(self.proposal_accepted)
        refuse = named(QPushButton("Keep mine"), "simulation-refuse")
        refuse.setToolTip("Leave the settings as they are.")
        refuse.clicked.connect(self.proposal_refused)
        buttons = QHBoxLayout()
        buttons.addWidget(accept)
        buttons.addWidget(refuse)
        buttons.addStretch()
        layout = QVBoxLayout(self._proposal_box)
        title = QLabel("Suggested from your movie")
        font = title.font()
        font.setBold(True)
        title.setFont(font)
        layout.addWidget(title)
        layout.addWidget(self._proposal)
        doubt = QLabel(
            "Compare by eye as well: where molecules crowd on a structure, neighbours are taken "
            "for one brighter molecule."
        )
        doubt.setWordWrap(True)
        doubt.setProperty("muted", True)
        layout.addWidget(doubt)
        layout.addLayout(buttons)
        return self._proposal_box

    def _make_right(self) -> QStackedWidget:
        self._missing = named(QLabel(), "simulation-missing")
        self._missing.setWordWrap(True)
        self._missing.setProperty("muted", True)
        self._missing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._go = named(QPushButton(), "simulation-go")
        self._go.clicked.connect(lambda: self.step_requested.emit(self._step))
        empty = QWidget()
        middle = QVBoxLayout(empty)
        middle.addStretch()
        middle.addWidget(self._missing)
        middle.addWidget(self._go, 0, Qt.AlignmentFlag.AlignHCenter)
        middle.addStretch()
        full = QWidget()
        layout = QVBoxLayout(full)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.pair, 3)
        layout.addLayout(self._make_match(), 2)
        self._right = QStackedWidget()
        self._right.addWidget(empty)
        self._right.addWidget(full)
        return self._right

    def _make_match(self) -> QHBoxLayout:
        self._quantity = named(QComboBox(), "simulation-quantity")
        self._quantity.setAccessibleName("Quantity compared")
        self._quantity.setToolTip("What the histogram below compares.")
        self._stack = QStackedWidget()
        self._charts: dict[str, HistogramChart] = {}
        for quantity in QUANTITIES:
            chart = HistogramChart(quantity.label, quantity.unit)
            chart.setAccessibleName(f"Histogram of {quantity.label}, yours and simulated")
            self._charts[quantity.name] = chart
            self._stack.addWidget(chart)
            self._quantity.addItem(quantity.title)
        self._quantity.currentIndexChanged.connect(self._stack.setCurrentIndex)
        right = QVBoxLayout()
        right.addWidget(self._quantity)
        right.addWidget(self._stack, 1)
        area = QScrollArea()
        area.setWidget(self.matches)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(area, 1)
        row.addLayout(right, 1)
        return row


def _unit(field: str) -> str:
    extra = SimulationConfig.model_fields[field].json_schema_extra
    unit = extra.get("unit", "") if isinstance(extra, dict) else ""
    words = {"1/um^2": "per µm²", "photon": "photons", "photon/px": "photons/px"}
    return words.get(str(unit), str(unit)) + ("s" if unit == "frame" else "")
