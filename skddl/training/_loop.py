"""The training loop: projected stochastic gradient descent, Algorithms 1 of both papers."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from .._interrupts import interrupts
from ._batches import BatchSampler
from ._checkpoint import Checkpoint
from ._early_stopping import EarlyStopping
from ._optimizers import Moments
from ._processes import Processes
from ._schedules import RateFactor
from ._state import TrainingState

_KEPT = " The state before this iteration is kept."


class DivergenceError(ValueError):
    """Loss, gradient or state are not finite; the module is as before that step.

    `before_any_step`: what it was given is at fault.
    """

    before_any_step = False


def train(
    module: nn.Module,
    compute_loss: Callable[[int], tuple[Tensor, dict[str, float]]],
    optimizer: torch.optim.Optimizer,
    sampler: BatchSampler,
    state: TrainingState,
    *,
    until: int,
    rate_factor: RateFactor,
    early_stopping: EarlyStopping | None = None,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[], bool] | None = None,
    interruptible: bool = True,
    processes: Processes | None = None,
    advice: str = "",
    verbose: bool = False,
) -> None:
    """Train `module` in place, step by step; `state` says where it stands.

    Parameters
    ----------
    module : Module
        Submodules with a method ``project_`` are projected after each step.
    compute_loss : callable
        Takes the number of a step (from 0); returns the loss of its batch, and metrics.
    optimizer : Optimizer
        Over parameters of `module`.
    sampler : BatchSampler
        Says where an epoch ends.
    state : TrainingState
        Where to go on from; updated.
    until : int
        The number of steps after which to end, counted from the first step of `state`.
    rate_factor : callable
        Takes the number of a step; returns the factor on the learning rate of the optimizer.
    early_stopping : EarlyStopping, optional
        The module ends in its best state, that of the start included, also where training diverges.
    checkpoint : Checkpoint, optional
        Where to go on from, if it exists, and what to write.
    on_epoch : callable, optional
        Called at the end of each epoch; training ends where it returns True.
    interruptible : bool
        Whether Ctrl-C ends the training with a warning, and keeps the module; else it is raised.
    processes : Processes, optional
        Those that train together; `compute_loss` is then that of a part of the batch, weighted such
        that the mean over the processes is that of the batch. The first one of them alone calls
        `on_epoch`, shows progress and writes checkpoints, which all must be able to read.
    advice : str
        What may help if training diverges, beside a lower learning rate.
    verbose : bool
        Whether to show a progress bar.

    Raises
    ------
    DivergenceError
        If the loss, a gradient, a parameter or a buffer is not finite, unless there is a best state
        of steps before.

    Warns
    -----
    ConvergenceWarning
        If it is so, and there is one.
    """
    processes = processes or Processes()
    state.moments.restore(optimizer)
    if checkpoint is not None:
        restore = partial(checkpoint.restore, module, optimizer, state, early_stopping)
        processes.each(restore)
        processes.require_same(state.iteration, "numbers of iterations in their checkpoints")
    first = state.iteration
    schedule = LambdaLR(optimizer, lambda step: rate_factor(first + step))
    progress = tqdm(
        total=until, initial=state.iteration, disable=not (verbose and processes.is_first)
    )
    module.train()
    if early_stopping is not None and not early_stopping.best_state:
        with interrupts.allowed():
            score = processes.of_first(early_stopping.score())
        early_stopping.update(module, score)
        if state.history:
            state.history[-1] = {**state.history[-1], "validation_score": score}
    undo = _Undo(module)
    # Those that are not finite from the start, such as masks, are meant to be so.
    floating = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    buffers = [buffer for buffer in floating if bool(buffer.isfinite().all())]
    # Of several processes none can end alone: the others would wait for it.
    alone = processes.size == 1
    may_end = ended_by_interrupt(state, until) if interruptible and alone else nullcontext()
    together = processes.ending_together(shared=DivergenceError)
    survives = _kept_by(early_stopping, state) if early_stopping else nullcontext()
    with progress, survives, may_end, _keep_moments(optimizer, state), together:
        while state.iteration < until and not state.finished:
            step = state.iteration
            with undo, torch.enable_grad():
                with interrupts.allowed():
                    loss, metrics = compute_loss(step)
                    optimizer.zero_grad()
                    loss.backward()
                loss = loss.detach()
                gradients = [p.grad for p in module.parameters() if p.grad is not None]
                if not alone:
                    averages = loss.new_tensor([*metrics.values()])
                    processes.average_([*gradients, loss, averages])
                    metrics = dict(zip(metrics, averages.tolist(), strict=True))
                sizes = {"loss": loss, "gradient": nn.utils.get_total_norm(gradients)}
                optimizer.step()
                parameters = [p.detach() for p in module.parameters()]
                sizes["norm of the parameters"] = nn.utils.get_total_norm(parameters)
                if buffers:
                    # With a variance that overflowed, batch norms would train on regardless.
                    largest = nn.utils.get_total_norm(buffers, math.inf)
                    sizes["largest buffer of the network"] = largest
                project_(module)
                # Brought over in one go: a GPU has to be waited for but once.
                values = dict(zip(sizes, torch.stack([*sizes.values()]).tolist(), strict=True))
                _require_finite(values, step, optimizer, advice, first=step == first)
            learning_rate = float(optimizer.defaults["lr"]) * rate_factor(step)
            schedule.step()

            state.record_step(values["loss"], metrics)
            progress.update()
            if sampler.ends_epoch(step) or state.iteration == until:
                scores = {}
                if early_stopping is not None:
                    with interrupts.allowed():
                        scores["validation_score"] = processes.of_first(early_stopping.score())
                    state.finished = early_stopping.update(module, scores["validation_score"])
                entry = state.record_epoch(learning_rate)
                entry.update(scores)
                progress.set_postfix(loss=f"{entry['loss']:.4f}", refresh=False)
                with interrupts.allowed():
                    if processes.of_first(on_epoch is not None and on_epoch()):
                        state.finished = True
            if checkpoint is None or not processes.is_first:
                continue
            if checkpoint.is_due(state.iteration) or state.finished or state.iteration == until:
                checkpoint.write(module, optimizer, state, early_stopping)
    if early_stopping is not None and early_stopping.best_state:
        module.load_state_dict(early_stopping.best_state)
    module.eval()


@torch.no_grad()
def project_(module: nn.Module) -> None:
    """Call ``project_`` of every submodule that has constraints."""
    for submodule in module.modules():
        if callable(project_submodule := getattr(submodule, "project_", None)):
            project_submodule()


def _require_finite(
    values: dict[str, float],
    step: int,
    optimizer: torch.optim.Optimizer,
    advice: str,
    *,
    first: bool,
) -> None:
    """Raise DivergenceError for the first of the values that is not finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            if first and name in ("loss", "gradient"):
                error = DivergenceError(
                    f"The {name} is not finite at iteration {step + 1}, before any step: the "
                    "samples are too large (scale them), or the network gives values that are not."
                )
                error.before_any_step = True
                raise error
            raise DivergenceError(
                f"The {name} is not finite at iteration {step + 1}. Lower learning_rate (it is "
                f"{optimizer.defaults['lr']:g}){advice}.{_KEPT}"
            )


