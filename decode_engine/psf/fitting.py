"""Maximum-likelihood fit of isolated emitters: batched Levenberg-Marquardt.

The log-likelihood is Poisson's, with the camera's variance ``F mu + r`` matched in its first
two moments: data and model are divided by F and ``r / F^2`` is added to both (Huang et al. 2013,
doi 10.1038/nmeth.2488, for r; an EMCCD's F = 2 as in Mortensen et al. 2010,
doi 10.1038/nmeth.1447), so mean and variance of what is compared are equal. Photons,
background and uncertainties come out in photons; no factor is left to undo.

Each step solves the normal equations with the Fisher information in place of the Hessian
(scoring). It is positive semi-definite whatever the data, and at the end it is the bound.

A fixed number of windows is in work at any time: those that are done make room for the next,
so the batch stays dense although some fits take five steps and some thirty.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from decode_engine.domain.localizations import LocalizationFlag
from decode_engine.errors import ConfigError
from decode_engine.psf.base import PsfModel
from decode_engine.psf.fisher import jacobian
from decode_engine.psf.normal_equations import inverse_diagonal, solve

__all__ = ["FitOptions", "FitStart", "MleResult", "fit_emitters"]

# Columns of the parameters; z is last so that a 2D fit simply lacks it.
_X, _Y, _PHOTONS, _BACKGROUND, _Z = range(5)
_FIRST_DAMPING = 0.01
_LEAST_DAMPING = 1e-4
_MOST_DAMPING = 1e7
_SMALLEST_MEAN = 1e-2  # photons; below, one stray photon would rule the likelihood
_LARGEST_STEP_PX = 1.0
_LARGEST_STEP_NM = 250.0
_SEARCH_STEP_NM = 150.0
_FEWEST_PHOTONS = 10.0  # to start from; with fewer, nothing pulls at the position
_WORK_CPU = 2048  # keeps the Jacobians of a step near the cache
_WORK_GPU = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How to fit.

    Parameters
    ----------
    max_iterations : int
        Evaluations of the model after which a fit is given up (`NOT_CONVERGED`).
    z_starts_nm : tuple of float or None
        Each emitter is fitted from each of these; the likeliest fit is kept. 3D only. None
        compares the window with the PSF every 150 nm and starts once, from the most alike.
    tolerance_sigma : float
        A fit has converged when the next step is shorter than this many standard deviations.
    max_shift_px : float or None
        x and y stay within this distance of their start; a quarter of the window when None.
    excess_noise : float
        F of the variance ``F mu + r`` (see `psf.fisher.noise_terms`).
    """

    max_iterations: int = 50
    z_starts_nm: tuple[float, ...] | None = None
    tolerance_sigma: float = 0.01
    max_shift_px: float | None = None
    excess_noise: float = 1.0


@dataclass(frozen=True, slots=True)
class FitStart:
    """Where to look: positions relative to the window's centre, (K,) float, px."""

    x_px: Tensor
    y_px: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class MleResult:
    """Fits of K windows, all (K,); positions are relative to the window's central pixel.

    ``sigma_*`` are Cramér-Rao bounds at the estimate; ``z_nm`` and ``sigma_z_nm`` are NaN in 2D.
    ``log_likelihood`` is the log ratio to a saturated model (0 = perfect, always <= 0; about
    minus half the number of pixels where the model is right). ``flags`` are bits of
    `LocalizationFlag`.
    """

    x_px: Tensor
    y_px: Tensor
    z_nm: Tensor
    photons: Tensor
    background: Tensor
    sigma_x_px: Tensor
    sigma_y_px: Tensor
    sigma_z_nm: Tensor
    sigma_photons: Tensor
    sigma_background: Tensor
    log_likelihood: Tensor
    iterations: Tensor
    flags: Tensor


