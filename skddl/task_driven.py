"""Task-driven dictionary learning as a scikit-learn estimator."""

from collections.abc import Callable, Iterable
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from ._base import seeded_torch
from ._classifier import TorchClassifier
from ._initialization import make_features, sample_scale, start_network
from ._training_data import Batch, TrainingData
from .nn.task_driven import TaskDrivenNetwork
from .training import OPTIMIZERS, RateFactor, TrainingState, inverse_time, make_optimizer


class TaskDrivenDictionaryClassifier(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, TorchClassifier
):
    """Classifier on sparse codes whose features, dictionary and weights are learned together.

    A sample ``x`` becomes features ``x~``, these a sparse code in the dictionary D,
    ``a* = argmin_a 1/2 ||x~ - a D||^2 + lambda1 ||a||_1 + lambda2/2 ||a||^2``, and the code scores
    ``W a* + b``. Features, D and W minimise the cross-entropy of the scores plus ``nu1/2 ||W||^2 +
    nu2/2 ||features||^2`` by projected stochastic gradient descent (paper 1, Eqs. 7 and 10 and
    Algorithm 1), with the exact derivative of the code. The start is unsupervised: a dictionary
    learned class by class, then the best W for its codes (paper 1, section IV).

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms. None: 40 per class, fewer where a class has fewer samples.
    features : {"identity", "linear", "lenet"} or callable, default="linear"
        What is coded. "linear": a linear transform Z x (TDDL-LIN of paper 1). "lenet": two
        convolutions with max-pooling, for images (TDDL-CNN of paper 1). "identity": the samples
        themselves. A callable takes the shape of a sample, (C, H, W) for images, else
        (n_features,), and returns a `torch.nn.Module` from batches of these to (n, n_features_out).
    n_features_out : int, default=None
        Number of features. None: for "linear" a quarter of the number of inputs, but at least 64
        (196 for 28x28 pixels, as in paper 1); for "lenet" what its 12 filters give.
    image_shape : tuple (C, H, W), default=None
        Shape of the images whose pixels are the columns of `X`. Images given as (n, C, H, W)
        bring their shape along.
    lambda1 : "auto" or float, default="auto"
        Weight of the l1 norm of the codes, > 0. "auto": 0.05 times the mean norm of the initial
        features.
    lambda2 : float, default=0.0
        Weight of half the squared l2 norm of the codes.
    nu1 : float, default=1e-3
        Weight of half the squared norm of W.
    nu2 : float, default=0.0
        Weight of half the squared norm of the parameters of the features.
    learning_rate : float, default=0.05
        rho of Algorithm 1.
    t0 : float, default=None
        The learning rate of iteration t is ``min(rho, rho t0/t)``. None: `max_iter` / 10.
    max_iter : int, default=1000
        Number of iterations (mini-batches), not of passes over the data.
    batch_size : int, default=100
        Samples per mini-batch.
    init : {"class-odl", "odl", "samples"}, default="class-odl"
        Where the dictionary starts: learned from each class apart, from all classes together, or
        samples drawn at random.
    unlabeled_weight : float, default=0.0
        mu of the semi-supervised objective ``(1 - mu) E[l_s] + mu E[l_u]`` (paper 1, section V),
        l_u being the coding objective itself. If positive, samples with ``y == -1`` are
        unlabelled; at 0, -1 is a class like any other.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, stop when the accuracy on them
        has not improved by `tol` for `n_iter_no_change` passes over the data, and keep the best
        state.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=10
    tol : float, default=1e-4
    warm_start : bool, default=False
        Whether `fit` goes on from the present model, for `max_iter` more iterations. What its
        network is made of (sizes, features, lambda1, lambda2, intercept) must then stay the same.
    device : str, default="auto"
        Where to compute: a device of torch, or "auto": "cuda" where there is one, else "cpu". The
        fitted model itself is always on the CPU.
    dtype : {"float32", "float64"}, default="float32"
        Type in which the model is trained.
    checkpoint : path-like, default=None
        File from which `fit` goes on if it was killed, and to which it writes every 100
        iterations, or every minute if they take longer. Needs `random_state` to be an int. Each
        call of `fit` that goes on by `warm_start` needs a file of its own.
    random_state : int, RandomState instance or None, default=None
        Determines all that is random. numpy's global generator is not used; torch's is seeded where
        a module draws from it (initial weights, dropout) and is put back as it was.
    verbose : int, default=0
        Whether to show a progress bar.
    optimizer : {"sgd", "adam", "adamw", "adagrad", "nadam", "rmsprop"}, default="sgd"
        The method that takes the steps; "sgd" is Algorithm 1.
    fit_intercept : bool, default=True
        Whether the scores are ``W a* + b`` instead of paper 1's ``W a*``, and the linear features
        ``Z x + c`` instead of ``Z x``. Without, both are odd functions of the sample, and a class
        between two others cannot be told from them. b is not penalised.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    components_ : ndarray of shape (n_components, n_features_out)
        The atoms.
    coef_ : ndarray of shape (n_classes, n_components)
        W.
    intercept_ : ndarray of shape (n_classes,)
        b; zeros without `fit_intercept`.
    lambda1_ : float
        The weight of the l1 norm that was used.
    module_ : torch.nn.Module
        The network: ``module_.features``, ``module_.code``, ``module_.classifier``.
    history_ : list of dicts
        One entry per pass over the samples, and one at the end: iteration, learning rate, mean
        loss, mean number of non-zeros per code, validation score. The first entry describes the
        start and counts the atoms that were re-drawn because nothing used them.
    loss_curve_ : list of float
        Loss of each iteration, without the penalties.
    n_iter_ : int
        Number of iterations taken.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)

    Notes
    -----
    Samples may be float, integer or boolean. A model fitted on uint8 takes samples for images and
    divides them by 255, in whatever dtype later samples come.
    A `numpy.memmap` is read batch by batch. Samples in float64 are answered in float64.

    The papers train on samples of unit norm (see :class:`skddl.SampleNormalizer`). With "linear"
    and "lenet", samples of another mean norm are divided by the power of two nearest to it,
    inside ``module_.features``, since the largest stable learning rate depends on their scale.
    "identity" and a callable get the samples as they are.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.pipeline import make_pipeline
    >>> from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> clf = make_pipeline(
    ...     SampleNormalizer(), TaskDrivenDictionaryClassifier(100, max_iter=200, random_state=0)
    ... ).fit(X_train, y_train)
    >>> clf.score(X_test, y_test) > 0.95
    True

    A network of your own under the dictionary; Adam with a small learning rate suits most:

    >>> from torch import nn
    >>> def network(input_shape):
    ...     return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    >>> clf = TaskDrivenDictionaryClassifier(
    ...     50,
    ...     features=network,
    ...     optimizer="adam",
    ...     learning_rate=2e-3,
    ...     max_iter=200,
    ...     t0=200,
    ...     random_state=0,
    ... )
    >>> clf.fit(SampleNormalizer().fit_transform(X_train), y_train).components_.shape
    (50, 16)
    """

    module_: TaskDrivenNetwork

    _parameters_of_network = (
        "n_components",
        "features",
        "n_features_out",
        "image_shape",
        "lambda1",
        "lambda2",
        "fit_intercept",
    )

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
        "features": [StrOptions({"identity", "linear", "lenet"}), callable],
        "n_features_out": [None, Interval(Integral, 1, None, closed="left")],
        "image_shape": [None, tuple, list],
        "lambda1": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "lambda2": [Interval(Real, 0, None, closed="left")],
        "nu1": [Interval(Real, 0, None, closed="left")],
        "nu2": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "t0": [None, Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"class-odl", "odl", "samples"})],
        "unlabeled_weight": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [None, dict, StrOptions({"balanced"})],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "dtype": [StrOptions({"float32", "float64"})],
        "checkpoint": [None, str, PathLike],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "fit_intercept": ["boolean"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        features: str | Callable[[tuple[int, ...]], nn.Module] = "linear",
        n_features_out: int | None = None,
        image_shape: tuple[int, int, int] | None = None,
        lambda1: float | str = "auto",
        lambda2: float = 0.0,
        nu1: float = 1e-3,
        nu2: float = 0.0,
        learning_rate: float = 0.05,
        t0: float | None = None,
        max_iter: int = 1000,
        batch_size: int = 100,
        init: str = "class-odl",
        unlabeled_weight: float = 0.0,
        class_weight: dict[Any, float] | str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        dtype: str = "float32",
        checkpoint: str | PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        optimizer: str = "sgd",
        fit_intercept: bool = True,
    ) -> None:
        self.n_components = n_components
        self.features = features
        self.n_features_out = n_features_out
        self.image_shape = image_shape
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.nu1 = nu1
        self.nu2 = nu2
        self.learning_rate = learning_rate
        self.t0 = t0
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.init = init
        self.unlabeled_weight = unlabeled_weight
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.dtype = dtype
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose
        self.optimizer = optimizer
        self.fit_intercept = fit_intercept

    def _start(self, data: TrainingData, rng: np.random.RandomState) -> None:
        samples = data.samples.on("cpu")
        with seeded_torch(rng.randint(2**31)):
            features, n_features_out = make_features(
                self.features,
                data.input_shape,
                self.n_features_out,
                sample_scale(samples, data.y),
                samples.dtype,
                bias=self.fit_intercept,
            )
            start = start_network(
                features,
                n_features_out,
                samples,
                data.y,
                data.sample_weight,
                n_classes=len(data.classes),
                n_components=self.n_components,
                lambda1=self.lambda1,
                lambda2=self.lambda2,
                nu1=self.nu1,
                fit_intercept=self.fit_intercept,
                init=self.init,
                rng=rng,
            )
        self.module_ = start.network
        self._training = TrainingState()
        self._training.history.append({"iteration": 0, "n_redrawn": start.n_redrawn})

    def _make_optimizer(self) -> torch.optim.Optimizer:
        network = self.module_
        bias = [] if network.classifier.bias is None else [network.classifier.bias]
        groups: list[tuple[Iterable[Tensor], float]] = [
            ([network.classifier.weight], self.nu1),
            (network.features.parameters(), self.nu2),
            ([*network.code.parameters(), *bias], 0.0),
        ]
        return make_optimizer(self.optimizer, groups, self.learning_rate)

    def _count_iterations(self, n_batches: int) -> int:
        return self.max_iter

    def _rate_factor(self, start: int, n_iter: int | None) -> RateFactor:
        return inverse_time(self.max_iter / 10 if self.t0 is None else self.t0)

    @property
    def _advice(self) -> str:
        return ", or scale the samples, for example with SampleNormalizer"

    def _draws_while_training(self) -> bool:
        return callable(self.features)  # our own networks have no dropout

    def _make_loss(self) -> Callable[[Batch], tuple[Tensor, dict[str, float]]]:
        return self._compute_loss

    def _compute_loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        codes = self.module_.encode(batch.x)
        losses = nn.functional.cross_entropy(
            self.module_.classifier(codes), batch.y, reduction="none"
        )
        loss = (losses * batch.sample_weight).mean()  # Eq. (15)
        if batch.unlabelled is not None:
            mu = self.unlabeled_weight
            loss = (1 - mu) * loss + mu * self._coding_loss(batch.unlabelled)
        return loss, {"n_nonzero": (codes != 0).sum(1, dtype=loss.dtype).mean().item()}

    def _find_unlabelled(self, y: NDArray[Any]) -> NDArray[np.bool_]:
        if self.unlabeled_weight == 0:
            return super()._find_unlabelled(y)
        if y.dtype.kind not in "iuf":
            raise ValueError(
                "With unlabeled_weight > 0 the samples without a label are marked by y == -1; "
                f"y of dtype {y.dtype} cannot hold it. Encode the classes as integers."
            )
        return y == -1

    def _coding_loss(self, x: Tensor) -> Tensor:
        """l_u of paper 1, Eqs. (1) and (3); its derivative is that at fixed codes (Danskin)."""
        code = self.module_.code
        features = self.module_.features(x)
        with torch.no_grad():
            codes = code(features)
        return code.problem.objective(features, code.dictionary, codes).mean()

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Sparse codes of the samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
        """
        return self._apply(lambda module, x: module.encode(x), X)

    @property
    def components_(self) -> NDArray[Any]:
        """The atoms, (n_components, n_features_out)."""
        return self.module_.code.dictionary.detach().numpy()

    @property
    def coef_(self) -> NDArray[Any]:
        """W, (n_classes, n_components)."""
        return self.module_.classifier.weight.detach().numpy()

    @property
    def intercept_(self) -> NDArray[Any]:
        """b, (n_classes,)."""
        bias = self.module_.classifier.bias
        return np.zeros_like(self.coef_[:, 0]) if bias is None else bias.detach().numpy()

    @property
    def lambda1_(self) -> float:
        """The weight of the l1 norm that is used."""
        return self.module_.code.problem.lambda1

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
