"""Task-driven dictionary learning for regression."""

import pickle

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.datasets import load_sample_image, make_friedman1
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from skddl import TaskDrivenDictionaryRegressor
from tests.data import assert_same_model, small_digits

X, _ = small_digits(300, dtype=np.float64)
HIDDEN = [27, 28, 35, 36]
SEEN, PIXELS = np.delete(X, HIDDEN, axis=1), X[:, HIDDEN]


def quick(**parameters):
    defaults = {"n_components": 20, "n_features_out": 32, "max_iter": 20, "random_state": 0}
    return TaskDrivenDictionaryRegressor(**(defaults | parameters))


def test_outputs_are_linear_in_the_codes_and_in_the_units_of_the_targets():
    targets = 1e6 + 1e4 * PIXELS
    model = quick(dtype="float64").fit(SEEN, targets)
    assert model.coef_.shape == (4, 20)
    assert model.intercept_.shape == (4,)
    expected = model.transform(SEEN) @ model.coef_.T + model.intercept_
    np.testing.assert_allclose(model.predict(SEEN), expected, rtol=1e-10)
    assert model.score(SEEN, targets) > 0.5
    # Well-conditioned: the first W is found by iterations, and Adam enlarges what they leave.
    exact = {"dtype": "float64", "optimizer": "sgd", "learning_rate": 0.001, "nu1": 0.1}
    expected = quick(**exact).fit(SEEN, targets).predict(SEEN)
    of_pixels = quick(**exact).fit(SEEN, PIXELS)
    np.testing.assert_allclose(of_pixels.predict(SEEN), (expected - 1e6) / 1e4, atol=1e-6)


def test_one_output_is_a_vector_if_the_target_is_one():
    vector = quick(dtype="float64").fit(SEEN, PIXELS[:, 0])
    column = quick(dtype="float64").fit(SEEN, PIXELS[:, :1])
    assert vector.predict(SEEN).shape == (300,)
    assert column.predict(SEEN).shape == (300, 1)
    assert vector.coef_.shape == (20,)
    assert isinstance(vector.intercept_, float)
    np.testing.assert_array_equal(vector.predict(SEEN), column.predict(SEEN)[:, 0])


def test_the_first_step_starts_from_the_best_linear_map_of_the_codes():
    model = quick(dtype="float64", max_iter=1, learning_rate=1e-12, nu1=0.01).fit(SEEN, PIXELS)
    scale = PIXELS.std(axis=0)
    ridge = Ridge(300 * 0.01).fit(model.transform(SEEN), (PIXELS - PIXELS.mean(axis=0)) / scale)
    np.testing.assert_allclose(model.coef_ / scale[:, None], ridge.coef_, atol=1e-3)


def test_training_lowers_the_loss_that_it_reports():
    model = quick(max_iter=300, t0=300).fit(SEEN, PIXELS)
    assert np.mean(model.loss_curve_[-10:]) < 0.7 * np.mean(model.loss_curve_[:10])


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_early_stopping_keeps_the_best_state(fit_intercept):
    targets = 5 + PIXELS
    model = quick(
        max_iter=100, early_stopping=True, n_iter_no_change=3, fit_intercept=fit_intercept
    ).fit(SEEN, targets)
    scores = [entry["validation_score"] for entry in model.history_ if "validation_score" in entry]
    rows = train_test_split(np.arange(300), test_size=0.1, random_state=np.random.RandomState(0))[1]
    assert model.score(SEEN[rows], targets[rows]) == pytest.approx(max(scores), abs=1e-5)


def test_a_single_sample_held_out_has_no_score():
    with pytest.raises(ValueError, match=r"validation_fraction=0\.1 holds out a single sample"):
        quick(early_stopping=True).fit(SEEN[:10], PIXELS[:10])


def test_partial_fit_goes_on_in_the_units_of_the_first_call():
    model = quick()
    for part in np.array_split(np.arange(300), 3):
        model.partial_fit(SEEN[part], PIXELS[part])
    assert model.n_iter_ == 3
    with pytest.raises(ValueError, match="y has 2 outputs, but 4 were expected"):
        model.partial_fit(SEEN, PIXELS[:, :2])
    with pytest.raises(ValueError, match=r"at least one non-zero|has a weight > 0"):
        model.partial_fit(SEEN, PIXELS, sample_weight=np.zeros(300))


