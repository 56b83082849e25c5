"""Tests of the parts of the training loop: batches, schedule, optimizers, early stopping."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from skddl.training import (
    OPTIMIZERS,
    SCHEDULES,
    BatchSampler,
    CheckpointFile,
    EarlyStopping,
    Group,
    TrainingState,
    identify,
    inverse_time,
    make_optimizer,
    over_training,
)
from skddl.training._optimizers import Moments


@pytest.mark.parametrize(("n_samples", "batch_size"), [(10, 3), (12, 4), (5, 100), (1, 1)])
def test_each_epoch_is_a_permutation(n_samples, batch_size):
    sampler = BatchSampler(n_samples, batch_size, seed=0)
    epochs = []
    step = 0
    for _ in range(3):
        batches = []
        while True:
            batches.append(sampler.batch(step))
            step += 1
            if sampler.ends_epoch(step - 1):
                break
        assert len(batches) == sampler.n_batches
        epochs.append(np.concatenate(batches))
        np.testing.assert_array_equal(np.sort(epochs[-1]), np.arange(n_samples))
    if n_samples > 5:
        assert not np.array_equal(epochs[0], epochs[1])


def test_batch_depends_on_the_step_alone():
    forwards, backwards = BatchSampler(50, 7, seed=3), BatchSampler(50, 7, seed=3)
    batches = [forwards.batch(step) for step in range(30)]
    for step in reversed(range(30)):
        np.testing.assert_array_equal(backwards.batch(step), batches[step])


def test_batches_of_another_seed_or_start_differ():
    reference = BatchSampler(1000, 10, seed=0).batch(0)
    assert not np.array_equal(BatchSampler(1000, 10, seed=1).batch(0), reference)
    assert not np.array_equal(BatchSampler(1000, 10, seed=0, start=8).batch(8), reference)


def test_epochs_are_counted_from_the_start():
    sampler = BatchSampler(10, 4, seed=0, start=5)
    assert [step for step in range(5, 14) if sampler.ends_epoch(step)] == [7, 10, 13]
    assert [len(sampler.batch(step)) for step in range(5, 8)] == [4, 3, 3]


def linear_and_optimizer(name="sgd", learning_rate=0.5):
    module = nn.Linear(2, 1)
    return module, make_optimizer(name, [Group(module.parameters(), 0.0)], learning_rate)


def test_inverse_time_is_the_schedule_of_algorithm_1_of_paper_1():
    factor = inverse_time(t0=4.0)
    for t in range(1, 50):
        assert factor(t - 1) == pytest.approx(min(1, 4 / t))


def test_step_schedule_is_the_recipe_of_paper_2():
    """200 epochs of 391 steps: times 0.2 after 60, 120 and 160 of them."""
    factor = over_training(SCHEDULES["step"], start=0, n_steps=200 * 391)
    for epoch in range(200):
        expected = 0.2 ** sum(epoch >= milestone for milestone in (60, 120, 160))
        for step in (0, 200, 390):
            assert factor(391 * epoch + step) == pytest.approx(expected)


def test_cosine_schedule_falls_from_one_to_zero():
    factor = over_training(SCHEDULES["cosine"], start=10, n_steps=8)
    expected = [0.5 * (1 + np.cos(np.pi * step / 8)) for step in range(8)]
    np.testing.assert_allclose([factor(10 + step) for step in range(8)], expected)
    assert expected[0] == 1
    assert 0 < expected[-1] < 0.05


def test_penalty_of_a_group_is_half_its_squared_norm():
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    before = first.weight.detach().clone(), second.weight.detach().clone()
    groups = [Group(first.parameters(), 0.1), Group(second.parameters(), 0.0)]
    optimizer = make_optimizer("sgd", groups, 0.5)
    (first.weight.sum() + second.weight.sum()).backward()
    optimizer.step()
    torch.testing.assert_close(first.weight, before[0] - 0.5 * (1 + 0.1 * before[0]))
    torch.testing.assert_close(second.weight, before[1] - 0.5)


def take_steps(module, optimizer, n_steps):
    for _ in range(n_steps):
        optimizer.zero_grad()
        module(torch.tensor([[1.0, 2.0]])).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_optimizer_with_restored_moments_goes_on_bit_for_bit(name, dtype):
    torch.set_default_dtype(dtype)
    try:
        module, optimizer = linear_and_optimizer(name, 0.01)
        take_steps(module, optimizer, 3)
        copy = nn.Linear(2, 1)
        copy.load_state_dict(module.state_dict())
        other = make_optimizer(name, [Group(copy.parameters(), 0.0)], 0.01)
        Moments.of(optimizer).restore(other)
        take_steps(module, optimizer, 3)
        take_steps(copy, other, 3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(copy.weight, module.weight)


def test_moments_of_another_optimizer_are_not_used():
    module, optimizer = linear_and_optimizer("adam")
    take_steps(module, optimizer, 1)
    moments = Moments.of(optimizer)
    other = make_optimizer("adagrad", [Group(module.parameters(), 0.0)], 0.1)
    moments.restore(other)
    assert set(other.state[module.weight]) == {"step", "sum"}
    assert other.state[module.weight]["step"] == 0


def test_best_state_is_kept_and_patience_is_bought_by_clear_gains():
    module = nn.Linear(1, 1, bias=False)
    stopping = EarlyStopping(score=lambda: 0.0, patience=2, tol=0.1)
    stops = []
    for value, score in enumerate([0.5, 0.55, 0.7, 0.75, 0.6]):
        nn.init.constant_(module.weight, value)
        stops.append(stopping.update(module, score))
    # 0.55 and 0.75 are better, but not by tol.
    assert stops == [False, False, False, False, True]
    assert stopping.best_score == 0.75
    assert stopping.best_state["weight"].item() == 3


def test_history_holds_the_means_since_the_entry_before():
    state = TrainingState()
    for loss in (4.0, 2.0):
        state.record_step(loss, {"n_nonzero": 10 * loss})
    first = dict(state.record_epoch(0.5))
    state.record_step(1.0, {"n_nonzero": 7.0})
    second = dict(state.record_epoch(0.25))
    assert first == {"iteration": 2, "learning_rate": 0.5, "loss": 3.0, "n_nonzero": 30.0}
    assert second == {"iteration": 3, "learning_rate": 0.25, "loss": 1.0, "n_nonzero": 7.0}
    curves = {name: curve.tolist() for name, curve in state.curves.items()}
    assert curves == {"loss": [4.0, 2.0, 1.0], "n_nonzero": [40.0, 20.0, 7.0]}


def test_a_copy_of_the_state_goes_on_alone_and_shares_what_is_past():
    state = TrainingState()
    state.record_step(1.0, {})
    state.record_epoch(0.5)
    copied = state.copy()
    # Streams of short calls of `partial_fit` make one copy each: none looks at every entry.
    assert copied.history[0] is state.history[0]
    copied.record_step(2.0, {})
    copied.record_epoch(0.5)
    assert (state.iteration, len(state.curves["loss"]), len(state.history)) == (1, 1, 1)
    assert (copied.iteration, len(copied.curves["loss"]), len(copied.history)) == (2, 2, 2)


def test_checkpoints_take_no_more_time_per_step_the_longer_training_lasts(tmp_path):
    """What is written grows with the steps, so that writes have to become rarer."""
    checkpoint = CheckpointFile(tmp_path / "checkpoint", "")
    due = [n for n in range(1, 300_001) if n % 100 == 0 and checkpoint.is_due(n)]
    assert due[:300] == [*range(100, 30_001, 100)]
    assert sum(due) < 300 * 300_000
    assert all(second - first <= max(100, 0.011 * first) for first, second in pairwise(due))


class Slotted:
    __slots__ = ("width",)

    def __init__(self, width):
        self.width = width


@pytest.mark.parametrize(
    "make",
    [
        lambda value: pytest.importorskip("pandas").DataFrame([[value]]),
        lambda value: range(value),
        lambda value: Fraction(1, value),
        Slotted,
        lambda value: np.array([value, None], dtype=object),
        lambda value: getattr(torch, f"float{16 * value}"),
    ],
)
def test_identity_is_that_of_the_content(make):
    assert identify(make(2)) == identify(make(2)) != identify(make(4))


def test_identity_of_a_number_is_not_that_of_its_type_but_types_have_one():
    pandas = pytest.importorskip("pandas")
    assert identify(0) == identify(0.0) == identify(np.float64(0)) != identify(0.5)
    assert identify([pandas.DataFrame]) != identify([np.ndarray])
