"""The losses of the classifier: their derivatives, what they start from, what they answer."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from torch import nn
from torch.autograd import gradcheck

from skddl._first_output import fit_output_
from skddl.nn import SparseCode
from skddl.nn._losses import CLASSIFICATION_LOSSES, squared_error, squared_hinge
from tests.data import small_digits

from .data import quick

LOSSES = {**CLASSIFICATION_LOSSES, "squared-error": squared_error}
X, y = small_digits(150, n_classes=3, dtype=np.float64)


def labels_for(loss, n_samples, n_outputs):
    generator = torch.Generator().manual_seed(7)
    if loss == "squared-error":
        return torch.randn(n_samples, n_outputs, generator=generator, dtype=torch.float64)
    return torch.randint(n_outputs, (n_samples,), generator=generator)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_through_the_code_matches_finite_differences(loss):
    """In W, b, the features and the dictionary."""
    torch.manual_seed(0)
    code = SparseCode(6, 9, lambda1=0.3, lambda2=0.05).double()
    labels = labels_for(loss, 4, 3)
    inputs = [torch.randn(4, 6), code.dictionary.detach(), torch.randn(3, 9), torch.randn(3)]
    inputs = [tensor.double().requires_grad_() for tensor in inputs]

    def compute(features, dictionary, weight, bias):
        codes = torch.func.functional_call(code, {"dictionary": dictionary}, (features,))
        return LOSSES[loss](nn.functional.linear(codes, weight, bias), labels)

    assert code(inputs[0]).count_nonzero() > 4
    assert gradcheck(compute, inputs, eps=1e-6, atol=1e-6)


def test_values_are_those_of_the_definitions():
    scores = torch.tensor([[2.0, -0.5, 0.25]], dtype=torch.float64)
    label = torch.tensor([2])
    margins = np.array([-2.0, 0.5, 0.25])
    expected = {
        "cross-entropy": np.log(np.exp(scores.numpy()).sum()) - 0.25,
        "squared-hinge": (np.maximum(0, 1 - margins) ** 2).sum(),
        "one-vs-rest-logistic": np.log1p(np.exp(-margins)).sum(),
    }
    for name, value in expected.items():
        assert CLASSIFICATION_LOSSES[name](scores, label).item() == pytest.approx(value)
    assert squared_error(scores, torch.ones(1, 3)).item() == pytest.approx(0.5 * 3.8125)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_first_weights_are_those_of_scikit_learn(fit_intercept, n_classes):
    """Paper 1, Eq. (5), weighted and with nu1."""
    inputs, labels = X[y < n_classes], y[y < n_classes]
    weight = np.random.default_rng(0).uniform(0.5, 1.5, size=len(labels))
    weight /= weight.mean()
    nu1 = 0.01
    error = 1e-4 / nu1  # of weights where the gradient is 1e-4 off zero, at most

    def ours(loss, labels, n_outputs=n_classes):
        output = nn.Linear(64, n_outputs, bias=fit_intercept).double()
        fit_output_(output, *map(torch.from_numpy, (inputs, labels, weight)), LOSSES[loss], nu1)
        return output.weight.detach().numpy(), output.bias

    C = 1 / (len(labels) * nu1)
    # Of two classes scikit-learn learns the difference of our two rows: half the penalty.
    softmax = LogisticRegression(C=C * (2 if n_classes == 2 else 1), fit_intercept=fit_intercept)
    softmax.set_params(tol=1e-9, max_iter=10_000).fit(inputs, labels, sample_weight=weight)
    W, _ = ours("cross-entropy", labels)
    expected = softmax.coef_ if n_classes == 3 else np.r_[-softmax.coef_ / 2, softmax.coef_ / 2]
    np.testing.assert_allclose(W, expected, atol=error)

    W, _ = ours("one-vs-rest-logistic", labels)
    for label in range(n_classes):
        own = LogisticRegression(C=C, fit_intercept=fit_intercept, tol=1e-9, max_iter=10_000)
        own.fit(inputs, labels == label, sample_weight=weight)
        np.testing.assert_allclose(W[label], own.coef_[0], atol=error)

    if not fit_intercept:  # liblinear penalises it
        W, _ = ours("squared-hinge", labels)
        for label in range(n_classes):
            own = LinearSVC(C=C, fit_intercept=False, tol=1e-9, max_iter=100_000)
            own.fit(inputs, labels == label, sample_weight=weight)
            np.testing.assert_allclose(W[label], own.coef_[0], atol=error)

    targets = np.random.default_rng(1).normal(size=(len(labels), 2))
    ridge = Ridge(len(labels) * nu1, fit_intercept=fit_intercept)
    ridge.fit(inputs, targets, sample_weight=weight)
    W, b = ours("squared-error", targets, 2)
    np.testing.assert_allclose(W, ridge.coef_, atol=error)
    if fit_intercept:
        np.testing.assert_allclose(b.detach(), ridge.intercept_, atol=error)


@pytest.mark.parametrize("loss", CLASSIFICATION_LOSSES)
@pytest.mark.parametrize("occurring", [[1], [0, 2]])
def test_classes_that_do_not_occur_are_not_predicted(loss, occurring):
    output = nn.Linear(64, 4).double()
    inputs, labels = (torch.from_numpy(part[np.isin(y, occurring)]) for part in (X, y))
    fit_output_(output, inputs, labels, torch.ones(len(labels)), LOSSES[loss], 0.01)
    if loss == "cross-entropy":
        learned = output.weight.abs().amax(1) > 0
        assert learned.tolist() == [len(occurring) > 1 and c in occurring for c in range(4)]
    else:
        assert set(output(inputs).argmax(1).tolist()) == set(occurring)


def test_first_weights_do_not_depend_on_the_scale_of_the_sample_weights():
    outputs = [nn.Linear(64, 3).double() for _ in range(2)]
    for output, weight in zip(outputs, (1.0, 1e-6), strict=True):
        weights = torch.full((len(y),), weight)
        fit_output_(output, *map(torch.from_numpy, (X, y)), weights, squared_hinge, 0.01)
    torch.testing.assert_close(outputs[0].weight, outputs[1].weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize("loss", CLASSIFICATION_LOSSES)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_loss_learns(loss, n_classes):
    inputs, labels = X[y < n_classes], np.array(["a", "b", "c"])[y[y < n_classes]]
    model = quick(loss=loss).fit(inputs, labels)
    assert model.score(inputs, labels) > 0.95
    scores = model.decision_function(inputs)
    assert scores.shape == ((len(labels), 3) if n_classes == 3 else (len(labels),))
    if loss == "squared-hinge":
        assert not hasattr(model, "predict_proba")
        assert not hasattr(model, "predict_log_proba")
        return
    probabilities = model.predict_proba(inputs)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(model.predict_log_proba(inputs), np.log(probabilities), atol=1e-5)
    np.testing.assert_array_equal(
        model.classes_[probabilities.argmax(axis=1)], model.predict(inputs)
    )
    if loss == "one-vs-rest-logistic" and n_classes == 3:
        own = expit(scores)
        np.testing.assert_allclose(probabilities, own / own.sum(axis=1, keepdims=True), rtol=1e-4)


def test_two_classes_against_each_other_are_one_logistic_model():
    binary, labels = X[y < 2].astype(np.float64), y[y < 2]
    model = quick(loss="one-vs-rest-logistic").fit(binary, labels)
    np.testing.assert_allclose(model.coef_[0], -model.coef_[1], atol=1e-5)
    lead = model.decision_function(binary)
    np.testing.assert_allclose(model.predict_proba(binary)[:, 1], expit(lead / 2), rtol=1e-12)


def test_unknown_loss():
    with pytest.raises(ValueError, match="'loss' parameter"):
        quick(loss="hinge").fit(X, y)
