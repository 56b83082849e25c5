"""scikit-learn's meta-estimators and its parallel search take our estimators."""

import numpy as np
import pytest
import torch
from joblib import Parallel, cpu_count, delayed, parallel_config
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from skddl import (
    ConvNetClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    SampleNormalizer,
)

from .task_driven.data import quick

X, y = load_digits(return_X_y=True)
X, y = X[y < 4][:160], y[y < 4][:160]


def pipeline(**parameters):
    return Pipeline([("normalize", SampleNormalizer()), ("classify", quick(**parameters))])


def test_grid_search_in_two_processes_finds_what_one_finds():
    grid = {"classify__nu1": [1e-3, 1.0], "classify__n_components": [4, 8]}
    searches = [GridSearchCV(pipeline(), grid, cv=2, n_jobs=n_jobs).fit(X, y) for n_jobs in (2, 1)]
    in_two, in_one = (search.cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_array_equal(in_two, in_one)
    assert searches[0].best_score_ > 0.9
    np.testing.assert_array_equal(searches[0].predict_proba(X), searches[1].predict_proba(X))


@pytest.mark.slow
def test_grid_search_on_two_workers_of_dask_finds_what_one_process_finds():
    distributed = pytest.importorskip("distributed")
    grid = {"classify__nu1": [1e-3, 1.0], "classify__n_components": [4, 8]}
    search = GridSearchCV(pipeline(), grid, cv=2)
    workers = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**workers) as cluster, distributed.Client(cluster) as client:
        with parallel_config(backend="dask"):
            search.fit(X, y)
        assert len(client.scheduler_info()["workers"]) == 2
    expected = GridSearchCV(pipeline(), grid, cv=2).fit(X, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(search.predict_proba(X), expected.predict_proba(X))


@pytest.mark.slow
def test_grid_search_over_architecture_activation_and_number_of_steps():
    model = DeTraMeClassifier(
        20, image_shape=(1, 8, 8), width=0.1, max_epochs=15, batch_size=20, random_state=0
    )
    grid = {
        "architecture": ["dense", "plain-3"],
        "activation": ["q-metric", "relu"],
        "n_steps": [1, 3],
    }
    searches = [GridSearchCV(model, grid, cv=2, n_jobs=n_jobs).fit(X, y) for n_jobs in (2, 1)]
    in_two, in_one = (search.cv_results_ for search in searches)
    np.testing.assert_array_equal(in_two["mean_test_score"], in_one["mean_test_score"])
    scores = {
        tuple(params.values()): score
        for params, score in zip(in_one["params"], in_one["mean_test_score"], strict=True)
    }
    for architecture in grid["architecture"]:
        assert scores["relu", architecture, 1] == scores["relu", architecture, 3]  # it takes none
    assert searches[0].best_score_ > 0.9
    assert searches[0].best_estimator_.score(X, y) > 0.95


@pytest.mark.parametrize("estimator", [ConvNetClassifier, DeTraMeClassifier])
def test_networks_in_a_pipeline(estimator):
    network = estimator(30, max_epochs=30, batch_size=20, random_state=0)
    assert cross_val_score(make_pipeline(SampleNormalizer(), network), X, y, cv=3).min() > 0.85
    # Their features may feed something else.
    model = make_pipeline(network, LogisticRegression(max_iter=500))
    assert cross_val_score(model, X, y, cv=3).min() > 0.85


def test_cross_validation():
    scores = cross_val_score(pipeline(), X, y, cv=3)
    assert scores.min() > 0.85


def test_dictionary_learning_feeds_a_classifier():
    model = make_pipeline(
        SampleNormalizer(),
        OnlineDictionaryLearning(20, max_iter=10, random_state=0),
        LogisticRegression(C=100),
    )
    assert cross_val_score(model, X, y, cv=3).min() > 0.85


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: CalibratedClassifierCV(model, cv=2),
        OneVsRestClassifier,
        lambda model: StackingClassifier(
            [("tddl", model), ("logistic", LogisticRegression(max_iter=500))], cv=2
        ),
    ],
    ids=["calibrated", "one-vs-rest", "stacking"],
)
def test_meta_estimators(wrap):
    model = wrap(pipeline()).fit(X[:100], y[:100])
    assert model.score(X[100:], y[100:]) > 0.85
    probabilities = model.predict_proba(X[100:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def n_threads_of_torch_in_a_fit():
    """As a worker sees it while it learns; spams is called with the same number."""
    seen = []

    def features(input_shape):
        seen.append(torch.get_num_threads())
        return torch.nn.Linear(64, 8)

    quick(features=features, max_iter=2).fit(X, y)
    return [*seen, torch.get_num_threads()]


def test_workers_share_the_cores(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    share = max(1, cpu_count() // 2)
    counts = Parallel(n_jobs=2, backend="loky")(
        delayed(n_threads_of_torch_in_a_fit)() for _ in range(2)
    )
    assert np.max(counts) <= share
