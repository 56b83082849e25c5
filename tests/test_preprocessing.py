"""Tests of skddl.preprocessing."""

import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from skddl import SampleNormalizer


@pytest.fixture
def samples():
    return np.random.default_rng(0).normal(3.0, 2.0, size=(7, 12))


@parametrize_with_checks([SampleNormalizer(), SampleNormalizer(copy=False)])
def test_estimator_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_output_equals_the_definition(samples):
    centred = samples - samples.mean(axis=1, keepdims=True)
    expected = centred / np.sqrt((centred**2).sum(axis=1, keepdims=True))
    actual = SampleNormalizer().fit_transform(samples)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.float16, np.float32),
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (np.bool_, np.float32),
        (np.int32, np.float64),
        (np.int64, np.float64),
    ],
)
def test_type_of_output_holds_the_input_exactly(dtype, expected):
    X = np.array([[0, 1, 0], [1, 1, 0]], dtype=dtype)
    actual = SampleNormalizer().fit_transform(X)
    assert actual.dtype == expected
    reference = np.array([[-1, 2, -1], [1, 1, -2]]) / np.sqrt(6)
    np.testing.assert_allclose(actual, reference, rtol=0, atol=np.finfo(expected).eps)


def test_integers_do_not_wrap_around():
    X = np.array([[0, 255], [255, 0]], dtype=np.uint8)
    expected = np.array([[-1, 1], [1, -1]]) / np.sqrt(2)
    np.testing.assert_allclose(SampleNormalizer().fit_transform(X), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e8 + 0.1, 1e-30, 3e38])
@pytest.mark.parametrize("n_features", [1, 3, 10, 784])
def test_constant_sample_becomes_exact_zeros(value, n_features, dtype):
    X = np.full((2, n_features), value, dtype=dtype)
    np.testing.assert_array_equal(SampleNormalizer().fit_transform(X), 0)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (np.float32, 1e30),
        (np.float32, 1e-30),
        (np.float64, 1e30),
        (np.float64, 1e-30),
        (np.float64, 1e307),
        (np.float64, 1e-300),
    ],
)
def test_scale_of_a_sample_does_not_matter(samples, dtype, scale):
    expected = SampleNormalizer().fit_transform(samples)
    actual = SampleNormalizer().fit_transform((samples * scale).astype(dtype))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("largest", [np.finfo(np.float64).max, 5e-324])
def test_largest_and_smallest_float_are_normalized(largest):
    X = np.array([[-largest, 0.0, largest]])
    expected = np.array([[-1, 0, 1]]) / np.sqrt(2)
    np.testing.assert_allclose(SampleNormalizer().fit_transform(X), expected, rtol=0, atol=1e-15)


def test_smallest_difference_around_a_large_mean_is_kept():
    step = np.spacing(1.0)
    X = np.array([[1.0, 1.0, 1.0, 1.0 + step]])
    expected = np.array([[-1, -1, -1, 3]]) / np.sqrt(12)
    np.testing.assert_allclose(SampleNormalizer().fit_transform(X), expected, rtol=0, atol=1e-15)


