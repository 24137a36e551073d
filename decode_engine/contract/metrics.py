"""The numbers that jobs report while they run: name, unit and meaning, for labels of curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "MetricInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """What one number of a `MetricEvent` is.

    Attributes
    ----------
    label : str
        Short name for a legend.
    unit : str
        Empty for ratios and scores.
    doc : str
        Meaning, in one sentence.
    of : str
        ``step``: of a training's step; ``validation``: of frozen simulated frames it has not
        learnt from; ``localize``: of a localization, whose step is the number of frames done.
    best : float or None
        The value of a perfect network, where there is one.
    """

    label: str
    unit: str = ""
    doc: str
    of: Literal["step", "validation", "localize"]
    best: float | None = None


def _axes(
    name: str, label: str, doc: str, *, best: float, axes: str = "xyz"
) -> dict[str, MetricInfo]:
    return {
        f"{name}_{axis}": MetricInfo(
            label=f"{label} {axis}", doc=f"{doc} (along {axis})", of="validation", best=best
        )
        for axis in axes
    }


_STEP = {
    "loss": MetricInfo(
        label="Training loss",
        of="step",
        doc="What training makes small, of one batch; it jumps, its trend counts.",
    ),
    "gradient_norm": MetricInfo(
        label="Gradient norm", of="step", doc="Size of the gradient before it is clipped."
    ),
    "learning_rate": MetricInfo(
        label="Learning rate", of="step", doc="Size of the steps of the weights."
    ),
    "samples_per_s": MetricInfo(
        label="Speed",
        unit="1/s",
        of="step",
        doc="Simulated samples per second since the start, without pauses.",
    ),
    "simulation_share": MetricInfo(
        label="Time spent simulating",
        of="step",
        doc="Part of the time that goes into simulating frames rather than learning.",
    ),
    "elapsed_s": MetricInfo(
        label="Time",
        unit="s",
        of="step",
        doc="Working time since the start, without pauses; every report has it, validations too.",
    ),
}

_VALIDATION = {
    "validation_loss": MetricInfo(
        label="Validation loss",
        of="validation",
        doc="The loss on frames that the network has not learnt from.",
    ),
    "jaccard": MetricInfo(
        label="Jaccard index",
        of="validation",
        best=1.0,
        doc="Molecules found, over those found, missed and invented together.",
    ),
    "precision": MetricInfo(
        label="Precision",
        of="validation",
        best=1.0,
        doc="Part of the localizations that are real molecules.",
    ),
    "recall": MetricInfo(
        label="Recall", of="validation", best=1.0, doc="Part of the molecules that are found."
    ),
    "rmse_lateral_nm": MetricInfo(
        label="Lateral error",
        unit="nm",
        of="validation",
        doc="Root mean square distance in x and y of found molecules from the truth.",
    ),
    "rmse_axial_nm": MetricInfo(
        label="Axial error",
        unit="nm",
        of="validation",
        doc="Root mean square distance in z of found molecules from the truth.",
    ),
    "efficiency_lateral": MetricInfo(
        label="Lateral efficiency",
        of="validation",
        best=1.0,
        doc="Jaccard index and lateral error in one score (SMLM challenge 2016).",
    ),
    "efficiency_axial": MetricInfo(
        label="Axial efficiency",
        of="validation",
        best=1.0,
        doc="Jaccard index and axial error in one score (SMLM challenge 2016).",
    ),
    "efficiency_3d": MetricInfo(
        label="3D efficiency",
        of="validation",
        best=1.0,
        doc="Mean of the lateral and the axial efficiency; the best model is chosen by it "
        "(in 2D by the lateral one).",
    ),
    "photons_ratio": MetricInfo(
        label="Photons, estimated over true",
        of="validation",
        best=1.0,
        doc="Median of estimated over true photons.",
    ),
    **_axes(
        "z_score",
        "Error over stated uncertainty,",
        "Standard deviation of error over the stated sigma; above 1 the sigmas are too small",
        best=1.0,
    ),
    **_axes(
        "rmse_over_crlb",
        "Error over the limit,",
        "Root mean square error over the Cramér-Rao bound, the best that any method could do "
        "with a molecule that is alone; dense frames stay above 1",
        best=1.0,
    ),
    **_axes(
        "rmse_over_crlb_robust",
        "Typical error over the limit,",
        "The same from the median error, which rare gross errors do not change",
        best=1.0,
    ),
}

_LOCALIZE = {
    "frames_per_s": MetricInfo(
        label="Speed", unit="1/s", of="localize", doc="Frames per second since the start."
    ),
    "localizations": MetricInfo(
        label="Localizations", of="localize", doc="Molecules found so far."
    ),
}

METRICS: Mapping[str, MetricInfo] = {**_STEP, **_VALIDATION, **_LOCALIZE}
