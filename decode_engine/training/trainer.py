"""The training loop: step, validate, checkpoint, report; survives kills, NaN and divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from decode_engine.contract.configs import TrainingConfig
from decode_engine.errors import (
    CancelledError,
    DivergedError,
    RunError,
)
from decode_engine.io.checkpoints import Checkpoint, read_latest_checkpoint, write_checkpoint
from decode_engine.io.training_sample import TrainingSample
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.device import autocast_dtype
from decode_engine.network.scaling import NetworkScaling
from decode_engine.training.checkpoint import (
    Progress,
    load_moments,
    load_weights,
    moments,
    weights,
)
from decode_engine.training.distributed import Ranks
from decode_engine.training.ema import WeightAverage
from decode_engine.training.muon import MuonAdamW
from decode_engine.training.parallel import GradientWorkers
from decode_engine.training.same_run import differences, require_same_run
from decode_engine.training.schedule import Budget, learning_rate_factor
from decode_engine.training.stream import TrainingStream, named_generator
from decode_engine.training.validation import ValidationResult, Validator

__all__ = ["Trainer", "TrainingContext", "TrainingParts"]

_VALIDATIONS_PER_RUN = 20
_SKIPS_BEFORE_ROLLBACK = 5
_MAX_ROLLBACKS = 4
# Reports follow each other by this, or by a share of the time so far: the curve of a short run
# has points, that of a long one stays small.
_METRIC_EVERY_S = 1.0
_METRIC_EVERY_SHARE = 1 / 500


class TrainingContext(Protocol):
    """What the trainer needs of the job's context."""

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds from any start, never going back."""
        ...

    @property
    def finishing(self) -> bool:
        """Whether the run should end now and keep its best weights."""
        ...

    def check(self) -> None:
        """Wait while paused; raise `CancelledError` when cancelled."""
        ...

    def progress(
        self, done: float, total: float, unit: str = "", eta_s: float | None = None
    ) -> None:
        """Say how far the run is."""
        ...

    def metric(self, step: int, values: dict[str, float]) -> None:
        """Report numbers of a step."""
        ...

    def log(self, text: str, level: str = "info") -> None:
        """Say something in words."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingParts:
    """What a training is made of.

    Attributes
    ----------
    network, stream, validator, scaling
    folder : Path
        Of the checkpoints.
    workers : int
        Threads (`GradientWorkers`).
    cpu_clock : callable
        Processor time of all threads, for the record.
    inputs : mapping
        Identities by name of what the run is made from (calibration, camera, ...); an unfinished
        run of other ones is not resumed.
    machine : mapping
        What changes rounding (threads, versions, ...); resuming with other ones is warned about.
    on_sample : callable
        Takes some frames of each validation with truth and prediction.
    ranks : Ranks
        Processes that share each batch; only the first one writes and speaks.
    """

    network: LocalizationNetwork
    stream: TrainingStream
    validator: Validator
    scaling: NetworkScaling
    folder: Path
    workers: int = 1
    cpu_clock: Callable[[], float] = time.process_time
    inputs: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    on_sample: Callable[[TrainingSample], None] | None = None
    ranks: Ranks = field(default_factory=Ranks)


