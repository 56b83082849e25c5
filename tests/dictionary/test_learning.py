"""Online dictionary learning."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits, load_sample_images
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.image import extract_patches_2d

from skddl import OnlineDictionaryLearning, SampleNormalizer, _dictionary_updates
from skddl._first_atoms import auto_lambda1, draw_atoms
from skddl.sparse_coding import _spams

from ..data import SOLVERS_HERE
from .data import LAMBDA1, learner, objective, spams


def test_all_engines_reach_the_same_objective(digits):
    X, _ = digits
    values = {name: objective(X, learner(solver=name).fit(X).components_) for name in SOLVERS_HERE}
    for name, value in values.items():
        assert value == pytest.approx(values["fista"], rel=1e-5 if name == "spams" else 1e-6), name


@pytest.mark.parametrize("solver", SOLVERS_HERE)
def test_objective_is_as_good_where_samples_do_not_fit_into_memory(digits, solver, monkeypatch):
    X, _ = digits
    expected = objective(X, learner(solver=solver).fit(X).components_)
    monkeypatch.setattr(_dictionary_updates, "_MAX_SAMPLES", 200)  # two mini-batches
    model = learner(solver=solver).fit(X)
    assert model.n_iter_ == 100
    assert objective(X, model.components_) == pytest.approx(expected, rel=0.02)


def photographs():
    """Patches of 7 x 7 pixels of two photographs, of zero mean and unit norm."""
    rng = np.random.RandomState(0)
    images = [image.mean(axis=2) for image in load_sample_images().images]
    patches = [
        extract_patches_2d(image, (7, 7), max_patches=5000, random_state=rng) for image in images
    ]
    return SampleNormalizer().fit_transform(np.concatenate(patches).reshape(-1, 49))


def mixtures():
    """Of two non-negative atoms of three numbers."""
    rng = np.random.RandomState(0)
    atoms = np.abs(rng.standard_normal((2, 3)))
    return rng.uniform(size=(1000, 2)) @ (atoms / np.linalg.norm(atoms, axis=1, keepdims=True))


PEERS = {
    "photographs": (photographs, {"n_components": 64, "lambda1": 0.05}),
    "digits": (lambda: load_digits().data / 16, {"n_components": 30, "lambda1": 0.2}),
    "digits, non-negative": (
        lambda: load_digits().data / 16,
        {"n_components": 30, "lambda1": 0.2, "positive": True, "positive_dict": True},
    ),
    "mixtures, 0.02": (
        mixtures,
        {"n_components": 2, "lambda1": 0.02, "positive": True, "positive_dict": True},
    ),
    "mixtures, 0.005": (
        mixtures,
        {"n_components": 2, "lambda1": 0.005, "positive": True, "positive_dict": True},
    ),
}


def learned_by_spams(X, init, n_iter, *, lambda1, positive=False, positive_dict=False, **_):
    return np.ascontiguousarray(
        spams.trainDL(
            np.asfortranarray(X.T),
            D=np.asfortranarray(init.T),
            lambda1=lambda1,
            posAlpha=positive,
            posD=positive_dict,
            iter=n_iter,
            batchsize=256,
            numThreads=torch.get_num_threads(),  # SPAMS sets it for all of the process
            verbose=False,
        ).T
    )


@pytest.mark.skipif(spams is None, reason="SPAMS is not installed")
@pytest.mark.parametrize(
    "n_iter", [200, *(pytest.param(n, marks=pytest.mark.slow) for n in (1000, 4000))]
)
@pytest.mark.parametrize("name", PEERS)
def test_objective_is_no_worse_than_that_of_spams(name, n_iter):
    make, parameters = PEERS[name]
    X = make()
    positive = parameters.get("positive", False)
    ours, theirs = [], []
    for seed in range(4):
        init = draw_atoms(X, parameters["n_components"], np.random.RandomState(seed))
        model = OnlineDictionaryLearning(
            **parameters, init=init, max_iter=n_iter, random_state=seed
        ).fit(X)
        by_spams = learned_by_spams(X, init, n_iter, **parameters)
        for values, atoms in ((ours, model.components_), (theirs, by_spams)):
            values.append(objective(X, atoms, parameters["lambda1"], positive))
    # From one start they may end in different local minima.
    assert np.mean(ours) <= 1.001 * np.mean(theirs)


def test_objective_is_no_worse_than_that_of_scikit_learn(digits):
    X = digits[0][:300]
    ours, theirs = [], []
    for seed in range(4):
        init = draw_atoms(X, 20, np.random.RandomState(seed))
        of_sklearn = MiniBatchDictionaryLearning(
            20,
            dict_init=init,
            alpha=LAMBDA1,
            batch_size=50,
            max_iter=10,  # passes over 300 samples: 60 batches
            max_no_improvement=None,
            random_state=seed,
        ).fit(X)
        model = learner(
            n_components=20, init=init, max_iter=60, batch_size=50, random_state=seed
        ).fit(X)
        for values, learned in ((ours, model), (theirs, of_sklearn)):
            values.append(objective(X, learned.components_))
    assert np.mean(ours) <= 1.001 * np.mean(theirs)


def test_no_more_mini_batches_than_asked_for_where_atoms_are_replaced():
    X = np.random.default_rng(0).standard_normal((10, 8))
    for max_iter in (1, 4, 100):
        model = OnlineDictionaryLearning(12, max_iter=max_iter, random_state=0).fit(X)
        assert model.n_iter_ == max_iter


@pytest.mark.parametrize("positive_dict", [False, True])
def test_the_core_updates_atoms_as_numpy_does(digits, monkeypatch, positive_dict):
    if _dictionary_updates.core is None:
        pytest.skip("there is no core")
    X = digits[0][:200].astype(np.float64)
    parameters = {"n_components": 70, "max_iter": 5, "positive_dict": positive_dict}
    by_core = learner(**parameters).fit(X).components_
    monkeypatch.setattr(_dictionary_updates, "core", None)
    by_numpy = learner(**parameters).fit(X).components_
    np.testing.assert_allclose(by_core, by_numpy, atol=1e-12)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("n_nonzero_coefs", [2, 8])
def test_codes_have_as_many_non_zeros_as_asked_for(digits, n_nonzero_coefs, positive):
    X, _ = digits
    sparsity = {"lambda1": "auto", "n_nonzero_coefs": n_nonzero_coefs, "positive": positive}
    model = learner(**sparsity).fit(X)
    found = np.count_nonzero(model.transform(X)) / len(X)
    assert found == pytest.approx(n_nonzero_coefs, rel=0.05)
    for _ in range(20):
        model.partial_fit(X)
    found = np.count_nonzero(model.transform(X)) / len(X)
    assert found == pytest.approx(n_nonzero_coefs, rel=0.1)
    with pytest.raises(ValueError, match=r"n_nonzero_coefs=5 finds lambda1 by itself"):
        learner(n_nonzero_coefs=5, lambda1=0.1).fit(X)
    with pytest.raises(ValueError, match=r"n_nonzero_coefs=3 does not fit the model"):
        model.set_params(n_nonzero_coefs=3).partial_fit(X)


def test_more_non_zeros_than_samples_allow_leave_lambda1_in_range(digits):
    X = np.repeat(digits[0][:6], 10, axis=0)
    sparsity = {"lambda1": "auto", "n_nonzero_coefs": 12}
    model = learner(n_components=20, max_iter=200, batch_size=20, **sparsity).fit(X)
    assert 1e-7 < model.lambda1_ < 0.1
    with pytest.raises(ValueError, match=r"n_nonzero_coefs=12 is more than there are atoms"):
        learner(n_components=11, **sparsity).fit(X)


def test_samples_that_are_atoms_already_replace_none(digits):
    X = digits[0][:20]
    assert learner(n_components=60, max_iter=100, random_state=0).fit(X).n_redrawn_ == 0


def test_codes_that_cannot_be_positive_are_warned_of(digits):
    X = -np.abs(digits[0]) - 0.01
    with pytest.warns(ConvergenceWarning, match=r"Every code is zero, since positive=True"):
        learner(positive=True, positive_dict=True, max_iter=3).fit(X)


@pytest.mark.parametrize("init", ["drawn", "given"])
def test_positive_atoms_are_positive(digits, init):
    X, _ = digits
    atoms = None if init == "drawn" else X[:40]
    model = learner(positive_dict=True, init=atoms).fit(X)
    assert model.components_.min() == 0
    assert model.components_.max() > 0.1
    assert np.linalg.norm(model.components_, axis=1).max() <= 1 + 1e-6
    assert objective(X, model.components_) < objective(X, np.maximum(X[:40], 0))


@pytest.mark.parametrize("solver", SOLVERS_HERE)
def test_partial_fit_lowers_the_objective(digits, solver):
    X, _ = digits
    model = learner(solver=solver)
    values = [objective(X, model.partial_fit(X).components_) for _ in range(3)]
    start = learner(solver=solver)
    start._start(X, np.random.RandomState(0))
    values.insert(0, objective(X, start.components_))
    assert values[1] < 0.97 * values[0]
    assert values[3] < values[2] < values[1]
    assert model.n_iter_ == 18


def test_partial_fit_after_fit_does_not_forget(digits):
    X, _ = digits
    model = learner().fit(X)
    before = objective(X, model.components_)
    assert objective(X, model.partial_fit(X[:100]).components_) < 1.02 * before


@pytest.mark.parametrize("solver", SOLVERS_HERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_atoms_are_in_the_unit_ball_and_of_the_type_of_the_samples(digits, solver, dtype):
    X = digits[0].astype(dtype)
    model = learner(solver=solver, max_iter=10).fit(X)
    assert model.components_.dtype == dtype
    assert np.linalg.norm(model.components_, axis=1).max() <= 1 + 1e-6
    assert model.transform(X).dtype == dtype
    assert model.inverse_transform(model.transform(X)).dtype == dtype


@pytest.mark.parametrize("solver", SOLVERS_HERE)
def test_unused_atoms_are_drawn_again_and_counted(digits, solver):
    X, _ = digits
    init = learner()
    init._start(X, np.random.RandomState(0))
    atoms = init.components_.copy()
    atoms[:7] = 1e-6  # too short to code anything
    model = learner(solver=solver, init=atoms, max_iter=20).fit(X)
    assert model.n_redrawn_ >= 7
    assert model.transform(X).any(axis=0).all()


def test_atoms_that_are_all_in_use_are_not_drawn_again(digits):
    assert learner().fit(digits[0]).n_redrawn_ == 0


def test_first_atoms_are_distinct_where_most_samples_are_alike(digits):
    X, _ = digits
    # As among the patches of images whose background is empty.
    scale = np.random.default_rng(0).uniform(0.5, 2, (6000, 1))
    X = np.concatenate([scale * X[:1], X[1:100]]).astype(np.float32)
    atoms = draw_atoms(X, 40, np.random.RandomState(0))
    assert np.triu(atoms @ atoms.T, 1).max() < 1 - 1e-5
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1, rtol=1e-5)


def test_first_atoms_are_repeated_only_where_there_are_too_few_samples(digits):
    X = np.repeat(digits[0][:3], 100, axis=0)
    atoms = draw_atoms(X, 5, np.random.RandomState(0))
    assert len(np.unique(atoms[:3], axis=0)) == 3
    assert len(np.unique(atoms, axis=0)) == 3


def test_init_is_where_learning_starts(digits):
    X, _ = digits
    learned = learner().fit(X).components_
    kept = learned.copy()
    again = learner(init=learned, max_iter=1, batch_size=600).fit(X).components_
    np.testing.assert_array_equal(learned, kept)
    assert np.abs(again - learned).max() < 0.2
    assert objective(X, again) < 1.01 * objective(X, learned)


@pytest.mark.parametrize("solver", SOLVERS_HERE)
def test_positive_codes_are_positive(digits, solver):
    X, _ = digits
    model = learner(positive=True, solver=solver, max_iter=20).fit(X)
    codes = model.transform(X)
    assert codes.min() == 0
    assert codes.max() > 0.1


@pytest.mark.parametrize("solver", SOLVERS_HERE)
def test_another_seed_gives_another_dictionary(digits, solver):
    first, other = (
        learner(solver=solver, max_iter=10, random_state=seed).fit(digits[0]).components_
        for seed in (0, 1)
    )
    assert np.abs(first - other).max() > 0.1


def test_inverse_transform_multiplies_codes_by_atoms(digits):
    X, _ = digits
    model = learner(max_iter=10).fit(X)
    codes = model.transform(X)
    np.testing.assert_allclose(model.inverse_transform(codes), codes @ model.components_)
    with pytest.raises(ValueError, match="41 columns, but there are 40 atoms"):
        model.inverse_transform(np.zeros((1, 41)))


def test_auto_lambda1_is_a_twentieth_of_the_mean_norm(digits):
    model = OnlineDictionaryLearning(10, max_iter=2, random_state=0).fit(3 * digits[0])
    assert model.lambda1_ == pytest.approx(0.15)


def test_it_works_without_the_core_and_spams(digits, without_core, monkeypatch):
    X, _ = digits
    by_torch = learner(solver="fista", max_iter=10).fit(X).components_
    monkeypatch.setattr(_spams, "spams", None)
    np.testing.assert_array_equal(learner(max_iter=10).fit(X).components_, by_torch)
    with pytest.raises(ValueError, match="solver='spams' does not work here"):
        learner(solver="spams").fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lambda1": 0.0}, "lambda1"),
        ({"lambda1": -1.0}, "lambda1"),
        ({"lambda2": -1.0}, "lambda2"),
        ({"max_iter": 0}, "max_iter"),
        ({"solver": "simplex"}, "solver"),
        ({"init": np.zeros((40, 3))}, "init must have shape"),
        ({"init": np.full((40, 64), np.nan)}, "init contains NaN"),
    ],
)
def test_bad_parameter_is_named_and_leaves_the_model_as_it_was(digits, parameters, message):
    X, _ = digits
    model = learner(max_iter=5).fit(X)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.set_params(**parameters).fit(X)
    model.set_params(**{name: before[name] for name in parameters})
    assert vars(model) == before


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (lambda X: np.where(X > 0, np.nan, X), ValueError, "NaN"),
        (lambda X: np.where(X > 0, np.inf, X), ValueError, "infinity"),
        (sparse.csr_matrix, TypeError, "Sparse"),
        (lambda X: X.reshape(-1, 8, 8), ValueError, "dim 3"),
        (lambda X: X[:0], ValueError, "0 sample"),
        (lambda X: X[0], ValueError, "2D"),
    ],
)
def test_bad_samples_leave_the_model_as_it_was(digits, method, bad, error, message):
    X, _ = digits
    model = learner(max_iter=5).fit(X)
    before, codes = dict(vars(model)), model.transform(X)
    with pytest.raises(error, match=message):
        getattr(model, method)(bad(X))
    assert vars(model) == before
    np.testing.assert_array_equal(model.transform(X), codes)


def test_lambda1_that_zeroes_every_code_warns_with_the_largest_useful_one(digits):
    X, _ = digits
    with pytest.warns(ConvergenceWarning, match="largest useful value is") as record:
        learner(lambda1=5.0, max_iter=5).fit(X)
    useful = float(str(record[0].message).split()[-1].rstrip("."))
    assert 0.5 < useful <= 1.001  # the atoms are unit-norm samples


@pytest.mark.parametrize("solver", SOLVERS_HERE)
def test_scalars_of_numpy_are_taken(digits, solver):
    X = digits[0]
    plain = learner(solver=solver, max_iter=6, batch_size=50, positive=True).fit(X)
    scalars = {"max_iter": np.int64(6), "batch_size": np.int64(50), "positive": np.bool_(True)}
    scalars |= {"lambda1": np.float64(LAMBDA1), "n_components": np.int64(40)}
    np.testing.assert_array_equal(
        learner(solver=solver, **scalars).fit(X).components_, plain.components_
    )


def test_a_fitted_dictionary_codes_with_the_weights_it_was_learned_with(digits):
    X = digits[0]
    model = learner(max_iter=5, lambda2=0.1).fit(X)
    codes = model.transform(X)
    model.set_params(lambda1=0.5, lambda2=1.0, positive=True)
    np.testing.assert_array_equal(model.transform(X), codes)
    with pytest.raises(ValueError, match=r"lambda1=0\.5 does not fit the model"):
        model.partial_fit(X)


def test_samples_of_any_scale_have_an_automatic_weight(digits):
    X = digits[0].astype(np.float32)
    for scale in (1e-30, 1e30):
        assert auto_lambda1(X * np.float32(scale)) == pytest.approx(0.05 * scale, rel=1e-4)


def test_partial_fit_draws_again_what_was_never_used(digits):
    X = digits[0]
    init = np.concatenate([X[:37], np.zeros((3, 64))])
    model = learner(init=init).partial_fit(X)
    assert model.n_redrawn_ == 3
    np.testing.assert_allclose(np.linalg.norm(model.components_[37:], axis=1), 1)
    model.partial_fit(X)
    assert model.n_redrawn_ == 3
    assert (model.transform(X)[:, 37:] != 0).any(axis=0).all()


def test_tensors_are_taken_as_arrays(digits):
    X = digits[0][:200]
    expected = OnlineDictionaryLearning(10, max_iter=5, random_state=0).fit(X)
    tensor = torch.from_numpy(X).requires_grad_()
    model = OnlineDictionaryLearning(10, max_iter=5, random_state=0).fit(tensor)
    np.testing.assert_array_equal(model.components_, expected.components_)
    np.testing.assert_array_equal(model.transform(tensor), expected.transform(X))


def test_threads_of_torch_are_left_alone(digits):
    n_threads = torch.get_num_threads()
    learner(max_iter=2).fit(digits[0])
    assert torch.get_num_threads() == n_threads


def test_samples_whose_squares_overflow(digits):
    with pytest.raises(ValueError, match=r"beyond float64: scale the samples"):
        OnlineDictionaryLearning(9).fit(1e300 * digits[0].astype(np.float64))