def fit_emitters(
    psf: PsfModel,
    rois: Tensor,
    *,
    read_variance: float | Tensor = 0.0,
    start: FitStart | None = None,
    options: FitOptions | None = None,
) -> MleResult:
    """Fit position, photons and background of one emitter in each window.

    Parameters
    ----------
    psf : PsfModel
    rois : (K, R, R) float, photons
        R odd. Values may be negative (noise around the offset).
    read_variance : float or (K, R, R) float, photon^2
        r of the variance ``F mu + r``.
    start : FitStart or None
        Starting positions; the windows' centroids when None.
    options : FitOptions or None

    Returns
    -------
    MleResult
        On the device and with the dtype of the PSF.
    """
    options = options or FitOptions()
    problem = _prepare(psf, rois, read_variance, options)
    start = start if start is not None else _centroids(problem.rois)
    jobs = _first_guess(problem, start, options)
    fits = _Fits.empty(jobs)
    capacity = _WORK_CPU if psf.device.type == "cpu" else _WORK_GPU
    work, taken = _take(problem, jobs, 0, capacity)
    while work.job.shape[0] > 0:
        _advance(work, problem, options)
        number_done = int(work.done.sum())
        waiting = len(jobs) - taken
        if number_done == 0 or (waiting > 0 and number_done * 4 < work.job.shape[0]):
            continue  # a few idle entries are cheaper than moving all the others
        fits.store(work)
        space = capacity - work.job.shape[0] + number_done
        added, taken = _take(problem, jobs, taken, space)
        work = work.joined(~work.done, added)
    return _best_starts(fits, problem, options)


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is fitted: windows in photons, and what the likelihood compares."""

    psf: PsfModel
    rois: Tensor  # (K, R, R)
    data: Tensor  # (K, R * R), rois / F + r / F^2, not negative
    shift: Tensor  # (K or 1, R * R or 1), r / F^2
    excess_noise: float
    z_starts_nm: tuple[float, ...]
    search_z: bool  # start once, at the best of z_starts_nm, rather than from each

    @property
    def roi_px(self) -> int:
        return int(self.rois.shape[1])


@dataclass(frozen=True, slots=True)
class _Jobs:
    """First parameters and bounds of all fits; windows times z starts, z fastest, (J, P)."""

    first: Tensor
    low: Tensor
    high: Tensor

    def __len__(self) -> int:
        return int(self.first.shape[0])


@dataclass(slots=True)
class _Work:
    """State of the fits under way; every tensor starts with the same axis (n)."""

    job: Tensor
    data: Tensor
    shift: Tensor
    low: Tensor
    high: Tensor
    parameters: Tensor  # the best so far, (n, P)
    trial: Tensor  # to be evaluated next, (n, P)
    cost: Tensor  # minus the log-likelihood ratio at `parameters`
    information: Tensor  # (n, P, P) at `parameters`
    score: Tensor  # (n, P), derivative of the log-likelihood at `parameters`
    promised: Tensor  # by how much the trial should lower the cost if the model were linear
    damping: Tensor
    iterations: Tensor
    converged: Tensor
    done: Tensor

    def joined(self, keep: Tensor, added: _Work) -> _Work:
        """Return the kept entries followed by the added ones."""
        pairs = ((getattr(self, n), getattr(added, n)) for n in self.__slots__)
        return _Work(*(torch.cat([old[keep], new]) for old, new in pairs))


@dataclass(frozen=True, slots=True)
class _Fits:
    """Results by job."""

    parameters: Tensor
    cost: Tensor
    information: Tensor
    iterations: Tensor
    converged: Tensor

    @classmethod
    def empty(cls, jobs: _Jobs) -> _Fits:
        first = jobs.first
        number, size = first.shape
        return cls(
            parameters=first.clone(),
            cost=first.new_full((number,), torch.inf),
            information=first.new_zeros((number, size, size)),
            iterations=torch.zeros(number, dtype=torch.int32, device=first.device),
            converged=torch.zeros(number, dtype=torch.bool, device=first.device),
        )

    def store(self, work: _Work) -> None:
        """Copy what is done."""
        rows = work.job[work.done]
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(work, name)[work.done]


def _prepare(
    psf: PsfModel, rois: Tensor, read_variance: float | Tensor, options: FitOptions
) -> _Problem:
    if rois.ndim != 3 or rois.shape[1] != rois.shape[2] or rois.shape[1] % 2 == 0:
        raise ConfigError(
            f"Windows to fit must be square and odd, not {tuple(rois.shape[1:])} px.",
            hint="Use a width such as 11, 13 or 15 px.",
        )
    excess = options.excess_noise
    rois = rois.to(device=psf.device, dtype=psf.dtype)
    shift = torch.as_tensor(read_variance, device=psf.device, dtype=psf.dtype) / excess**2
    shift = shift.reshape(1, 1) if shift.ndim == 0 else shift.flatten(1)
    return _Problem(
        psf=psf,
        rois=rois,
        data=(rois.flatten(1) / excess + shift).clamp(min=0),
        shift=shift,
        excess_noise=excess,
        z_starts_nm=_z_starts(psf, options),
        search_z=psf.is_3d and options.z_starts_nm is None,
    )


def _z_starts(psf: PsfModel, options: FitOptions) -> tuple[float, ...]:
    if not psf.is_3d:
        return (0.0,)
    low, high = psf.z_range_nm
    if options.z_starts_nm is None:
        number = max(3, round((high - low) / _SEARCH_STEP_NM))
        return tuple(low + (high - low) * (i + 0.5) / number for i in range(number))
    if not options.z_starts_nm:
        raise ConfigError("No start value of z is given.", hint="Give at least one, usually 0.")
    return tuple(min(max(z, low), high) for z in options.z_starts_nm)


def _centroids(rois: Tensor) -> FitStart:
    """Centroid of the squared signal: the square lets the core outweigh noise and neighbours."""
    half = rois.shape[1] // 2
    steps = torch.arange(-half, half + 1, device=rois.device, dtype=rois.dtype)
    weight = (rois - _border_background(rois)[:, None, None]).clamp(min=0) ** 2
    total = weight.sum((1, 2)).clamp(min=1e-6)
    return FitStart(
        x_px=(weight.sum(1) @ steps) / total,
        y_px=(weight.sum(2) @ steps) / total,
    )


def _border_background(rois: Tensor) -> Tensor:
    """Mean of the darkest side of each window, (K,): an elongated spot spares two sides."""
    sides = torch.stack([rois[:, 0], rois[:, -1], rois[:, :, 0], rois[:, :, -1]], dim=1)
    return sides.mean(2).amin(1)


def _first_guess(problem: _Problem, start: FitStart, options: FitOptions) -> _Jobs:
    psf = problem.psf
    reach_px = options.max_shift_px if options.max_shift_px is not None else problem.roi_px / 4
    x_px = start.x_px.to(device=psf.device, dtype=psf.dtype)
    y_px = start.y_px.to(device=psf.device, dtype=psf.dtype)
    guesses = torch.stack(
        [_linear_guess(problem, x_px, y_px, z_nm) for z_nm in problem.z_starts_nm], dim=1
    )  # (K, S, 4)
    if problem.search_z:
        best = guesses[:, :, 0].argmax(1)
        guesses = guesses[torch.arange(best.shape[0], device=best.device), best][:, None]
    number = guesses.shape[1]
    _, photons, background, z_nm = guesses.flatten(0, 1).unbind(1)
    x_px, y_px = x_px.repeat_interleave(number), y_px.repeat_interleave(number)
    one, infinite = torch.ones_like(photons), torch.full_like(photons, torch.inf)
    first = [x_px, y_px, photons, background]
    low = [x_px - reach_px, y_px - reach_px, one, one * _SMALLEST_MEAN]
    high = [x_px + reach_px, y_px + reach_px, infinite, infinite]
    if psf.is_3d:
        z_low, z_high = psf.z_range_nm
        first, low, high = [*first, z_nm], [*low, one * z_low], [*high, one * z_high]
    return _Jobs(
        first=torch.stack(first, dim=1), low=torch.stack(low, dim=1), high=torch.stack(high, dim=1)
    )


def _linear_guess(problem: _Problem, x_px: Tensor, y_px: Tensor, z_nm: float) -> Tensor:
    """Least squares for what the model is linear in, given x, y and z.

    Returns (K, 4): the correlation of window and PSF, photons, background, and z again.
    """
    z_all = torch.full_like(x_px, z_nm)
    shape = problem.psf.value(x_px, y_px, z_all, problem.roi_px).flatten(1)
    window = problem.rois.flatten(1)
    centred = shape - shape.mean(1, keepdim=True)
    power = (centred * centred).sum(1).clamp(min=1e-12)
    product = (centred * window).sum(1)
    photons = (product / power).clamp(min=_FEWEST_PHOTONS)
    background = (window.mean(1) - photons * shape.mean(1)).clamp(min=_SMALLEST_MEAN)
    return torch.stack([product * torch.rsqrt(power), photons, background, z_all], dim=1)


def _take(problem: _Problem, jobs: _Jobs, taken: int, space: int) -> tuple[_Work, int]:
    """Start up to `space` of the jobs that wait; return them and how many have been taken."""
    rows = slice(taken, min(taken + space, len(jobs)))
    first = jobs.first[rows]
    number, size = first.shape
    job = torch.arange(rows.start, rows.start + number, device=first.device)
    window = job // max(1, len(jobs) // max(1, problem.rois.shape[0]))
    shift = problem.shift if problem.shift.shape[0] == 1 else problem.shift[window]
    flag = torch.zeros(number, dtype=torch.bool, device=first.device)
    work = _Work(
        job=job,
        data=problem.data[window],
        shift=shift.expand(number, -1),
        low=jobs.low[rows],
        high=jobs.high[rows],
        parameters=first,
        trial=first,
        cost=first.new_full((number,), torch.inf),
        information=first.new_zeros((number, size, size)),
        score=torch.zeros_like(first),
        promised=first.new_full((number,), torch.inf),
        damping=first.new_full((number,), _FIRST_DAMPING),
        iterations=torch.zeros(number, dtype=torch.int32, device=first.device),
        converged=flag,
        done=flag.clone(),
    )
    return work, rows.start + number


@torch.no_grad()
def _advance(work: _Work, problem: _Problem, options: FitOptions) -> None:
    """Evaluate the trial parameters, keep them where they are likelier, and try the next."""
    cost, information, score = _evaluate(work, problem)
    # Rounding of a sum of hundreds of terms must not make a good last step look bad.
    better = (cost <= work.cost * (1 + 1e-6) + 1e-4) & ~work.done
    work.iterations += (~work.done).to(torch.int32)
    work.damping = _next_damping(work, cost, better)
    work.parameters = torch.where(better[:, None], work.trial, work.parameters)
    work.cost = torch.where(better, cost, work.cost)
    work.information = torch.where(better[:, None, None], information, work.information)
    work.score = torch.where(better[:, None], score, work.score)
    step = _bounded_step(work)
    squared_length = torch.einsum("ki,kij,kj->k", step, work.information, step)
    # Length of the undamped step in standard deviations, squared.
    left = squared_length * (1 + work.damping) ** 2
    converged = better & (left < options.tolerance_sigma**2)
    trial = _limited(work.parameters, step).clamp(min=work.low, max=work.high)
    work.trial = torch.where(work.done[:, None], work.trial, trial)
    work.promised = (step * work.score).sum(1) - 0.5 * squared_length
    # The last step is taken without another evaluation: it is far below the uncertainty.
    work.parameters = torch.where(converged[:, None], work.trial, work.parameters)
    work.converged |= converged
    given_up = (work.iterations >= options.max_iterations) | (work.damping > _MOST_DAMPING)
    work.done |= converged | given_up


def _bounded_step(work: _Work) -> Tensor:
    """Solve for the step; parameters that would cross a bound go to it and the rest follow."""
    frozen = (work.parameters <= work.low) & (work.score < 0)
    frozen |= (work.parameters >= work.high) & (work.score > 0)
    step = solve(work.information, work.score, damping=work.damping, frozen=frozen)
    to_low, to_high = work.low - work.parameters, work.high - work.parameters
    crossing = (step < to_low) | (step > to_high)
    if not bool(crossing.any()):
        return step
    fixed = torch.where(crossing, step.clamp(min=to_low, max=to_high), 0)
    right = work.score - torch.bmm(work.information, fixed[:, :, None])[:, :, 0]
    rest = solve(work.information, right, damping=work.damping, frozen=frozen | crossing)
    return fixed + rest


def _next_damping(work: _Work, cost: Tensor, better: Tensor) -> Tensor:
    """Damp more where the cost fell by less than promised, and less where it fell as promised.

    The Fisher information leaves out the curvature of the model. Where that matters, plain
    scoring jumps to and fro across the optimum for ever; halving the step ends it. (Nielsen
    1999, Damping parameter in Marquardt's method, IMM-REP-1999-05.)
    """
    gain = torch.where(torch.isfinite(work.cost), (work.cost - cost) / work.promised, 0.5)
    factor = (1 - (2 * gain - 1) ** 3).clamp(min=0.1, max=4.0)
    damping = work.damping * torch.where(better, factor, 10.0)
    return damping.clamp(min=_LEAST_DAMPING)


def _evaluate(work: _Work, problem: _Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Return cost (n,), Fisher information (n, P, P) and score (n, P) of the trial."""
    psf, excess = problem.psf, problem.excess_noise
    trial = work.trial
    z_nm = trial[:, _Z] if psf.is_3d else torch.zeros_like(trial[:, 0])
    gradient = psf.value_and_gradient(trial[:, _X], trial[:, _Y], z_nm, problem.roi_px)
    derivatives = jacobian(gradient, trial[:, _PHOTONS], is_3d=psf.is_3d)  # (n, P, R * R)
    mean = torch.addcmul(
        trial[:, _BACKGROUND, None], derivatives[:, _PHOTONS], trial[:, _PHOTONS, None]
    )
    if excess != 1:
        mean, derivatives = mean / excess, derivatives / excess
    mean = (mean + work.shift).clamp_(min=_SMALLEST_MEAN)
    weight = mean.reciprocal()
    relative = work.data * weight
    score = torch.bmm(derivatives, (relative - 1)[:, :, None])[:, :, 0]
    information = torch.bmm(derivatives * weight[:, None], derivatives.transpose(1, 2))
    return _deviance(work.data, mean).sum(1), information, score


def _deviance(data: Tensor, mean: Tensor) -> Tensor:
    """Return ``mean - data + data log(data / mean)``, without cancellation near data = mean."""
    excess = (mean - data) / data
    return torch.where(data > 0, data * (excess - torch.log1p(excess)), mean)


def _limited(parameters: Tensor, step: Tensor) -> Tensor:
    """Add the step, but not more at a time than the model is likely to hold for."""
    largest = torch.full_like(step, torch.inf)
    largest[:, _X] = _LARGEST_STEP_PX
    largest[:, _Y] = _LARGEST_STEP_PX
    largest[:, _PHOTONS] = parameters[:, _PHOTONS]
    if step.shape[1] > _Z:
        largest[:, _Z] = _LARGEST_STEP_NM
    moved = parameters + step.clamp(min=-largest, max=largest)
    moved[:, _PHOTONS] = torch.maximum(moved[:, _PHOTONS], 0.2 * parameters[:, _PHOTONS])
    return moved


def _best_starts(fits: _Fits, problem: _Problem, options: FitOptions) -> MleResult:
    """Choose the likeliest of each window's fits and put the answer together."""
    number = problem.rois.shape[0]
    starts = fits.cost.shape[0] // max(1, number)
    best = torch.arange(number, device=fits.cost.device) * starts
    if starts > 1 and number:
        best = best + fits.cost.view(number, starts).argmin(1)
    parameters = fits.parameters[best]
    sigma = inverse_diagonal(fits.information[best]).sqrt()
    nothing = torch.full_like(parameters[:, 0], torch.nan)
    is_3d = problem.psf.is_3d
    flags = torch.where(fits.converged[best], 0, LocalizationFlag.NOT_CONVERGED)
    if is_3d:
        low, high = problem.psf.z_range_nm
        margin = 1e-4 * (high - low)
        z = parameters[:, _Z]
        limit = (z <= low + margin) | (z >= high - margin)
        flags = flags | torch.where(limit, LocalizationFlag.Z_AT_LIMIT, 0)
    return MleResult(
        x_px=parameters[:, _X],
        y_px=parameters[:, _Y],
        z_nm=parameters[:, _Z] if is_3d else nothing,
        photons=parameters[:, _PHOTONS],
        background=parameters[:, _BACKGROUND],
        sigma_x_px=sigma[:, _X],
        sigma_y_px=sigma[:, _Y],
        sigma_z_nm=sigma[:, _Z] if is_3d else nothing,
        sigma_photons=sigma[:, _PHOTONS],
        sigma_background=sigma[:, _BACKGROUND],
        log_likelihood=-fits.cost[best],
        iterations=fits.iterations[best],
        flags=flags,
    )