def test_a_stream_of_few_samples_a_call_gets_the_atoms_of_many():
    stream = TaskDrivenDictionaryRegressor(random_state=0)
    for rows in np.array_split(np.arange(300), 15):
        stream.partial_fit(SEEN[rows], PIXELS[rows])
    assert len(stream.components_) == 100


def test_samples_without_weight_have_no_part():
    weight = np.r_[np.ones(200), np.zeros(100)]
    assert_same_model(
        quick().fit(SEEN, PIXELS, sample_weight=weight), quick().fit(SEEN[:200], PIXELS[:200])
    )


@pytest.mark.parametrize("value", [7.0, 0.1, -1e300])
def test_a_constant_target_is_predicted(value):
    model = quick().fit(SEEN, np.full(300, value))
    np.testing.assert_allclose(model.predict(SEEN), value, rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-170, 1e153, 1e307])
def test_targets_may_have_any_unit(unit):
    expected = quick().fit(SEEN, PIXELS).predict(SEEN)
    np.testing.assert_allclose(
        quick().fit(SEEN, unit * PIXELS).predict(SEEN) / unit, expected, atol=1e-5
    )


def test_without_an_intercept_there_is_none():
    targets = 5 + PIXELS
    model = quick(fit_intercept=False, dtype="float64").fit(SEEN, targets)
    np.testing.assert_array_equal(model.intercept_, np.zeros(4))
    np.testing.assert_array_equal(model.predict(np.zeros((1, 60))), np.zeros((1, 4)))
    np.testing.assert_allclose(model.predict(SEEN), model.transform(SEEN) @ model.coef_.T)


def test_weights_of_any_size_mean_the_same():
    models = [quick().fit(SEEN, PIXELS, sample_weight=np.full(300, w)) for w in (1.0, 1e307)]
    assert_same_model(*models)


def test_targets_that_later_leave_the_range():
    model = quick().partial_fit(SEEN, PIXELS)
    with pytest.raises(ValueError, match="y is too large for a model whose first targets had"):
        model.partial_fit(SEEN, 1e45 * PIXELS)


def test_targets_that_are_missing_or_sparse():
    missing = PIXELS.astype(object)
    missing[3, 1] = None
    with pytest.raises(ValueError, match="contains NaN"):
        quick().fit(SEEN, missing)
    with pytest.raises(TypeError, match="Sparse data was passed for y"):
        quick().fit(SEEN, csr_matrix(PIXELS))


def test_copies_predict_the_same():
    model = quick().fit(SEEN, PIXELS)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(SEEN), model.predict(SEEN))


def test_strings_are_refused():
    with pytest.raises(ValueError, match="y must hold real numbers, got an array of <U1"):
        quick().fit(SEEN, np.array(["a", "b"] * 150))


def test_a_table():
    samples, target = make_friedman1(600, noise=1.0, random_state=0)
    samples = StandardScaler().fit_transform(samples)
    train, test, y_train, y_test = train_test_split(samples, target, random_state=0)
    model = TaskDrivenDictionaryRegressor(random_state=0).fit(train, y_train)
    assert model.score(test, y_test) > 0.7


class RandomMeasurements(nn.Module):
    """A measurement matrix that is not learned."""

    weight: torch.Tensor

    def __init__(self, n_features, n_measurements):
        super().__init__()
        self.register_buffer("weight", torch.randn(n_measurements, n_features))

    def forward(self, x):
        return x @ self.weight.T


@pytest.mark.slow
def test_learned_measurements_beat_random_ones_at_reconstructing_patches():
    """Compressed sensing: signals of 64 pixels from the codes of 16 linear measurements."""
    pytest.importorskip("PIL")
    image = load_sample_image("china.jpg").mean(axis=2) / 255
    patches = extract_patches_2d(image, (8, 8), max_patches=4000, random_state=0).reshape(-1, 64)
    patches -= patches.mean(axis=1, keepdims=True)
    patches /= np.linalg.norm(patches, axis=1).mean()  # samples of another norm would be scaled
    train, test = patches[:3000], patches[3000:]

    def error(features, seed):
        model = TaskDrivenDictionaryRegressor(
            128,
            features=features,
            n_features_out=16,
            fit_intercept=False,
            max_iter=500,
            t0=500,
            random_state=seed,
        ).fit(train, train)
        return ((model.predict(test) - test) ** 2).mean() / test.var()

    learned = [error("linear", seed) for seed in range(2)]
    random = [error(lambda shape: RandomMeasurements(shape[0], 16), seed) for seed in range(2)]
    assert max(learned) < min(random)
    assert np.mean(learned) < 0.8 * np.mean(random)