@settings(max_examples=200, deadline=None)
@given(
    X=arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(1, 9)),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_any_finite_sample_gets_zero_mean_and_norm_one_or_zero(X):
    actual = SampleNormalizer().fit_transform(X)
    constant = (X == X[:, :1]).all(axis=1)
    np.testing.assert_allclose(actual.sum(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(actual, axis=1), ~constant, rtol=0, atol=1e-14)


def test_images_are_normalized_over_all_pixels_and_channels(samples):
    images = samples.reshape(7, 3, 2, 2)
    expected = SampleNormalizer().fit_transform(samples)
    normalizer = SampleNormalizer().fit(images)
    assert normalizer.n_features_in_ == 12
    actual = normalizer.transform(images)
    assert actual.shape == images.shape
    np.testing.assert_array_equal(actual.reshape(7, 12), expected)
    # Flat samples and images are the same data.
    np.testing.assert_array_equal(normalizer.transform(samples), expected)


def test_result_does_not_depend_on_the_memory_order_or_the_batch(samples):
    expected = SampleNormalizer().fit_transform(samples)
    actual = SampleNormalizer().fit_transform(np.asfortranarray(samples))
    np.testing.assert_array_equal(actual, expected)
    one_by_one = [SampleNormalizer().fit_transform(row[None])[0] for row in samples]
    np.testing.assert_array_equal(one_by_one, expected)


def test_blocks_cover_all_samples(samples, monkeypatch):
    expected = SampleNormalizer().fit_transform(samples)
    # Three samples a block, and one left over; then fewer entries than one sample has.
    for entries in (36, 5):
        monkeypatch.setattr("skddl.preprocessing._BLOCK_ENTRIES", entries)
        np.testing.assert_array_equal(SampleNormalizer().fit_transform(samples), expected)


def test_memory_beside_the_output_is_a_few_blocks():
    X = np.random.default_rng(0).integers(0, 256, size=(60_000, 784), dtype=np.uint8)
    normalizer = SampleNormalizer().fit(X)
    tracemalloc.start()
    try:
        output = normalizer.transform(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert output.nbytes == 4 * X.size
    assert peak - output.nbytes < 64 * 2**20


def test_input_is_left_alone_by_default(samples):
    before = samples.copy()
    SampleNormalizer().fit_transform(samples)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("shape", [(7, 12), (7, 3, 2, 2)])
def test_without_copy_the_result_is_written_into_the_input(samples, shape):
    X = samples.copy().reshape(shape)
    expected = SampleNormalizer().fit_transform(X)
    actual = SampleNormalizer(copy=False).fit_transform(X)
    assert np.shares_memory(actual, X)
    np.testing.assert_array_equal(X, expected)


def test_without_copy_a_read_only_input_is_copied(samples):
    expected = SampleNormalizer().fit_transform(samples)
    samples.setflags(write=False)
    before = samples.copy()
    actual = SampleNormalizer(copy=False).fit_transform(samples)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(samples, before)


def test_memmap_is_read(samples, tmp_path):
    path = tmp_path / "samples.dat"
    samples.tofile(path)
    X = np.memmap(path, dtype=np.float64, mode="r", shape=samples.shape)
    expected = SampleNormalizer().fit_transform(samples)
    np.testing.assert_array_equal(SampleNormalizer().fit_transform(X), expected)


def test_nested_lists_are_accepted(samples):
    expected = SampleNormalizer().fit_transform(samples)
    for X in (samples, samples.reshape(7, 3, 2, 2)):
        actual = SampleNormalizer().fit_transform(X.tolist())
        np.testing.assert_array_equal(actual, expected.reshape(X.shape))


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_data_frames_are_accepted(samples, container):
    names = [f"pixel{i}" for i in range(12)]
    X = pytest.importorskip(container).DataFrame(dict(zip(names, samples.T, strict=True)))
    normalizer = SampleNormalizer().fit(X)
    assert list(normalizer.get_feature_names_out()) == names
    expected = SampleNormalizer().fit_transform(samples)
    np.testing.assert_array_equal(normalizer.transform(X), expected)


def test_tensors_are_accepted(samples):
    expected = SampleNormalizer().fit_transform(samples)
    tensor = torch.from_numpy(samples)
    np.testing.assert_array_equal(SampleNormalizer().fit_transform(tensor), expected)
    trained = torch.from_numpy(samples).requires_grad_()
    np.testing.assert_array_equal(SampleNormalizer().fit_transform(trained), expected)
    short = tensor.to(torch.bfloat16)
    np.testing.assert_array_equal(
        SampleNormalizer().fit_transform(short), SampleNormalizer().fit_transform(short.float())
    )


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output_gives_a_data_frame_with_the_names_of_the_input(samples, container):
    library, pandas = map(pytest.importorskip, (container, "pandas"))
    X = pandas.DataFrame(samples, columns=[f"pixel{i}" for i in range(12)])
    output = SampleNormalizer().set_output(transform=container).fit_transform(X)
    assert isinstance(output, library.DataFrame)
    assert list(output.columns) == list(X.columns)
    np.testing.assert_array_equal(output, SampleNormalizer().fit_transform(samples))


def test_clone_and_pickle_keep_the_parameter(samples):
    normalizer = SampleNormalizer(copy=False).fit(samples.copy())
    assert clone(normalizer).copy is False
    restored = pickle.loads(pickle.dumps(normalizer))
    np.testing.assert_array_equal(
        restored.transform(samples.copy()), normalizer.transform(samples.copy())
    )


def test_transform_needs_no_fit(samples):
    expected = SampleNormalizer().fit_transform(samples)
    np.testing.assert_array_equal(SampleNormalizer().transform(samples), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(7, 12), (7, 3, 2, 2)])
def test_non_finite_values_are_refused(samples, shape, bad):
    samples[3, 4] = bad
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        SampleNormalizer().fit(samples.reshape(shape))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros(5), ValueError, "Expected 2D array, got 1D array"),
        (np.zeros((2, 3, 4)), ValueError, r"\(2, 3, 4\).*reshape"),
        (np.zeros((2, 3, 4, 5, 6)), ValueError, r"\(2, 3, 4, 5, 6\).*reshape"),
        (np.zeros((0, 5)), ValueError, r"0 sample\(s\)"),
        (np.zeros((0, 1, 5, 5)), ValueError, r"0 sample\(s\)"),
        (np.zeros((5, 0)), ValueError, r"0 feature\(s\)"),
        (np.zeros((5, 1, 0, 3)), ValueError, r"0 feature\(s\)"),
        (sparse.csr_array(np.eye(3)), TypeError, "[Ss]parse"),
        (np.eye(3) * 1j, ValueError, "Complex data not supported"),
    ],
)
def test_wrong_input_is_refused_by_fit_and_transform(X, error, message):
    with pytest.raises(error, match=message):
        SampleNormalizer().fit(X)
    with pytest.raises(error, match=message):
        SampleNormalizer().transform(X)


def test_another_number_of_features_is_refused_and_the_model_kept(samples):
    normalizer = SampleNormalizer().fit(samples)
    for X in (np.ones((2, 11)), np.ones((2, 1, 3, 3))):
        with pytest.raises(ValueError, match="expecting 12 features as input"):
            normalizer.transform(X)
    assert normalizer.n_features_in_ == 12


def test_copy_must_be_a_bool(samples):
    with pytest.raises(ValueError, match="The 'copy' parameter of SampleNormalizer"):
        SampleNormalizer(copy="yes").fit(samples)
