"""Defaults: better than their own start where there is something to learn, and never worse."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_sample_images, make_friedman1
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier, TaskDrivenDictionaryRegressor
from skddl._plan import Plan, best_plan

# A step that does not move the start.
STILL = {"max_iter": 1, "learning_rate": 1e-12, "random_state": 0}


def start_and_end(estimator, X, y, train_size, seed=0, **parameters):
    """Scores, on samples that are not learned, of the start and of what is learned from it."""
    stratify = y if issubclass(estimator, TaskDrivenDictionaryClassifier) else None
    X, X_unseen, y, y_unseen = train_test_split(
        X, y, train_size=train_size, stratify=stratify, random_state=seed
    )
    models = [estimator(**parameters, **how).fit(X, y) for how in (STILL, {"random_state": 0})]
    return [model.score(X_unseen, y_unseen) for model in models]


class Diverging(nn.Module):
    """Features that are no numbers in training."""

    def __init__(self, input_shape):
        super().__init__()

    def forward(self, x):
        return x * np.nan if self.training else x


def tones(n_samples):
    """Noisy sinusoids of any phase, whose class is the number of periods."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n_samples)
    phases = rng.uniform(0, 2 * np.pi, (n_samples, 1))
    waves = np.sin(2 * np.pi * (4 + y[:, None]) * np.arange(64) / 64 + phases)
    return waves + rng.normal(size=waves.shape), y


def test_a_class_that_holds_each_sample_and_its_negative_is_learned():
    X, y = tones(1300)
    start, end = start_and_end(TaskDrivenDictionaryClassifier, X, y, 300)
    assert end > 0.97
    assert 1 - end < (1 - start) / 2


@pytest.mark.parametrize("train_size", [100, 1200])
def test_digits_are_not_overfitted(train_size):
    X, y = load_digits(return_X_y=True)
    X = SampleNormalizer().fit_transform(X)
    scores = [start_and_end(TaskDrivenDictionaryClassifier, X, y, train_size, s) for s in range(3)]
    start, end = np.mean(scores, axis=0)
    assert end > max(start - 0.005, 0.9)


