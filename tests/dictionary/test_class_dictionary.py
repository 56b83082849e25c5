"""The first dictionary of task-driven learning, class by class."""

import numpy as np
import pytest

from skddl import OnlineDictionaryLearning
from skddl.dictionary import class_dictionary

from .data import objective


def test_blocks_are_in_the_order_of_the_classes(digits):
    X, y = digits
    dictionary, n_redrawn = class_dictionary(X, y, n_components=25, lambda1=0.1, random_state=0)
    assert dictionary.shape == (25, 64)
    assert n_redrawn == 0
    blocks = np.split(dictionary, np.cumsum([3] * 5 + [2] * 4))
    for label in range(10):
        # A class is coded best by the block that was learned from it.
        objectives = [objective(X[y == label], block, 0.1) for block in blocks]
        assert np.argmin(objectives) == label


def test_atoms_may_be_non_negative(digits):
    X, y = digits
    y = np.where(np.arange(len(y)) == 0, 10, y)  # a class of one sample
    dictionary, _ = class_dictionary(
        X, y, n_components=25, positive=True, positive_dict=True, random_state=0
    )
    assert dictionary.min() == 0
    assert np.linalg.norm(dictionary, axis=1).min() > 0


def test_number_of_atoms_follows_the_samples_of_each_class(digits):
    X, y = digits
    chosen = np.flatnonzero((y == 3) | (y == 7))
    chosen = np.concatenate([chosen[y[chosen] == 3][:12], chosen[y[chosen] == 7][:50]])
    dictionary, _ = class_dictionary(X[chosen], y[chosen], random_state=0)
    assert dictionary.shape == (2 + 8, 64)


def test_fewer_atoms_than_classes_are_learned_from_all_samples(digits):
    X, y = digits
    dictionary, _ = class_dictionary(X, y, n_components=4, lambda1=0.1, random_state=0)
    reference = OnlineDictionaryLearning(4, lambda1=0.1, max_iter=100, random_state=0).fit(X)
    np.testing.assert_array_equal(dictionary, reference.components_)


@pytest.mark.parametrize(
    ("labels", "parameters", "message"),
    [
        ([np.nan] * 100, {}, "NaN"),
        ([0, 1], {}, "inconsistent numbers of samples"),
        ([0] * 50 + [1] * 50, {"n_components": 0}, "n_components.*an int in the range"),
        (range(100), {"lambda1": -5}, "lambda1.*a float in the range"),
        (range(100), {"lambda2": -1}, "lambda2.*a float in the range"),
        (range(100), {"solver": "nonsense"}, "solver.*a str among"),
    ],
)
def test_class_dictionary_refuses_bad_input(digits, labels, parameters, message):
    with pytest.raises(ValueError, match=message):
        class_dictionary(digits[0][:100], labels, **parameters)
