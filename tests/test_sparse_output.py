"""`sparse_output`: what `transform` returns then, and that nothing else depends on it."""

import copy
import pickle

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skddl import (
    DeepDictionaryClassifier,
    OnlineDictionaryLearning,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
    _base,
)
from tests.data import small_digits

X, y = small_digits(200, n_classes=3)
ESTIMATORS = [
    TaskDrivenDictionaryClassifier(20, max_iter=10, random_state=0),
    TaskDrivenDictionaryRegressor(20, max_iter=10, random_state=0),
    DeepDictionaryClassifier((15, 20), max_iter=5, random_state=0),
    DeepDictionaryClassifier(
        6, patch_size=3, stride=2, image_shape=(1, 8, 8), max_iter=3, random_state=0
    ),
    OnlineDictionaryLearning(20, max_iter=10, random_state=0),
]


@pytest.fixture(params=ESTIMATORS, ids=lambda estimator: type(estimator).__name__, scope="module")
def original(request):
    return sklearn.clone(request.param).fit(X, y)


@pytest.fixture
def fitted(original):
    return copy.deepcopy(original)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_codes_are_the_dense_ones(fitted, dtype, monkeypatch):
    monkeypatch.setattr(_base, "_INFERENCE_SAMPLES", 70)  # three batches, of which one is shorter
    dense = fitted.transform(X.astype(dtype))
    codes = fitted.set_params(sparse_output=True).transform(X.astype(dtype))
    assert type(codes) is csr_matrix
    assert codes.dtype == dense.dtype == dtype
    assert_array_equal(codes.toarray(), dense)
    assert codes.nnz == np.count_nonzero(dense) < dense.size
    assert codes.indices.dtype == codes.indptr.dtype == np.int32
    again = csr_matrix((codes.data, codes.indices, codes.indptr), shape=codes.shape)
    assert again.has_canonical_format  # as scipy finds: sorted, no entry twice
    codes.data *= 2  # it belongs to the user
    assert_array_equal(codes.toarray(), 2 * dense)


def test_learning_does_not_depend_on_it(fitted):
    other = sklearn.clone(fitted).set_params(sparse_output=True).fit(X, y)
    for atoms, expected in zip(other.components_, fitted.components_, strict=True):
        assert_array_equal(atoms, expected)
    if hasattr(fitted, "predict"):
        assert_array_equal(other.predict(X), fitted.predict(X))


def test_codes_are_of_the_kind_that_scikit_learn_returns(fitted):
    fitted.set_params(sparse_output=True)
    with sklearn.config_context():
        if "sparse_interface" in sklearn.get_config():  # since scikit-learn 1.9
            sklearn.set_config(sparse_interface="sparray")
        kind = type(OneHotEncoder().fit_transform([[0], [1]]))
        assert kind in (csr_array, csr_matrix)
        assert type(fitted.transform(X)) is kind


@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_data_frames_are_refused_before_anything_is_coded(fitted, frame, monkeypatch):
    fitted.set_params(sparse_output=True).set_output(transform=frame)
    monkeypatch.setattr(type(fitted), "_validate_samples", None, raising=False)
    monkeypatch.setattr(type(fitted), "_validate", None, raising=False)
    message = f"{frame.capitalize()} output does not support sparse data. Set sparse_output=False"
    with pytest.raises(ValueError, match=message):
        fitted.transform(X)


def test_other_values_are_refused(fitted):
    with pytest.raises(ValueError, match="The 'sparse_output' parameter"):
        fitted.set_params(sparse_output="yes").fit(X, y)


def test_a_model_that_was_pickled_keeps_it(fitted):
    again = pickle.loads(pickle.dumps(fitted.set_params(sparse_output=True)))
    codes = pickle.loads(pickle.dumps(again.transform(X)))
    assert_array_equal(codes.toarray(), fitted.transform(X).toarray())


def test_models_of_scikit_learn_learn_from_sparse_codes(fitted):
    dense, sparse = (
        make_pipeline(sklearn.clone(fitted).set_params(sparse_output=flag), LogisticRegression())
        for flag in (False, True)
    )
    probabilities = dense.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(sparse.fit(X, y).predict_proba(X), probabilities, atol=1e-3)


def test_codes_that_are_all_zero():
    model = OnlineDictionaryLearning(20, max_iter=10, random_state=0, sparse_output=True).fit(X)
    codes = model.transform(np.zeros((3, 64), dtype=np.float32))
    assert codes.nnz == 0
    assert codes.shape == (3, 20)


def test_samples_for_sparse_codes():
    model = OnlineDictionaryLearning(20, max_iter=10, random_state=0).fit(X)
    expected = model.inverse_transform(model.transform(X))
    codes = model.set_params(sparse_output=True).transform(X)
    assert issparse(codes)
    samples = model.inverse_transform(codes)
    assert isinstance(samples, np.ndarray)
    np.testing.assert_allclose(samples, expected, atol=1e-6)


def test_a_sample_that_is_too_large_is_named():
    model = TaskDrivenDictionaryClassifier(
        20, features="linear", max_iter=2, random_state=0, sparse_output=True
    )
    model.fit(X, y)
    large = X.copy()
    large[150] = 3e38
    with pytest.raises(ValueError, match="output for sample 150 is not finite"):
        model.transform(large)
