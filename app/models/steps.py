"""The steps of the wizard: their order, their names and what a mark beside one means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["STEP_INFO", "Step", "StepInfo", "StepState", "StepStatus"]


class Step(StrEnum):
    """One page of the wizard; the order of definition is the order in the sidebar."""

    START = "start"
    MOVIE = "movie"
    CALIBRATION = "calibration"
    CAMERA = "camera"
    SIMULATION = "simulation"
    TRAIN = "train"
    LOCALIZE = "localize"
    CORRECT = "correct"
    EXPLORE = "explore"
    EXPORT = "export"


class StepStatus(StrEnum):
    """What the mark beside a step says."""

    NOT_YET = "not yet"
    ATTENTION = "needs attention"
    RUNNING = "running"
    DONE = "done"
    STALE = "out of date"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """Status of a step and, in plain words, why (empty where there is nothing to say)."""

    status: StepStatus = StepStatus.NOT_YET
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInfo:
    """Words about a step: name in the sidebar, one line under the page's heading, help file."""

    title: str
    subtitle: str

    @property
    def help_file(self) -> str:
        """Name of the help text below ``resources/help``."""
        return f"{self.title.lower()}.md"


STEP_INFO: dict[Step, StepInfo] = {
    Step.START: StepInfo(title="Start", subtitle="Open a project, or try the example."),
    Step.MOVIE: StepInfo(title="Movie", subtitle="The raw frames of your blinking molecules."),
    Step.CALIBRATION: StepInfo(
        title="Calibration", subtitle="How one molecule looks at each height (the PSF)."
    ),
    Step.CAMERA: StepInfo(title="Camera", subtitle="How camera counts become photons."),
    Step.SIMULATION: StepInfo(
        title="Simulation", subtitle="Simulated frames that look like yours teach the network."
    ),
    Step.TRAIN: StepInfo(
        title="Train", subtitle="The network learns to find molecules in simulated frames."
    ),
    Step.LOCALIZE: StepInfo(title="Localize", subtitle="Find the molecules in your movie."),
    Step.CORRECT: StepInfo(title="Correct", subtitle="Keep the localizations you trust."),
    Step.EXPLORE: StepInfo(title="Explore", subtitle="Look at the result, measure, make figures."),
    Step.EXPORT: StepInfo(title="Export", subtitle="Take the result to other programs."),
}