class Trainer:
    """Trains a network within its budget; `run` returns when it is used up.

    Parameters
    ----------
    parts : TrainingParts
        Network (with its initial weights, random or of another model), simulated stream,
        validator, scaling, and the folder of the checkpoints.
    config : TrainingConfig
    context : TrainingContext
    resume : bool
        Go on from the newest checkpoint of the folder, if there is one.

    Attributes
    ----------
    network : LocalizationNetwork
        In training.
    folder : Path
        Of the checkpoints.
    workers : int
    progress : Progress
    blind_loss : float
        Validation loss of a predictor that knows only averages.
    best : dict of ndarray
        Averaged weights of the best validation, named ``best/parameter``.

    Notes
    -----
    Divergence: a step whose loss or gradient is not finite is skipped. After
    `_SKIPS_BEFORE_ROLLBACK` in a row, or when a validation's loss is not finite or again worse
    than that of a blind predictor (`Validator.blind_loss`), the best weights so far are put
    back, the optimiser's moments cleared and the learning rate halved, at most
    `_MAX_ROLLBACKS` times.
    """

    def __init__(
        self,
        parts: TrainingParts,
        config: TrainingConfig,
        context: TrainingContext,
        *,
        resume: bool = False,
    ) -> None:
        self._parts = parts
        self._ranks = parts.ranks
        self.network = parts.network.train()
        self.folder = parts.folder
        self.workers = parts.workers
        self._config = config
        self._context = context
        self._budget = Budget.from_config(config)
        self._average = WeightAverage(self.network, config.ema_decay)
        self._optimizer = _optimizer(self.network, config)
        self._gradients = GradientWorkers(
            self.network,
            config,
            use_z=parts.scaling.is_3d,
            autocast=autocast_dtype(self.network.device, config.precision),
            workers=parts.workers,
        )
        self.blind_loss = self._ranks.first(parts.validator.blind_loss)
        self.progress = Progress()
        self.best = weights(self._average.network, "best")
        self._last_checkpoint_s = self._last_metric_s = context.clock()
        self._waited_s = 0.0
        if resume:
            self._restore()

    def run(self) -> Progress:
        """Train until the budget is used up, patience is lost, or an early end is asked for.

        The last step is always validated, so that the best weights are the best of the run.

        Raises
        ------
        CancelledError
            After writing a checkpoint.
        DivergedError
            When the loss could not be kept finite.
        RunError
            When it should end early but has not made a step.
        """
        try:
            self._ranks.spread(self.network)
            self._meet()
            if self._validation_due():  # a cancel came in the middle of it
                self._timed(self._validate)
            while not self._finished():
                self._ranks.check(self._context)
                self._timed(self._step)
                if self._validation_due():
                    self._timed(self._validate)
                self._report()
            self._require_a_step()
            if self._validated_step() != self.progress.step:
                self._validate()
        except CancelledError:
            self.save()
            raise
        self.save()
        return self.progress

    def save(self) -> None:
        """Write a checkpoint."""
        if not self._ranks.is_first:
            return
        arrays = weights(self.network, "weights")
        arrays |= weights(self._average.network, "average")
        arrays |= moments(self.network, self._optimizer)
        arrays |= self.best
        arrays["stream"] = self._parts.stream.state().numpy()
        record = {
            "config": self._config.model_dump(mode="json"),
            "progress": self.progress.to_dict(),
            "inputs": dict(self._parts.inputs),
            "machine": dict(self._parts.machine),
        }
        write_checkpoint(
            Checkpoint(step=self.progress.step, arrays=arrays, record=record), self.folder
        )
        self._last_checkpoint_s = self._context.clock()

    def _restore(self) -> None:
        checkpoint = self._ranks.first(lambda: read_latest_checkpoint(self.folder))
        if checkpoint is None:
            return
        record, arrays = checkpoint.record, checkpoint.arrays
        require_same_run(record, self._config, self._parts.inputs)
        machine = self._parts.machine
        changed = differences(record.get("machine", machine), machine)
        if changed:
            self._context.log(
                f"The unfinished training was started on another machine: {', '.join(changed)}. "
                "It goes on, but rounding differs from that of an uninterrupted run.",
                "warning",
            )
        load_weights(self.network, arrays, "weights")
        load_weights(self._average.network, arrays, "average")
        load_moments(self.network, self._optimizer, arrays)
        self.best = {name: a for name, a in arrays.items() if name.startswith("best/")}
        self.progress = Progress.from_dict(record["progress"])
        state = torch.from_numpy(arrays["stream"])
        if not self._ranks.is_first:
            name = self._ranks.stream_name(self.progress.step)
            state = named_generator(self._config.seed, name, self.network.device).get_state()
        self._parts.stream.restore(state)

    def _finished(self) -> bool:
        return bool(self.ended_by)

    @property
    def ended_by(self) -> str:
        """What ends the run, if anything: ``budget``, ``patience`` or ``request``."""
        progress, patience = self.progress, self._config.patience
        if self._budget.fraction(progress.step, progress.elapsed_s) >= 1.0:
            return "budget"
        if patience is not None and progress.validations_without_gain >= patience:
            return "patience"
        return "request" if self._ranks.finishing(self._context) else ""

    def _require_a_step(self) -> None:
        if self.progress.step == 0:
            raise RunError(
                "The training was asked to finish before its first step: there is no model yet.",
                hint="Start it again and let it train for at least some minutes.",
            )

    def _timed(self, action: Callable[[], None]) -> None:
        began, cpu_began = self._context.clock(), self._parts.cpu_clock()
        self._waited_s = 0.0
        action()
        self.progress.elapsed_s += self._context.clock() - began - self._waited_s
        self.progress.cpu_s += self._parts.cpu_clock() - cpu_began
        self._meet()

    def _meet(self) -> None:
        """Take the clock and the requests that all processes go by."""
        self.progress.elapsed_s = self._ranks.meet(self.progress.elapsed_s, self._context)

    def _check(self) -> None:
        """Check inside of something that is timed: a pause is no working time."""
        began = self._context.clock()
        self._context.check()
        self._waited_s += self._context.clock() - began

    def _step(self) -> None:
        """Draw a batch and update the weights, unless loss or gradient is not finite."""
        self._set_rate()
        loss = self._ranks.average(self.network, self._backward)
        norm = clip_grad_norm_(self.network.parameters(), self._config.gradient_clip)
        values = float(loss), float(norm)
        if math.isfinite(sum(values)):
            self._optimizer.step()
            self._average.update(self.network, self.progress.updates)
            self.progress.updates += 1
            self.progress.skipped_in_a_row = 0
        else:
            self._skip()
        self.progress.step += 1
        self._emit_step(*values)

    def _backward(self) -> Tensor:
        began = self._context.clock()
        batch = self._parts.stream.next_batch()
        self.progress.simulation_s += self._context.clock() - began
        return self._gradients.backward(batch)

    def _set_rate(self) -> None:
        config, progress = self._config, self.progress
        fraction = self._budget.fraction(progress.step, progress.elapsed_s)
        factor = learning_rate_factor(
            fraction, config.warmup_fraction, config.final_learning_rate_fraction
        )
        for group in self._optimizer.param_groups:
            group["lr"] = config.learning_rate * factor * progress.rate_scale

    def _skip(self) -> None:
        self.progress.skipped += 1
        self.progress.skipped_in_a_row += 1
        if self.progress.skipped_in_a_row >= _SKIPS_BEFORE_ROLLBACK:
            self._roll_back(f"{self.progress.skipped_in_a_row} steps in a row were not finite")

    def _roll_back(self, why: str) -> None:
        """Put the best weights back with half the learning rate."""
        progress = self.progress
        if progress.rollbacks >= _MAX_ROLLBACKS:
            raise DivergedError(
                f"The training diverged at step {progress.step}: {why}, after "
                f"{progress.rollbacks} restarts with ever smaller learning rates.",
                hint=f"Choose a learning rate below {self._config.learning_rate:g}, and check the "
                "photon and background ranges of the simulation.",
            )
        progress.rollbacks += 1
        progress.rate_scale *= 0.5
        progress.skipped_in_a_row = 0
        progress.updates = 0
        load_weights(self.network, self.best, "best")
        self._average.reset(self.network)
        self._optimizer.state.clear()
        self._context.log(
            f"The training diverged ({why}); it goes on from the best weights so far with "
            f"{progress.rate_scale:g} of the learning rate.",
            "warning",
        )

    def _validation_due(self) -> bool:
        progress, every = self.progress, self._config.validate_every_steps
        if progress.step == self._validated_step():
            return False
        if every is not None:
            return progress.step % every == 0
        fraction = self._budget.fraction(progress.step, progress.elapsed_s)
        return math.floor(fraction * _VALIDATIONS_PER_RUN) > progress.validations

    def _validated_step(self) -> int:
        history = self.progress.history
        return int(history[-1]["step"]) if history else 0

    def _validate(self) -> None:
        validate = self._parts.validator.validate
        result = self._ranks.first(lambda: validate(self._average.network, self._check))
        self._ranks.spread(self.network)  # mends rounding that differs between unlike devices
        self._ranks.spread(self._average.network)
        progress = self.progress
        progress.validations += 1
        times = {"elapsed_s": progress.elapsed_s, "cpu_s": progress.cpu_s}
        progress.history.append({"step": float(progress.step), **times, **result.metrics})
        self._context.metric(progress.step, {**result.metrics, "elapsed_s": progress.elapsed_s})
        self._show(result)
        was_good = any(e["validation_loss"] < self.blind_loss for e in progress.history)
        if not math.isfinite(result.loss) or (was_good and result.loss > self.blind_loss):
            self._roll_back(f"the validation loss is {result.loss:.4g}")
        else:
            self._keep_if_best(result)

    def _show(self, result: ValidationResult) -> None:
        parts = self._parts
        if parts.on_sample is not None and result.estimate is not None:
            parts.on_sample(parts.validator.sample(result.estimate, self.progress.step))

    def _keep_if_best(self, result: ValidationResult) -> None:
        progress = self.progress
        found = math.isfinite(result.score)
        if progress.best_score is None or result.score > progress.best_score:
            # Until something is found the latest weights count as the best.
            progress.best_score = result.score if found else None
            progress.best_step = progress.step
            progress.validations_without_gain = 0
            self.best = weights(self._average.network, "best")
        else:
            progress.validations_without_gain += 1

    def _emit_step(self, loss: float, norm: float) -> None:
        now, progress = self._context.clock(), self.progress
        every_s = max(_METRIC_EVERY_S, _METRIC_EVERY_SHARE * progress.elapsed_s)
        if now - self._last_metric_s < every_s:
            return
        self._last_metric_s = now
        values = {
            "loss": loss,
            "gradient_norm": norm,
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            "elapsed_s": progress.elapsed_s,
        }
        if progress.elapsed_s > 0:
            samples = progress.step * self._config.batch_size
            values["samples_per_s"] = samples / progress.elapsed_s
            values["simulation_share"] = progress.simulation_s / progress.elapsed_s
        self._context.metric(progress.step, values)

    def _report(self) -> None:
        progress, budget = self.progress, self._budget
        eta_s = budget.remaining_s(progress.step, progress.elapsed_s)
        if budget.minutes is None:
            self._context.progress(progress.step, float(budget.steps or 0), "step", eta_s)
        else:
            fraction = budget.fraction(progress.step, progress.elapsed_s)
            self._context.progress(fraction * budget.minutes, budget.minutes, "min", eta_s)
        if self._context.clock() - self._last_checkpoint_s >= self._config.checkpoint_every_s:
            self.save()


def _optimizer(network: LocalizationNetwork, config: TrainingConfig) -> torch.optim.Optimizer:
    decayed, others = network.decayed_parameters()
    if config.optimizer == "adamw":
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    hidden = {id(kernel) for kernel in network.hidden_kernels()}
    groups = [
        {
            "params": [p for p in decayed if id(p) in hidden],
            "weight_decay": config.weight_decay,
            "orthogonal": True,
        },
        {
            "params": [p for p in decayed if id(p) not in hidden],
            "weight_decay": config.weight_decay,
        },
        {"params": others},
    ]
    return MuonAdamW(groups, lr=config.learning_rate)
