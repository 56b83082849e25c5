"""The problems that step.py and encode.py time."""

import copy
from dataclasses import dataclass, field

import numpy as np
import sklearn.datasets
import torch
from torch import nn

from skddl.datasets import load_mnist
from skddl.dictionary import class_dictionary
from skddl.nn import LeNetFeatures, LinearFeatures, SparseCode
from skddl.nn.task_driven import TaskDrivenNetwork
from skddl.preprocessing import SampleNormalizer
from skddl.sparse_coding import sparse_encode
from skddl.sparse_coding._problem import ElasticNetProblem
from skddl.training import Group, make_optimizer, project_

BATCH, N_ATOMS, SHAPE = 100, 400, (1, 28, 28)


@dataclass(frozen=True)
class CodingProblem:
    """Samples to encode, in float32.

    Attributes
    ----------
    name : str
    X : ndarray of shape (n_samples, n_features)
    dictionary : ndarray of shape (n_components, n_features)
    lambda1 : float
    init : ndarray of shape (n_samples, n_components), optional
        Codes to start from.
    notes : dict
        More that the results should say.
    """

    name: str
    X: np.ndarray
    dictionary: np.ndarray
    lambda1: float
    init: np.ndarray | None = None
    notes: dict = field(default_factory=dict)

    def first(self, n_samples):
        """The problem with its first samples only."""
        init = None if self.init is None else self.init[:n_samples]
        return CodingProblem(
            self.name, self.X[:n_samples], self.dictionary, self.lambda1, init, self.notes
        )


def load_images(data_home, n_samples=4000):
    """Normalised images of digits of 28x28 pixels, their labels and where they come from.

    Without MNIST, the digits that scikit-learn comes with, enlarged, moved about and with noise:
    samples that repeat one another would make other problems of them.
    """
    try:
        X, y = load_mnist(data_home, subset="train", return_X_y=True)
        X, y, source = X[:n_samples], y[:n_samples], "MNIST"
    except FileNotFoundError:
        rng = np.random.default_rng(0)
        small, labels = sklearn.datasets.load_digits(return_X_y=True)
        chosen = rng.integers(len(small), size=n_samples)
        large = np.kron(small[chosen].reshape(-1, 8, 8), np.ones((1, 3, 3)))
        X = rng.normal(size=(n_samples, 28, 28))
        for image, digit, (row, column) in zip(
            X, large, rng.integers(5, size=(n_samples, 2)), strict=True
        ):
            image[row : row + 24, column : column + 24] += digit
        X, y, source = X.reshape(n_samples, 784), labels[chosen], "scikit-learn's digits, enlarged"
    return SampleNormalizer().fit_transform(X.astype(np.float32)), y, source


def choose_lambda1(X, dictionary, n_nonzero):
    """The weight with which codes of `X` have that many non-zeros in the mean, and how many."""

    def count(lambda1):
        return float((sparse_encode(X, dictionary, lambda1=lambda1) != 0).sum(1).mean())

    high = float(np.abs(X @ dictionary.T).max(1).mean())
    low = high / 2
    while count(low) < n_nonzero:
        low, high = low / 2, low
    for _ in range(7):  # to within a hundredth
        lambda1 = (low * high) ** 0.5
        low, high = (lambda1, high) if count(lambda1) > n_nonzero else (low, lambda1)
    return (low * high) ** 0.5, count((low * high) ** 0.5)


def make_network(X, y, features="lenet", n_nonzero=30):
    """TDDL-CNN ("lenet") or TDDL-LIN ("linear") as paper 1 starts it, with lambda1 chosen."""
    torch.manual_seed(0)
    module = LeNetFeatures(SHAPE) if features == "lenet" else LinearFeatures(784, 196)
    with torch.no_grad():
        inputs = module(torch.from_numpy(X)).numpy()
    scale = float(np.linalg.norm(inputs, axis=1).mean())
    dictionary, _ = class_dictionary(
        inputs, y, n_components=N_ATOMS, lambda1=0.05 * scale, random_state=0
    )
    lambda1, _ = choose_lambda1(inputs[:500], dictionary, n_nonzero)
    code = SparseCode(inputs.shape[1], N_ATOMS, lambda1=lambda1)
    code.dictionary.data = torch.from_numpy(dictionary)
    return TaskDrivenNetwork(module, code, 10, bias=False)


def features_of(network, X):
    """Inputs of the dictionary, and the dictionary."""
    with torch.no_grad():
        inputs = network.features(torch.from_numpy(X)).numpy()
    return inputs, network.code.dictionary.detach().numpy()