def overlapping(n_samples):
    """Five classes in noise, in 100 columns."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, n_samples)
    return 0.25 * rng.normal(size=(5, 100))[y] + rng.normal(size=(n_samples, 100)), y


@pytest.mark.parametrize(("train_size", "n_components"), [(90, None), (200, 30)])
def test_noise_is_not_learned_by_the_classifier(train_size, n_components):
    X, y = overlapping(train_size + 1000)
    start, end = start_and_end(
        TaskDrivenDictionaryClassifier, X, y, train_size, n_components=n_components
    )
    assert end == start
    model = TaskDrivenDictionaryClassifier(n_components, random_state=0)
    assert model.fit(X[:train_size], y[:train_size]).n_iter_ == 1  # at a rate of zero


def test_classes_that_overlap_get_fewer_atoms():
    X, y = overlapping(1400)
    start, end = start_and_end(TaskDrivenDictionaryClassifier, X, y, 400)
    assert end > start + 0.03
    model = TaskDrivenDictionaryClassifier(random_state=0).fit(X[:400], y[:400])
    assert len(model.components_) == 8  # of 67 or 68


def test_samples_that_are_mostly_noise_have_codes():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 300)
    X = rng.normal(size=(300, 1500))
    X[:, :40] += 1.2 * rng.normal(size=(4, 40))[y]
    model = TaskDrivenDictionaryClassifier(**STILL).fit(X[:120], y[:120])
    assert model.transform(X[120:]).any(axis=1).mean() > 0.95
    assert model.score(X[120:], y[120:]) > 0.5


def test_fewer_atoms_are_no_fewer_than_non_zeros():
    X, y = overlapping(400)
    model = TaskDrivenDictionaryClassifier(n_nonzero_coefs=10, random_state=0).fit(X, y)
    assert len(model.components_) > 60


def test_the_best_plan_is_better_by_more_than_chance():
    usual, still = Plan(), Plan(share_of_steps=0.0)
    for n_held_out, best in ((10, usual), (1000, still)):
        assert best_plan({usual: 0.8, still: 0.83}, n_held_out) == best
    assert best_plan({usual: 0.8, still: 0.8}, 1e9) == usual
    assert best_plan({usual: 0.8, Plan(1.0, 5): 0.9, still: 0.85}, 1000) == Plan(1.0, 5)


def test_steps_are_taken_where_the_user_gives_their_number():
    X, y = overlapping(90)
    assert TaskDrivenDictionaryClassifier(max_iter=20).fit(X, y).n_iter_ == 20


def test_what_is_held_out_counts_by_its_weight():
    X, y = overlapping(90)
    model = TaskDrivenDictionaryClassifier(
        4, early_stopping=True, class_weight={0: 1, 1: 0}, max_iter=5, random_state=0
    ).fit(X, y % 2)
    assert [entry["validation_score"] for entry in model.history_] == [1.0] * len(model.history_)


@pytest.mark.parametrize(("n_samples", "n_alone"), [(20, 0), (90, 1)])
def test_classes_of_a_few_samples_are_learned_without_a_trial(n_samples, n_alone):
    X, y = overlapping(n_samples)  # of 90 without one alone a trial says that nothing is to gain
    y[:n_alone] = 7
    assert TaskDrivenDictionaryClassifier(random_state=0).fit(X, y).n_iter_ == 200


@pytest.mark.parametrize(
    "estimator", [TaskDrivenDictionaryClassifier, TaskDrivenDictionaryRegressor]
)
def test_a_trial_that_diverges_leaves_the_error_to_the_fit(estimator):
    X, y = overlapping(60)
    model = estimator(features=Diverging, random_state=0)
    for labels in (y, y % 3):  # the second time with other outputs
        with pytest.raises(ValueError, match="not finite at iteration"):
            model.fit(X, labels)
        assert len(np.atleast_1d(model.intercept_)) in (1, len(np.unique(labels)))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_part_of_the_steps_is_taken_at_the_rates_of_the_whole(optimizer):
    whole = TaskDrivenDictionaryRegressor(optimizer=optimizer)._rate_factor(0, 500)
    model = TaskDrivenDictionaryRegressor(optimizer=optimizer)
    model._plan = Plan(share_of_steps=0.2)
    part = model._rate_factor(0, 100)
    assert [part(step) for step in range(100)] == [whole(step) for step in range(100)]


def test_samples_in_a_large_common_mean_are_told_apart():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(8), 150)
    X = rng.normal(size=(8, 256))[y] + 2.5 * rng.normal(size=(len(y), 256))
    X += 3 * rng.normal(size=256)
    start, end = start_and_end(TaskDrivenDictionaryClassifier, X, y, 160)
    assert end > start - 0.01
    assert end > 0.98


def patches(n_per_photograph):
    """Patches of two photographs, (n, 3, 32, 32), and of which photograph each of them is."""
    rng = np.random.default_rng(0)
    images = [image / 255 for image in load_sample_images().images]
    places = [[rng.integers(0, size - 32, n_per_photograph) for size in (427, 640)] for _ in images]
    X = [
        image[row : row + 32, column : column + 32].transpose(2, 0, 1)
        for image, (rows, columns) in zip(images, places, strict=True)
        for row, column in zip(rows, columns, strict=True)
    ]
    return np.array(X, dtype=np.float32), np.repeat([0, 1], n_per_photograph)


@pytest.mark.parametrize(
    ("scale", "is_gray"),
    [
        (1.0, False),
        (100.0, True),
        pytest.param(1.0, True, marks=pytest.mark.slow),
        pytest.param(100.0, False, marks=pytest.mark.slow),
    ],
)
def test_lenet_features_do_not_diverge(is_gray, scale):
    X, y = patches(200)
    X = scale * (X.mean(axis=1, keepdims=True) if is_gray else X)
    start, end = start_and_end(
        TaskDrivenDictionaryClassifier, X, y, 2 / 3, n_components=100, features="lenet"
    )
    assert end >= max(start, 0.94 if is_gray else 0.95)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_settings_have_no_units(scale):
    X, y = load_digits(return_X_y=True)
    X = SampleNormalizer().fit_transform(X)
    ends = []
    for factor in (1.0, scale):
        model = TaskDrivenDictionaryClassifier(50, max_iter=300, random_state=0)
        model.fit(factor * X[:1000], y[:1000])
        assert model.score(factor * X[1000:], y[1000:]) > 0.95
        ends.append(np.mean(model.loss_curve_[-20:]))
        assert ends[-1] < 0.25 * np.mean(model.loss_curve_[:20])
    assert ends[1] == pytest.approx(ends[0], rel=0.1)


@pytest.mark.parametrize(
    ("n_batches", "work", "n_features", "n_iter"),
    [
        (1, 1, 2, 200),
        (1, 1, 700, 350),
        (1, 1, 2000, 500),
        (20, 1, 2, 20 * 20),
        (1000, 1, 2, 10_000),
        (1000, 10**10, 2, 200),
        (1, 10**13, 2, 1),
    ],
)
def test_steps_are_as_many_as_samples_and_time_allow(n_batches, work, n_features, n_iter):
    X = np.eye(2, n_features)
    model = TaskDrivenDictionaryClassifier(max_iter=1).fit(X, [0, 1]).set_params(max_iter=None)
    assert model._count_iterations(n_batches, work) == n_iter


def test_noise_is_not_learned_by_the_regressor():
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    start, end = start_and_end(TaskDrivenDictionaryRegressor, X, y, 0.7)
    ridge = RidgeCV(np.logspace(-3, 3, 13))
    X, X_unseen, y, y_unseen = train_test_split(X, y, train_size=0.7, random_state=0)
    assert end > start - 0.02
    assert end > ridge.fit(X, y).score(X_unseen, y_unseen) - 0.03


def test_what_is_to_be_learned_is_learned_by_the_regressor():
    X, y = make_friedman1(600, noise=1.0, random_state=0)
    start, end = start_and_end(TaskDrivenDictionaryRegressor, X, y, 0.7)
    assert end > start + 0.1
    assert end > 0.8
