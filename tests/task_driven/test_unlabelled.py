"""Semi-supervised learning: paper 1, section V."""

import numpy as np
import pytest
import torch

from skddl._training_data import Batch
from tests.data import assert_same_model, small_digits

from .data import quick

X, y = small_digits(150, n_classes=3, dtype=np.float64)
HALF = np.where(np.arange(150) % 2, y, -1)


def semi_supervised(**parameters):
    return quick(unlabeled_weight=0.3, dtype="float64", n_components=9, **parameters)


def gradients(model, batch):
    model.module_.zero_grad()
    loss, _ = model._compute_loss(batch)
    loss.backward()
    return {
        name: np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy().copy()
        for name, parameter in model.module_.named_parameters()
    }


def test_gradient_of_the_coding_loss_is_the_closed_form():
    model = semi_supervised().fit(X, HALF)
    x, labels = torch.from_numpy(X[:20]), torch.from_numpy(y[:20])
    weight = torch.ones(20, dtype=torch.float64)
    x_u = torch.from_numpy(X[20:80])
    with_both = gradients(model, Batch(x, labels, weight, unlabelled=x_u))
    supervised = gradients(model, Batch(x, labels, weight))

    Z, c = (p.detach().numpy() for p in model.module_.features.parameters())
    D, codes = model.components_, model.transform(X[20:80])
    residual = X[20:80] @ Z.T + c - codes @ D
    closed_form = {
        "code.dictionary": -codes.T @ residual / 60,  # -(x - D a) a'
        "features.weight": 0.0,  # features would be drawn to zero
        "features.bias": 0.0,
        "classifier.weight": 0.0,
        "classifier.bias": 0.0,
    }
    for name, of_coding_loss in closed_form.items():
        expected = 0.7 * supervised[name] + 0.3 * of_coding_loss
        np.testing.assert_allclose(with_both[name], expected, rtol=0, atol=1e-10)
    assert np.abs(closed_form["code.dictionary"]).max() > 1e-3


def test_unlabelled_samples_are_no_class_but_are_learned_from():
    model = semi_supervised().fit(X, HALF)
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.score(X, y) > 0.9
    labelled_only = semi_supervised().fit(X[HALF >= 0], y[HALF >= 0])
    assert np.abs(model.components_ - labelled_only.components_).max() > 1e-4


def test_minus_one_is_a_class_like_any_other_when_the_weight_is_zero():
    model = quick().fit(X, HALF)
    assert model.classes_.tolist() == [-1, 0, 1, 2]
    assert_same_model(model, quick().fit(X, HALF + 1))


def test_without_unlabelled_samples_the_weight_has_no_effect():
    assert_same_model(semi_supervised().fit(X, y), quick(dtype="float64", n_components=9).fit(X, y))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b", "c"])[y],
        y > 0,
        np.where(HALF == -1, "-1", np.array(["a", "b", "c"])[y]).astype(object),
    ],
)
def test_labels_that_cannot_mark_unlabelled_samples(method, labels):
    with pytest.raises(ValueError, match=r"y of dtype .* cannot hold it.*Encode"):
        getattr(semi_supervised(), method)(X, labels)


def test_strings_beside_the_mark_in_an_array_of_objects():
    names = np.array(["c", "a", "b"])
    labels = np.where(HALF == -1, -1, names[y].astype(object))
    model = semi_supervised().fit(X, labels)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.score(X, names[y]) > 0.9
    for classes in (names, np.array([-1, *names], dtype=object)):
        model = semi_supervised().partial_fit(X[:9], labels[:9], classes=classes)
        assert model.classes_.tolist() == ["a", "b", "c"]


def test_minus_one_as_a_byte_is_no_mark():
    with pytest.raises(ValueError, match=r"y of dtype uint8 cannot hold it"):
        semi_supervised().fit(X, HALF.astype(np.uint8))


def test_unlabelled_samples_do_not_crowd_labelled_ones_out_of_the_start(monkeypatch):
    monkeypatch.setattr("skddl._start._MAX_INIT_SAMPLES", 60)
    rows = np.flatnonzero(HALF >= 0)[:50]
    marked = np.full(150, -1)
    marked[rows] = y[rows]
    parameters = {"n_components": None, "max_iter": 1}
    mixed = quick(unlabeled_weight=0.3, **parameters).fit(X, marked)
    labelled = quick(**parameters).fit(X[rows], y[rows])
    assert len(mixed.components_) == len(labelled.components_)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_fit_goes_on(tmp_path, early_stopping):
    model = semi_supervised(warm_start=True, early_stopping=early_stopping).fit(X, HALF)
    assert model.fit(X, HALF).n_iter_ == 24
    assert model.classes_.tolist() == [0, 1, 2]


def test_only_unlabelled_samples_are_refused():
    with pytest.raises(ValueError, match="at least two classes"):
        semi_supervised().fit(X, np.full(150, -1))
    model = semi_supervised().fit(X, HALF)
    with pytest.raises(ValueError, match="None of the 150 samples has a label and a weight > 0"):
        model.partial_fit(X, np.full(150, -1))


def test_the_mark_of_unlabelled_samples_is_no_class_of_partial_fit():
    model = semi_supervised()
    for _ in range(2):
        model.partial_fit(X, HALF, classes=np.unique(HALF))
    assert model.classes_.tolist() == [0, 1, 2]


def test_unlabelled_samples_of_weight_zero_are_left_out():
    weight = np.ones(150)
    weight[HALF == -1] = 0
    np.testing.assert_array_equal(
        semi_supervised().fit(X, HALF, sample_weight=weight).coef_,
        semi_supervised().fit(X[HALF >= 0], HALF[HALF >= 0]).coef_,
    )