def train(network, X, y, snapshots):
    """Copies of the network after those numbers of steps of paper 1's recipe."""
    network = copy.deepcopy(network)
    groups = [
        Group(network.classifier.parameters(), 0.1),  # nu1 of paper 1
        Group(network.features.parameters(), 0.0),
        Group(network.code.parameters(), 0.0),
    ]
    optimizer = make_optimizer("sgd", groups, 0.05)
    rng = np.random.default_rng(0)
    order = np.concatenate(
        [rng.permutation(len(X)) for _ in range(-(-max(snapshots) * BATCH // len(X)))]
    )
    copies = {}
    for step in range(1, max(snapshots) + 1):
        rows = order[(step - 1) * BATCH : step * BATCH]
        target = torch.from_numpy(y[rows]).long()
        loss = nn.functional.cross_entropy(network(torch.from_numpy(X[rows])), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        project_(network)
        if step in snapshots:
            copies[step] = copy.deepcopy(network)
    return copies


def cold_problems(X, y, n_nonzeros=(10, 30)):
    """Features of TDDL-CNN in its dictionary, at several numbers of non-zeros."""
    for n_nonzero in n_nonzeros:
        network = make_network(X[:4000], y[:4000], n_nonzero=n_nonzero)
        inputs, dictionary = features_of(network, X)
        yield CodingProblem(
            f"TDDL-CNN features, {n_nonzero} non-zeros",
            inputs,
            dictionary,
            network.code.problem.lambda1,
        )


def mid_training(X, y, n_nonzero):
    """TDDL-CNN in the middle of training, and by their ages in steps what it was before.

    Training moves the number of non-zeros: lambda1 is then chosen again, for all of them.
    """
    epoch = len(X[:4000]) // BATCH
    now = 5 * epoch
    network = make_network(X[:4000], y[:4000], n_nonzero=n_nonzero)
    networks = train(network, X[:4000], y[:4000], {now - epoch, now - 1, now})
    inputs, dictionary = features_of(networks[now], X)
    lambda1, _ = choose_lambda1(inputs[:500], dictionary, n_nonzero)
    for network in networks.values():
        network.code.problem = ElasticNetProblem(lambda1)
    return networks[now], {1: networks[now - 1], epoch: networks[now - epoch]}


def warm_problems(X, y, n_nonzeros=(10, 30)):
    """The same in the middle of training, from the codes of a network that is a bit older."""
    for n_nonzero in n_nonzeros:
        network, older = mid_training(X, y, n_nonzero)
        lambda1 = network.code.problem.lambda1
        inputs, dictionary = features_of(network, X)
        epoch = max(older)
        for name, other, with_features in (
            ("dictionary a step older", older[1], False),
            ("network a step older", older[1], True),
            (f"network an epoch of {epoch} steps older", older[epoch], True),
        ):
            old_inputs, old_dictionary = features_of(other, X)
            if not with_features:
                old_inputs = inputs
            init = sparse_encode(old_inputs, old_dictionary, lambda1=lambda1)
            codes = sparse_encode(inputs, dictionary, lambda1=lambda1)
            notes = {
                "older": name,
                "change of the dictionary": relative_change(old_dictionary, dictionary),
                "change of the features": relative_change(old_inputs, inputs),
                "change of the codes": relative_change(init, codes),
                "atoms that enter or leave": float(((init != 0) != (codes != 0)).sum(1).mean()),
            }
            yield CodingProblem(
                f"TDDL-CNN features, {n_nonzero} non-zeros",
                inputs,
                dictionary,
                lambda1,
                init,
                notes,
            )


def relative_change(old, new):
    """Norm of the difference over the norm."""
    return float(np.linalg.norm(new - old) / np.linalg.norm(new))


def large_problems(X):
    """30 non-zeros of 2,000 atoms of 500 features, random ones and images, and of 4,096 of 768."""
    rng = np.random.default_rng(0)
    dictionary = unit_rows(rng.standard_normal((2000, 500)))
    codes = np.zeros((1000, 2000))
    for code in codes:
        code[rng.choice(2000, 30, replace=False)] = rng.standard_normal(30)
    samples = codes @ dictionary + 0.01 * rng.standard_normal((1000, 500))
    yield with_nonzeros("random atoms, samples of 30 of them", samples, dictionary, 30)
    # The first 500 principal components: as an orthogonal transform, centring left out.
    _, _, components = np.linalg.svd(X[:4000], full_matrices=False)
    inputs = X[:4000] @ components[:500].T
    yield with_nonzeros("images in 2,000 other images", inputs[2000:], unit_rows(inputs[:2000]), 30)
    yield problem_of_size(4096, 768, 2000, 30)


def problem_of_size(n_components, n_features, n_samples, n_nonzero=20):
    """Random samples with the spectrum of images, coded in others like them."""
    rng = np.random.default_rng(0)
    # Variances fall as 1 / frequency, in natural images as in these.
    scale = np.arange(1, n_features + 1) ** -0.5
    dictionary = unit_rows(rng.standard_normal((n_components, n_features)) * scale)
    samples = unit_rows(rng.standard_normal((n_samples, n_features)) * scale)
    name = f"{n_components} atoms x {n_features} features"
    return with_nonzeros(name, samples, dictionary, n_nonzero)


def unit_rows(values):
    """Rows scaled to unit norm."""
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def with_nonzeros(name, X, dictionary, n_nonzero):
    """The problem with lambda1 chosen."""
    X, dictionary = X.astype(np.float32), dictionary.astype(np.float32)
    lambda1, _ = choose_lambda1(X[:100], dictionary, n_nonzero)
    return CodingProblem(name, X, dictionary, lambda1)