class _Undo:
    """Takes back a step that fails, also in what the forward pass changes (batch norm)."""

    def __init__(self, module: nn.Module) -> None:
        self.now = list(module.state_dict().values())
        self.before = [value.clone() for value in self.now]

    def __enter__(self) -> None:
        self._copy(self.now, self.before)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            self._copy(self.before, self.now)

    @staticmethod
    @torch.no_grad()
    def _copy(source: list[Tensor], target: list[Tensor]) -> None:
        for old, new in zip(source, target, strict=True):
            new.copy_(old)


@contextmanager
def ended_by_interrupt(state: TrainingState, until: int) -> Iterator[None]:
    """Turn Ctrl-C into a warning, if a step has been taken: else there is no model to keep."""
    try:
        yield
    except KeyboardInterrupt:
        if not state.iteration:
            raise
        warnings.warn(
            f"Training was interrupted after {state.iteration} of {until} iterations. The model "
            "so far is kept.",
            stacklevel=4,
        )


@contextmanager
def _kept_by(early_stopping: EarlyStopping, state: TrainingState) -> Iterator[None]:
    """Turn divergence into a warning: there is a best state, if only that of the start."""
    try:
        yield
    except DivergenceError as error:
        if error.before_any_step or not math.isfinite(early_stopping.best_score):
            raise
        state.finished = True
        warnings.warn(
            f"{str(error).removesuffix(_KEPT)} By early stopping the best state before is kept, "
            f"with a validation score of {early_stopping.best_score:.4g}.",
            ConvergenceWarning,
            stacklevel=4,
        )


@contextmanager
def _keep_moments(optimizer: torch.optim.Optimizer, state: TrainingState) -> Iterator[None]:
    """However training ends, the next one goes on with the optimizer's moments."""
    diverged = False
    try:
        yield
    except DivergenceError:
        diverged = True  # and so, perhaps, have the moments
        raise
    finally:
        state.moments = Moments() if diverged else Moments.of(optimizer)
