"""What goes into TaskDrivenDictionaryClassifier, and what comes out."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.exceptions import ConvergenceWarning

from skddl.sparse_coding import kkt_residual, sparse_encode
from tests.data import assert_same_model, model_state, peak_of_learning_a_memmap, small_digits

from .data import quick, small_net

X, y = small_digits()
IMAGES = X.reshape(-1, 1, 8, 8)


@pytest.fixture(scope="module")
def fitted():
    return quick().fit(X, y)


@pytest.mark.parametrize(
    ("features", "n_features_out", "expected"),
    [
        ("identity", None, 64),
        ("linear", None, 64),
        ("linear", 10, 10),
        ("lenet", None, 192),
        ("lenet", 64, 64),
        (small_net, None, 16),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_of_each_kind_are_learned_and_coded(features, n_features_out, expected, dtype):
    model = quick(
        features=features, n_features_out=n_features_out, image_shape=(1, 8, 8), dtype=dtype
    ).fit(X, y)
    assert model.components_.shape == (20, expected)
    assert model.components_.dtype == dtype
    assert model.coef_.shape == (10, 20)
    assert np.linalg.norm(model.components_, axis=1).max() <= 1 + 1e-6
    assert model.score(X, y) > 0.7
    # The codes are those of the features in the dictionary.
    module = copy.deepcopy(model.module_).double()
    with torch.no_grad():
        inputs = module.features(torch.from_numpy(X).double()).numpy()
    codes = model.transform(X.astype(np.float64))
    atoms = module.code.dictionary.detach().numpy()
    np.testing.assert_allclose(
        codes, sparse_encode(inputs, atoms, lambda1=model.lambda1_), atol=1e-10
    )
    assert kkt_residual(inputs, atoms, codes, lambda1=model.lambda1_).max() < 1e-6


def test_codes_of_the_samples_themselves_become_samples_again():
    X, y = small_digits()
    model = quick(features="identity", lambda1=0.01, n_components=60).fit(X, y)
    codes = model.transform(X)
    np.testing.assert_array_equal(model.inverse_transform(codes), codes @ model.components_)
    assert np.abs(model.inverse_transform(codes) - X).max() < 0.5 * np.abs(X).max()
    sparse = model.set_params(sparse_output=True).transform(X)
    np.testing.assert_allclose(
        model.inverse_transform(sparse), codes @ model.components_, atol=1e-5
    )
    with pytest.raises(ValueError, match="61 columns, but there are 60 atoms"):
        model.inverse_transform(np.zeros((1, 61)))
    assert not hasattr(quick(features="linear").fit(X, y), "inverse_transform")


def test_lambda2_shrinks_the_codes():
    weights = [0.0, 0.5]
    sizes = [
        np.abs(quick(lambda2=w, features="identity").fit(X, y).transform(X)).sum() for w in weights
    ]
    assert sizes[1] < 0.9 * sizes[0]


def test_auto_lambda1_is_a_twentieth_of_the_mean_norm_of_the_features():
    # The features of "identity" are the samples, which have unit norm.
    assert quick(features="identity").fit(X, y).lambda1_ == pytest.approx(0.05)
    assert quick(features="identity", lambda1=0.2).fit(X, y).lambda1_ == 0.2


@pytest.mark.parametrize(
    ("counts", "n_atoms"),
    [((4, 9), 1 + 1), ((10, 24), 2 + 2), ((60, 100), 10 + 18), ((25, 178), 3 + 33)],
)
def test_default_number_of_atoms_follows_the_samples_of_a_class(counts, n_atoms):
    X, y = load_digits(return_X_y=True)
    chosen = np.concatenate([np.flatnonzero(y == digit)[:n] for digit, n in enumerate(counts)])
    model = quick(n_components=None, max_iter=2).fit(X[chosen], y[chosen])
    assert len(model.components_) == n_atoms


def test_default_number_of_atoms_is_forty_per_class_at_most():
    X, y = make_blobs(600, centers=2, n_features=5, random_state=0)
    assert len(quick(n_components=None, max_iter=2).fit(X, y).components_) == 2 * 40


@pytest.mark.parametrize("features", ["linear", "identity", "lenet", small_net])
def test_images_and_their_rows_give_the_same_model(features):
    by_rows = quick(features=features, image_shape=(1, 8, 8), n_features_out=None).fit(X, y)
    by_images = quick(features=features, n_features_out=None).fit(IMAGES, y)
    assert_same_model(by_rows, by_images)
    np.testing.assert_array_equal(by_rows.predict(IMAGES), by_images.predict(X))


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_data_frames_give_the_same_model(fitted, container):
    library = pytest.importorskip(container)
    columns = [f"pixel{i}" for i in range(64)]
    samples = library.DataFrame(dict(zip(columns, X.T, strict=True)))
    model = quick().fit(samples, library.Series(y))
    assert_same_model(model, fitted)
    np.testing.assert_array_equal(model.predict(samples), fitted.predict(X))
    assert model.feature_names_in_.tolist() == columns


def test_tensors_and_lists_give_the_same_model(fitted):
    for samples, labels in [
        (torch.from_numpy(X), torch.from_numpy(y)),
        (torch.from_numpy(X).requires_grad_(), y),
        (np.asfortranarray(X), y.tolist()),
    ]:
        model = quick().fit(samples, labels)
        assert_same_model(model, fitted)
        np.testing.assert_array_equal(model.predict(samples), fitted.predict(X))


def test_bytes_are_images_from_0_to_1():
    raw = np.random.default_rng(0).integers(0, 256, size=(60, 64)).astype(np.uint8)
    labels = np.arange(60) % 3
    by_bytes = quick(features="identity").fit(raw, labels)
    by_floats = quick(features="identity").fit(raw.astype(np.float32) / 255, labels)
    assert_same_model(by_bytes, by_floats)
    np.testing.assert_array_equal(
        by_bytes.transform(raw), by_floats.transform(raw.astype(np.float32) / 255)
    )


@pytest.mark.parametrize(("fitted_on", "asked"), [("uint8", "float32"), ("float32", "uint8")])
def test_a_value_means_the_same_in_every_dtype(fitted_on, asked):
    raw = np.random.default_rng(0).integers(0, 256, size=(60, 64))
    model = quick().fit(raw.astype(fitted_on), np.arange(60) % 3)
    np.testing.assert_array_equal(
        model.transform(raw.astype(fitted_on)), model.transform(raw.astype(asked))
    )


def test_samples_of_another_scale_are_learned_just_as_well(fitted):
    for power in (-60, 3, 60):
        model = quick().fit(X * 2.0**power, y)
        np.testing.assert_array_equal(model.coef_, fitted.coef_)
        np.testing.assert_array_equal(model.predict(X * 2.0**power), fitted.predict(X))


def test_float64_has_its_whole_range():
    X64 = X.astype(np.float64)
    model = quick(dtype="float64").fit(X64, y)
    for power in (-900, 900):
        scaled = quick(dtype="float64").fit(X64 * 2.0**power, y)
        np.testing.assert_array_equal(scaled.coef_, model.coef_)
        np.testing.assert_array_equal(scaled.predict(X64 * 2.0**power), model.predict(X64))


def test_a_model_of_raw_pixels_trains_with_the_default_learning_rate():
    model = quick(max_iter=60).fit(2000 * np.abs(X), y)
    assert np.isfinite(model.coef_).all()
    assert model.score(2000 * np.abs(X), y) > 0.7


@pytest.mark.parametrize("shape", [(3000, 400), (3000, 1, 20, 20)])
def test_a_read_only_memmap_is_never_copied_whole(tmp_path, shape):
    model = quick(n_components=4, n_features_out=4, max_iter=3)
    peak = peak_of_learning_a_memmap(model, tmp_path, shape)
    # A copy in bytes would be 1.2 MB; a batch of 1,000 in float32 is 1.6 MB, of which torch and
    # numpy may hold two. A copy of all in float32 would be 4.8 MB.
    assert peak < 4.0e6


def test_labels_may_be_strings(fitted):
    names = np.array([f"digit {label}" for label in range(10)])
    model = quick().fit(X, names[y])
    assert_same_model(model, fitted)
    assert model.classes_.tolist() == names.tolist()
    np.testing.assert_array_equal(model.predict(X), names[fitted.predict(X)])


def test_predictions_of_many_classes_agree_with_one_another(fitted):
    scores, probabilities = fitted.decision_function(X), fitted.predict_proba(X)
    assert scores.shape == probabilities.shape == (200, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(probabilities, softmax(scores, axis=1))
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[probabilities.argmax(axis=1)])
    codes = fitted.transform(X)
    np.testing.assert_allclose(scores, codes @ fitted.coef_.T + fitted.intercept_, atol=1e-4)
    assert fitted.score(X, y) == (fitted.predict(X) == y).mean()


def test_without_intercept_a_zero_code_favours_no_class():
    nothing = np.zeros((1, 64), dtype=np.float32)
    model = quick(fit_intercept=False).fit(X, y)
    np.testing.assert_array_equal(model.intercept_, np.zeros(10))
    np.testing.assert_array_equal(model.decision_function(nothing), np.zeros((1, 10)))
    model = quick(features="identity").fit(X, y)
    assert np.abs(model.intercept_).max() > 1e-3
    np.testing.assert_array_equal(model.decision_function(nothing)[0], model.intercept_)


def test_predictions_of_two_classes_agree_with_one_another():
    X2, y2 = small_digits(100, n_classes=2)
    model = quick().fit(X2, y2)
    scores, probabilities = model.decision_function(X2), model.predict_proba(X2)
    assert model.coef_.shape == (2, 20)
    assert scores.shape == (100,)
    assert probabilities.shape == (100, 2)
    np.testing.assert_allclose(probabilities[:, 1], 1 / (1 + np.exp(-scores)), rtol=1e-5)
    np.testing.assert_array_equal(model.predict(X2), model.classes_[(scores > 0).astype(int)])
    assert model.score(X2, y2) > 0.95


def test_float64_samples_are_answered_in_float64(fitted):
    assert fitted.transform(X).dtype == np.float32
    assert fitted.transform(X.astype(np.float64)).dtype == np.float64
    assert fitted.module_.code.dictionary.dtype == torch.float32


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output_names_the_codes(fitted, container):
    library = pytest.importorskip(container)
    model = clone(fitted).set_output(transform=container).fit(X, y)
    codes = model.transform(X)
    assert isinstance(codes, library.DataFrame)
    names = [f"taskdrivendictionaryclassifier{i}" for i in range(20)]
    assert list(codes.columns) == names == model.get_feature_names_out().tolist()
    np.testing.assert_array_equal(codes.to_numpy(), fitted.transform(X))


def through_joblib(model, path):
    joblib.dump(model, path)
    return joblib.load(path)


@pytest.mark.parametrize(
    "copy_of",
    [
        lambda model, path: copy.deepcopy(model),
        lambda model, path: pickle.loads(pickle.dumps(model)),
        through_joblib,
    ],
)
@pytest.mark.parametrize("features", ["linear", small_net])
def test_copies_predict_alike_and_go_on_alike(tmp_path, copy_of, features):
    model = quick(features=features, n_features_out=None, optimizer="adam").fit(X, y)
    copied = copy_of(model, tmp_path / "model")
    np.testing.assert_array_equal(copied.predict_proba(X), model.predict_proba(X))
    assert copied.history_ == model.history_
    before = model_state(model)
    copied.partial_fit(X, y)
    np.testing.assert_array_equal(
        model_state(model)["classifier.weight"], before["classifier.weight"]
    )
    assert_same_model(copied, model.partial_fit(X, y))


def test_clone_is_not_fitted(fitted):
    cloned = clone(fitted)
    assert cloned.get_params() == fitted.get_params()
    assert not hasattr(cloned, "module_")
    for attribute in ("components_", "coef_", "lambda1_", "history_", "loss_curve_", "n_iter_"):
        assert hasattr(fitted, attribute)
        assert not hasattr(cloned, attribute)


def test_fitted_model_is_on_the_cpu_in_evaluation_mode(fitted):
    assert {p.device.type for p in fitted.module_.parameters()} == {"cpu"}
    assert not fitted.module_.training


def test_sample_that_overflows_is_reported_not_guessed(fitted):
    samples = X[:3].astype(np.float64)
    samples[1] = 1e308
    with pytest.raises(ValueError, match="output for sample 1"):
        fitted.predict(samples)


@pytest.mark.parametrize("init", ["class-odl", "odl", "samples"])
def test_lambda1_that_zeroes_every_code_warns_with_the_largest_useful_one(init):
    with pytest.warns(ConvergenceWarning, match="largest useful value is") as record:
        quick(lambda1=1e4, init=init).fit(X, y)
    assert len(record) == 1
    useful = float(str(record[0].message).split()[-1].rstrip("."))
    model = quick(lambda1=0.8 * useful, init=init).fit(X, y)
    assert model.history_[-1]["n_nonzero"] > 0
