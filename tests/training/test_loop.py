"""Tests of the training loop and of its checkpoints, on a small least-squares problem."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skddl.training import (
    BatchSampler,
    Checkpoint,
    DivergenceError,
    EarlyStopping,
    Group,
    TrainingState,
    inverse_time,
    make_optimizer,
    train,
)

X = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 3))).float()
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]])


class Killed(BaseException):
    """As sudden as SIGKILL, as far as the loop can tell."""


class UnitBall(nn.Linear):
    def project_(self):
        with torch.no_grad():
            self.weight.div_(self.weight.norm().clamp(min=1))


class Problem:
    def __init__(self, *, optimizer="sgd", learning_rate=0.05, fail_at=None, error=Killed):
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.optimizer = make_optimizer(
            optimizer, [Group(self.module.parameters(), 0)], learning_rate
        )
        self.sampler = BatchSampler(len(X), 8, seed=0)
        self.state = TrainingState()
        self.fail_at = fail_at
        self.error = error

    def loss(self, step):
        rows = self.sampler.batch(step)
        loss = (self.module(X[rows]) - Y[rows]).square().mean()
        if step == self.fail_at:
            raise self.error
        return loss, {}

    def train(self, until=23, **arguments):
        train(
            self.module,
            self.loss,
            self.optimizer,
            self.sampler,
            self.state,
            until=until,
            rate_factor=inverse_time(10),
            **arguments,
        )
        return self

    def parameters(self):
        return torch.cat([value.double().flatten() for value in self.module.state_dict().values()])


def test_loss_falls_and_is_recorded():
    problem = Problem().train(until=50)
    assert problem.state.iteration == 50
    assert len(problem.state.curves["loss"]) == 50
    assert [entry["iteration"] for entry in problem.state.history] == list(range(5, 51, 5))
    assert problem.state.history[-1]["loss"] < 0.5 * problem.state.history[0]["loss"]
    assert not problem.module.training


def test_modules_are_projected_after_each_step():
    module = UnitBall(3, 1, bias=False)
    norms = []

    def loss(step):
        norms.append(module.weight.norm().item())
        return (module(X) - Y).square().mean(), {}

    optimizer = make_optimizer("sgd", [Group(module.parameters(), 0)], 0.5)
    train(
        module,
        loss,
        optimizer,
        BatchSampler(40, 40, 0),
        TrainingState(),
        until=20,
        rate_factor=inverse_time(20),
    )
    # The solution is outside of the unit ball: what is found is on its surface.
    assert max(norms[1:]) <= 1 + 1e-6
    assert module.weight.norm().item() == pytest.approx(1)


def fail_in_the_middle(error):
    problem = Problem(fail_at=12, error=error)
    until_then = Problem().train(until=12)
    return problem, until_then


def test_interrupted_training_ends_after_the_last_whole_step():
    problem, until_then = fail_in_the_middle(KeyboardInterrupt)
    with pytest.warns(UserWarning, match="interrupted after 12 of 23 iterations"):
        problem.train()
    assert problem.state.iteration == 12
    assert torch.equal(problem.parameters(), until_then.parameters())


def test_epoch_whose_score_is_interrupted_has_no_entry_without_one():
    problem = Problem()
    scores = iter([0.0, 0.1, 0.5])

    def score():
        for value in scores:
            return value
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted after 15 of 23 iterations"):
        problem.train(early_stopping=EarlyStopping(score, patience=3, tol=0.0))
    assert [entry["validation_score"] for entry in problem.state.history] == [0.1, 0.5]


def test_failing_step_is_taken_back_also_in_batch_norm():
    problem, until_then = fail_in_the_middle(Killed)
    with pytest.raises(Killed):
        problem.train()
    assert torch.equal(problem.parameters(), until_then.parameters())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_not_finite_ends_training_before_the_step(value):
    problem, until_then = Problem(), Problem().train(until=12)
    sound_loss = problem.loss

    def loss(step):
        loss, metrics = sound_loss(step)
        return (loss * value if step == 12 else loss), metrics

    problem.loss = loss
    message = r"The loss is not finite at iteration 13\. Lower learning_rate \(it is 0\.05\)"
    with pytest.raises(DivergenceError, match=message):
        problem.train()
    assert torch.equal(problem.parameters(), until_then.parameters())


def test_variance_of_a_batch_norm_that_overflows_is_not_trained_on_with():
    """Divided by an infinite deviation, whatever comes is 0: the loss stays finite."""
    problem, until_then = Problem(), Problem().train(until=12)
    sound_loss = problem.loss

    def loss(step):
        if step == 12:
            problem.module[1].running_var.fill_(math.inf)
        return sound_loss(step)

    problem.loss = loss
    with pytest.raises(DivergenceError, match="largest buffer of the network is not finite"):
        problem.train()
    assert torch.equal(problem.parameters(), until_then.parameters())


def test_buffers_that_are_meant_to_be_infinite_are_no_divergence():
    problem = Problem()
    problem.module.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    problem.train()
    assert problem.state.iteration == 23


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_parameters_that_overflow_are_taken_back(optimizer):
    problem = Problem(optimizer=optimizer, learning_rate=1e30)
    before = problem.parameters()
    with pytest.raises(DivergenceError, match=r"norm of the parameters is not finite"):
        problem.train()
    assert torch.equal(problem.parameters(), before)
    assert problem.state.moments.tensors == {}


def test_callback_that_returns_true_ends_training():
    calls = []

    def on_epoch():
        calls.append(len(calls))
        return len(calls) == 3

    problem = Problem().train(until=1000, on_epoch=on_epoch)
    assert problem.state.iteration == 15
    assert problem.state.finished


def stopping(problem):
    scores = iter([0.0, 0.1, 0.5, 0.3, 0.4, 0.2, 0.1, 0.0])
    return EarlyStopping(lambda: next(scores), patience=3, tol=0.0)


def test_early_stopping_ends_in_the_best_state():
    problem = Problem()
    problem.train(until=1000, early_stopping=stopping(problem))
    assert problem.state.iteration == 25
    assert torch.equal(problem.parameters(), Problem().train(until=10).parameters())


def test_early_stopping_may_end_in_the_start():
    problem = Problem()
    scores = iter([0.9, 0.5, 0.6, 0.7])
    problem.train(until=1000, early_stopping=EarlyStopping(lambda: next(scores), 3, 0.0))
    assert problem.state.iteration == 15
    assert torch.equal(problem.parameters(), Problem().parameters())


def test_early_stopping_keeps_the_best_state_where_training_diverges():
    problem = Problem(fail_at=12, error=DivergenceError)
    scores = iter([0.1, 0.5, 0.3])
    with pytest.warns(ConvergenceWarning, match=r"validation score of 0\.5"):
        problem.train(early_stopping=EarlyStopping(lambda: next(scores), 3, 0.0))
    assert problem.state.iteration == 12
    assert problem.state.finished
    assert torch.equal(problem.parameters(), Problem().train(until=5).parameters())
    problem = Problem(fail_at=0, error=DivergenceError)
    with pytest.warns(ConvergenceWarning, match=r"validation score of 0\.1"):
        problem.train(early_stopping=EarlyStopping(lambda: 0.1, 3, 0.0))
    assert torch.equal(problem.parameters(), Problem().parameters())
    with pytest.raises(DivergenceError):  # a score that is none
        Problem(fail_at=0, error=DivergenceError).train(
            early_stopping=EarlyStopping(lambda: -math.inf, 3, 0.0)
        )


@pytest.mark.parametrize(
    "optimizer",
    [
        *("sgd", "adam"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("nadam", "adagrad", "rmsprop")),
    ],
)
@pytest.mark.parametrize("fail_at", [100, 101, 137, 210])
def test_killed_training_goes_on_bit_for_bit(tmp_path, optimizer, fail_at):
    reference = Problem(optimizer=optimizer).train(until=230)
    path = tmp_path / "training.checkpoint"
    with pytest.raises(Killed):
        Problem(optimizer=optimizer, fail_at=fail_at).train(
            until=230, checkpoint=Checkpoint(path, "id")
        )
    steps = []
    resumed = Problem(optimizer=optimizer)
    loss = resumed.loss
    resumed.loss = lambda step: steps.append(step) or loss(step)
    resumed.train(until=230, checkpoint=Checkpoint(path, "id"))
    assert steps[0] == fail_at // 100 * 100
    assert torch.equal(resumed.parameters(), reference.parameters())
    assert resumed.state.history == reference.state.history
    assert resumed.state.curves == reference.state.curves


def test_slow_steps_are_written_before_a_hundred_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr("skddl.training._checkpoint._SECONDS_BETWEEN", 0.0)
    checkpoint = Checkpoint(tmp_path / "training.checkpoint", "id")
    with pytest.raises(Killed):
        Problem(fail_at=37).train(until=50, checkpoint=checkpoint)
    resumed = Problem()
    checkpoint.restore(resumed.module, resumed.optimizer, resumed.state, None)
    assert resumed.state.iteration == 37


def test_learning_rate_is_that_of_the_step_also_when_training_goes_on():
    problem = Problem()
    for until in (7, 23):
        problem.optimizer = make_optimizer("sgd", [Group(problem.module.parameters(), 0)], 0.05)
        problem.train(until=until)
    rates = [entry["learning_rate"] for entry in problem.state.history]
    last_steps = [entry["iteration"] for entry in problem.state.history]
    assert last_steps == [5, 7, 10, 15, 20, 23]
    assert rates == pytest.approx([min(0.05, 0.05 * 10 / t) for t in last_steps])


def test_finished_training_is_not_repeated(tmp_path):
    checkpoint = Checkpoint(tmp_path / "training.checkpoint", "id")
    reference = Problem().train(checkpoint=checkpoint)
    again = Problem(fail_at=0).train(checkpoint=checkpoint)
    again_with_steps = Problem(fail_at=22).train(checkpoint=checkpoint)
    for problem in (again, again_with_steps):
        assert torch.equal(problem.parameters(), reference.parameters())


def test_checkpoint_keeps_the_best_state_and_the_patience(tmp_path):
    checkpoint = Checkpoint(tmp_path / "training.checkpoint", "id")
    problem = Problem()
    early_stopping = stopping(problem)
    problem.train(until=15, early_stopping=early_stopping, checkpoint=checkpoint)
    restored = EarlyStopping(lambda: 0.0, patience=3, tol=0.0)
    module = Problem()
    checkpoint.restore(module.module, module.optimizer, module.state, restored)
    assert restored.best_score == early_stopping.best_score == 0.5
    assert restored.n_without_improvement == early_stopping.n_without_improvement == 1
    for name, value in early_stopping.best_state.items():
        assert torch.equal(restored.best_state[name], value)


@pytest.mark.parametrize("global_rng", [False, True])
def test_global_generator_is_restored_only_for_those_who_own_it(tmp_path, global_rng):
    checkpoint = Checkpoint(tmp_path / "training.checkpoint", "id", global_rng=global_rng)
    problem = Problem().train(checkpoint=checkpoint)
    at_write = torch.get_rng_state()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    checkpoint.restore(problem.module, problem.optimizer, problem.state, None)
    assert torch.equal(torch.get_rng_state(), at_write if global_rng else before)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def replace_by_text(path):
    path.write_text("not a checkpoint at all")


def replace_by_other_tensors(path):
    save_file({"a": torch.zeros(3)}, path)


def replace_by_other_metadata(path):
    save_file({"a": torch.zeros(3)}, path, metadata={"format": "other", "training": "{}"})


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "spoil",
    [truncate, replace_by_text, replace_by_other_tensors, replace_by_other_metadata, empty],
)
def test_truncated_or_foreign_file_is_refused_by_name(tmp_path, spoil):
    checkpoint = Checkpoint(tmp_path / "training.checkpoint", "id")
    Problem().train(checkpoint=checkpoint)
    spoil(checkpoint.path)
    content = checkpoint.path.read_bytes()
    with pytest.raises(ValueError, match=r"training\.checkpoint"):
        checkpoint.check()
    with pytest.raises(ValueError, match=r"training\.checkpoint"):
        Problem().train(checkpoint=checkpoint)
    assert checkpoint.path.read_bytes() == content


def test_checkpoint_of_another_fit_is_refused_by_name(tmp_path):
    path = tmp_path / "training.checkpoint"
    Problem().train(checkpoint=Checkpoint(path, "id"))
    with pytest.raises(ValueError, match=r"training\.checkpoint' belongs to a fit with other"):
        Checkpoint(path, "other").check()


def test_checkpoint_of_another_module_is_refused_by_name(tmp_path):
    checkpoint = Checkpoint(tmp_path / "training.checkpoint", "id")
    Problem().train(checkpoint=checkpoint)
    problem = Problem()
    problem.module = nn.Linear(3, 1)
    with pytest.raises(ValueError, match=r"training\.checkpoint' is damaged"):
        problem.train(checkpoint=checkpoint)


def test_missing_folder_is_reported_before_training(tmp_path):
    with pytest.raises(ValueError, match="folder of checkpoint"):
        Checkpoint(tmp_path / "missing" / "training.checkpoint", "id").check()
