"""Scores of localizations against the truth, by the rules of the SMLM challenge 2016.

Definitions (Sage et al. 2019, doi:10.1038/s41592-019-0364-4), with TP the number of pairs,
FP of unmatched localizations, FN of unmatched emitters:

- Jaccard index ``J = TP / (TP + FP + FN)``, precision ``TP / (TP + FP)``, recall
  ``TP / (TP + FN)``;
- ``RMSE_lateral = sqrt(mean(dx² + dy²))``, ``RMSE_axial = sqrt(mean(dz²))`` over the pairs;
- efficiency ``E = 1 - sqrt((1 - J)² + (alpha RMSE / 100)²)`` with ``alpha = 1 /nm`` laterally
  and ``0.5 /nm`` axially; ``E_3D`` is the mean of the two. It is 1 at best and may be negative.

Border rule: emitters and localizations in the border zone are removed before matching.
Photon rule: emitters at or below the threshold take part in the matching; afterwards they and
the localizations paired with them are removed from all counts.

Quantities that do not exist (a precision without localizations, an RMSE without pairs) are NaN.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.analysis.matching import Index, Points, match
from decode_engine.contract.configs import EvaluateConfig
from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.domain.table import BoolArray
from decode_engine.errors import ConfigError

__all__ = [
    "ALPHA_AXIAL_PER_NM",
    "ALPHA_LATERAL_PER_NM",
    "CrlbRatio",
    "Evaluation",
    "Judgement",
    "efficiency",
    "evaluate",
    "judge",
    "rmse_over_crlb",
    "score",
]

ALPHA_LATERAL_PER_NM = 1.0
ALPHA_AXIAL_PER_NM = 0.5
_MAD_TO_SIGMA = 1.482602218505602  # 1 / Φ⁻¹(3/4): median absolute deviation of a Gaussian


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Who was judged and who belongs to whom; rows refer to the tables that were given.

    Attributes
    ----------
    truth_index, estimate_index : (M,) int64
        The counted pairs (TP).
    truth_judged : (N_truth,) bool
        Emitters that count (TP + FN).
    estimate_judged : (N_estimate,) bool
        Localizations that count (TP + FP).
    two_dimensional : bool
        z was ignored: asked for, or one of the tables has no z at all.
    """

    truth_index: Index
    estimate_index: Index
    truth_judged: BoolArray
    estimate_judged: BoolArray
    two_dimensional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Scores; fractions run from 0 to 1, lengths are in nm, differences are estimate - truth.

    ``z_score_*`` is the standard deviation of error / sigma (1 = honest sigmas, above 1 = sigmas
    too small), ``z_score_robust_*`` the same from the median absolute deviation; NaN where the
    localizations carry no sigma. ``photons_ratio`` is the median of estimated over true photons.
    """

    jaccard: float
    precision: float
    recall: float
    f1: float
    rmse_lateral_nm: float
    rmse_axial_nm: float
    efficiency_lateral: float
    efficiency_axial: float
    efficiency_3d: float
    n_truth: int
    n_localizations: int
    n_matched: int
    n_truth_not_judged: int
    n_localizations_not_judged: int
    two_dimensional: bool
    bias_x_nm: float
    bias_y_nm: float
    bias_z_nm: float
    photons_ratio: float
    z_score_x: float
    z_score_y: float
    z_score_z: float
    z_score_photons: float
    z_score_robust_x: float
    z_score_robust_y: float
    z_score_robust_z: float
    z_score_robust_photons: float

    def as_dict(self) -> dict[str, float | int | bool]:
        """Return the scores by name."""
        return dataclasses.asdict(self)


def evaluate(truth: Emitters, estimate: Localizations, config: EvaluateConfig) -> Evaluation:
    """Match localizations with the truth and score them.

    Parameters
    ----------
    truth : Emitters
        True emitters, one row for each frame in which one is on.
    estimate : Localizations
        Estimates; a row without z counts as wrong unless no row has one (2D).
    config : EvaluateConfig
        Tolerances, border and photon rule.
    """
    return score(truth, estimate, judge(truth, estimate, config))


def judge(truth: Emitters, estimate: Localizations, config: EvaluateConfig) -> Judgement:
    """Apply the border rule, match, then apply the photon rule."""
    flat = config.two_dimensional or _without_z(truth) or _without_z(estimate)
    truth_judged, estimate_judged = _inside_border(truth, estimate, config)
    truth_rows, estimate_rows = np.flatnonzero(truth_judged), np.flatnonzero(estimate_judged)
    pairs = match(
        _points(truth, truth_rows),
        _points(estimate, estimate_rows),
        tolerance_lateral_nm=config.tolerance_lateral_nm,
        tolerance_axial_nm=None if flat else config.tolerance_axial_nm,
        method=config.matching,
    )
    truth_index = truth_rows[pairs.truth_index]
    estimate_index = estimate_rows[pairs.estimate_index]
    dim = _dim(truth, config)
    pair_is_dim = dim[truth_index]
    estimate_judged[estimate_index[pair_is_dim]] = False
    return Judgement(
        truth_index=truth_index[~pair_is_dim],
        estimate_index=estimate_index[~pair_is_dim],
        truth_judged=truth_judged & ~dim,
        estimate_judged=estimate_judged,
        two_dimensional=flat,
    )


def score(truth: Emitters, estimate: Localizations, judgement: Judgement) -> Evaluation:
    """Turn a judgement into numbers."""
    t, e = judgement.truth_index, judgement.estimate_index
    n_truth = int(judgement.truth_judged.sum())
    n_localizations = int(judgement.estimate_judged.sum())
    flat = judgement.two_dimensional
    jaccard = _ratio(t.size, n_truth + n_localizations - t.size)
    dx, dy, dz, dn = (
        getattr(estimate, name)[e].astype(np.float64) - getattr(truth, name)[t]
        for name in ("x_nm", "y_nm", "z_nm", "photons")
    )
    if flat:
        dz = np.full(t.size, np.nan)
    rmse_lateral, rmse_axial = _rms(np.hypot(dx, dy)), _rms(dz)
    lateral = efficiency(jaccard, rmse_lateral, ALPHA_LATERAL_PER_NM)
    axial = efficiency(jaccard, rmse_axial, ALPHA_AXIAL_PER_NM)
    with np.errstate(divide="ignore", invalid="ignore"):
        photons_ratio = estimate.photons[e].astype(np.float64) / truth.photons[t]
    return Evaluation(
        jaccard=jaccard,
        precision=_ratio(t.size, n_localizations),
        recall=_ratio(t.size, n_truth),
        f1=_ratio(2 * t.size, n_truth + n_localizations),
        rmse_lateral_nm=rmse_lateral,
        rmse_axial_nm=rmse_axial,
        efficiency_lateral=lateral,
        efficiency_axial=axial,
        efficiency_3d=0.5 * (lateral + axial),
        n_truth=n_truth,
        n_localizations=n_localizations,
        n_matched=int(t.size),
        n_truth_not_judged=len(truth) - n_truth,
        n_localizations_not_judged=len(estimate) - n_localizations,
        two_dimensional=flat,
        bias_x_nm=_mean(dx),
        bias_y_nm=_mean(dy),
        bias_z_nm=_mean(dz),
        photons_ratio=float(np.median(photons_ratio)) if t.size else math.nan,
        **_z_scores(estimate, e, {"x": dx, "y": dy, "z": dz, "photons": dn}),
    )


def efficiency(jaccard: float, rmse_nm: float, alpha_per_nm: float) -> float:
    """Return ``E = 1 - sqrt((1 - J)² + (alpha RMSE / 100)²)``, a fraction.

    Parameters
    ----------
    jaccard : float
        Jaccard index, 0 to 1.
    rmse_nm : float, nm
        Root mean square error of the pairs.
    alpha_per_nm : float, 1/nm
        Price of an error, in percent for each nm: 1 laterally, 0.5 axially.
    """
    return 1.0 - math.hypot(1.0 - jaccard, alpha_per_nm * rmse_nm / 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlbRatio:
    """How close errors come to their Cramér-Rao bounds (1 = at the bound).

    Attributes
    ----------
    rms : float
        ``sqrt(mean((error / bound)²))``: every emitter counts the same.
    robust : float
        1.4826 median(abs(error - median(error)) / bound): blind to outliers and to a bias.
    n : int
        Finite pairs that were used.
    """

    rms: float
    robust: float
    n: int


def rmse_over_crlb(error: NDArray[Any], crlb_std: NDArray[Any]) -> CrlbRatio:
    """Compare errors with the square roots of their Cramér-Rao bounds.

    Parameters
    ----------
    error : (N,) float
        Estimate minus truth.
    crlb_std : (N,) float, unit of ``error``
        Smallest possible standard deviation (not variance) of each; rows where it is not
        positive and finite are left out.
    """
    errors, bounds = np.asarray(error, np.float64), np.asarray(crlb_std, np.float64)
    used = np.isfinite(errors) & np.isfinite(bounds) & (bounds > 0)
    if not used.any():
        return CrlbRatio(rms=math.nan, robust=math.nan, n=0)
    centred = errors[used] - np.median(errors[used])
    return CrlbRatio(
        rms=_rms(errors[used] / bounds[used]),
        robust=float(_MAD_TO_SIGMA * np.median(np.abs(centred) / bounds[used])),
        n=int(used.sum()),
    )


def _without_z(table: Emitters | Localizations) -> bool:
    return len(table) > 0 and bool(np.isnan(table.z_nm).all())


def _points(table: Emitters | Localizations, rows: Index) -> Points:
    return Points(
        frame=table.frame[rows],
        x_nm=table.x_nm[rows],
        y_nm=table.y_nm[rows],
        z_nm=table.z_nm[rows],
    )


def _inside_border(
    truth: Emitters, estimate: Localizations, config: EvaluateConfig
) -> tuple[BoolArray, BoolArray]:
    """Return which rows of the two tables lie in the field less its border."""
    everywhere = config.field_nm is None and config.border_nm == 0
    reference = truth if len(truth) else estimate
    if everywhere or not len(reference):
        return np.ones(len(truth), np.bool_), np.ones(len(estimate), np.bool_)
    left, top, right, bottom = config.field_nm or (
        float(np.nanmin(reference.x_nm)),
        float(np.nanmin(reference.y_nm)),
        float(np.nanmax(reference.x_nm)),
        float(np.nanmax(reference.y_nm)),
    )
    border = config.border_nm
    if not (right - left > 2 * border and bottom - top > 2 * border):
        raise ConfigError(
            f"Nothing is left of the field {left:g},{top:g},{right:g},{bottom:g} nm less a border "
            f"of {border:g} nm.",
            hint="Give left, top, right, bottom with right > left and bottom > top, and a "
            "narrower border.",
        )
    truth_inside, estimate_inside = (
        (table.x_nm >= left + border)
        & (table.x_nm <= right - border)
        & (table.y_nm >= top + border)
        & (table.y_nm <= bottom - border)
        for table in (truth, estimate)
    )
    return truth_inside, estimate_inside


def _dim(truth: Emitters, config: EvaluateConfig) -> BoolArray:
    """Return the emitters that the photon rule removes (the higher threshold counts)."""
    thresholds = [] if config.min_photons is None else [config.min_photons]
    if config.min_photons_quantile is not None and len(truth):
        # Of all true emitters of the data set, those in the border zone included.
        thresholds.append(float(np.quantile(truth.photons, config.min_photons_quantile)))
    if not thresholds:
        return np.zeros(len(truth), np.bool_)
    return np.less_equal(truth.photons, max(thresholds))


def _z_scores(
    estimate: Localizations, rows: Index, errors: dict[str, NDArray[np.float64]]
) -> dict[str, float]:
    scores = {}
    columns = {"x": "sigma_x_nm", "y": "sigma_y_nm", "z": "sigma_z_nm", "photons": "sigma_photons"}
    for name, error in errors.items():
        sigma = getattr(estimate, columns[name])
        normal = np.empty(0)
        if sigma is not None:
            used = np.isfinite(error) & np.isfinite(sigma[rows]) & (sigma[rows] > 0)
            normal = error[used] / sigma[rows][used]
        centred = np.abs(normal - np.median(normal)) if normal.size else normal
        scores[f"z_score_{name}"] = float(np.std(normal)) if normal.size else math.nan
        scores[f"z_score_robust_{name}"] = (
            float(_MAD_TO_SIGMA * np.median(centred)) if normal.size else math.nan
        )
    return scores


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _rms(values: NDArray[np.float64]) -> float:
    return math.sqrt(float(np.mean(values**2))) if values.size else math.nan


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.mean(values)) if values.size else math.nan
