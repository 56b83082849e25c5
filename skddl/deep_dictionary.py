"""Deep dictionary learning as a scikit-learn estimator."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from ._base import seeded_torch
from ._classifier import TorchClassifier
from ._interrupts import interrupts
from ._sparse_code_estimator import SparseCodeEstimator
from ._sparsity import follow_
from ._start_deep import Layer, describe_layers, make_deep_network, start_deep_network_
from ._training_data import Batch, TrainingData
from .nn import PatchSparseCode, SparseCode
from .nn._losses import Loss, cross_entropy
from .nn.deep_dictionary import DeepDictionaryNetwork
from .training import Group, make_optimizer


class DeepDictionaryClassifier(SparseCodeEstimator, TorchClassifier):
    """Classifier on sparse codes of sparse codes, in dictionaries that are learned together.

    Each layer codes its inputs exactly, ``argmin_a 1/2 ||x - a D||^2 + lambda1 ||a||_1 + lambda2/2
    ||a||^2`` subject to ``a >= 0``, and a linear classifier scores the codes of the last (paper 2,
    Eqs. 1 and 2, with d = 0). With `patch_size` a layer codes each patch of an image, or of the
    maps that the codes of the layer before make. Dictionaries and classifier minimise the softmax
    loss plus ``nu1/2 ||W||^2`` by projected stochastic gradient steps, with the exact derivative of
    every layer. The start is unsupervised, layer by layer: a dictionary learned from the codes
    below it, at last the best W for the codes of all.

    This is the baseline of paper 2. Coding every patch exactly takes time:
    :class:`DeTraMeClassifier` replaces it by a few steps in a learned metric.

    Parameters
    ----------
    n_components : int or sequence of int, default=(100, 100)
        Number of atoms of each layer.
    patch_size : int or None, or a sequence of them, default=None
        Height and width of the patches of each layer; an int is that of all layers. None: the
        layer is dense, and codes all that is below it at once. Above a dense layer there are only
        dense ones.
    stride : int or sequence of int, default=1
        Distance of neighbouring patches, of each layer that has them.
    padding : int or sequence of int, default=0
        Zeros around the maps, of each layer that has patches.
    global_pooling : bool, default=False
        Whether the codes of the last layer with patches are averaged over the image. Otherwise
        what is above it gets them all.
    image_shape : tuple (C, H, W), default=None
        Shape of the images whose pixels are the columns of `X`. Images given as (n, C, H, W)
        bring their shape along.
    lambda1 : "auto", float or sequence of these, default="auto"
        Weight of the l1 norm of the codes, > 0, of each layer, for inputs that have been scaled as
        the notes say. "auto": 0.05 times the mean norm of these at the start,
        or less where these are mostly noise.
    n_nonzero_coefs : int, None or a sequence of these, default=None
        About how many non-zeros a code of each layer, with patches that of one place, is to have on
        average, in place of `lambda1`, which is found from the first codes, and follows them in
        training; it ends as `lambda1_`.
    lambda2 : float, default=0.01
        Weight of half the squared l2 norm of the codes.
    positive : bool, default=True
        Whether the codes are constrained to be non-negative.
    positive_dict : bool, default=False
        Whether the atoms are constrained to be non-negative.
    nu1 : float, default=1e-3
        Weight of half the squared norm of W; of "adamw" decoupled from the loss.
    learning_rate : float, default=0.002
        rho; the learning rate of iteration t is ``min(rho, rho t0/t)``, as in Algorithm 1 of paper
        1.
    t0 : float, default=None
        None: `max_iter` / 10, and in `partial_fit` at least a tenth of rho.
    max_iter : int, default=1000
        Number of iterations (mini-batches), not of passes over the data.
    batch_size : int, default=100
        Samples per mini-batch.
    init : {"odl", "samples"}, default="odl"
        Where the dictionaries start: learned from the inputs of the layer, or drawn from them.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, stop when the weighted accuracy on
        them has not improved by `tol` for `n_iter_no_change` passes over the data, and keep the
        best state.
    validation_fraction : float, default=0.1
        Share of the samples that is held out, in (0, 1). Only with `early_stopping`, as the next.
    n_iter_no_change : int, default=10
        How many passes over the data may go by without a better score.
    tol : float, default=1e-4
        By how much a score must be better to count as such.
    warm_start : bool, default=False
        Whether `fit` goes on from the present model, for `max_iter` more iterations. What its
        network is made of must then stay the same.
    device : str, default="auto"
        Where to compute: a device of torch, or "auto": "cuda" where there is one, else "cpu". The
        fitted model itself is always on the CPU.
    dtype : {"float32", "float64"}, default="float32"
        Type in which the model is trained.
    checkpoint : path-like, default=None
        File from which `fit` goes on if it was killed, and to which it writes every 100 or more
        iterations, or every minute if they take longer. Needs `random_state` to be an int. Each
        fit of a search or a cross-validation, and each that goes on by `warm_start`, needs a file
        of its own.
    random_state : int, RandomState instance or None, default=None
        Determines all that is random; None: numpy's global generator. That of torch stays as it is.
    verbose : int, default=0
        Whether to show a progress bar.
    optimizer : {"sgd", "adam", "adamw", "adagrad", "nadam", "rmsprop"}, default="adam"
        The method that takes the steps.
    fit_intercept : bool, default=True
        Whether the scores have an intercept, which is not penalised.
    sparse_output : bool, default=False
        Whether `transform` returns codes as a scipy matrix in CSR format, which holds 8 bytes
        (float64: 12) for each non-zero and nothing for the others: of a million samples with 30
        non-zeros among 4,096 atoms 0.25 GB instead of 16. What is learned does not depend on it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    components_ : list of ndarrays of shape (n_components, n_inputs)
        The atoms of each layer. With patches, ``n_inputs`` is (channels below) x `patch_size`^2,
        channel by channel.
    coef_ : ndarray of shape (n_classes, n_codes)
        W.
    intercept_ : ndarray of shape (n_classes,)
        b; zeros without `fit_intercept`.
    lambda1_ : list of float
        The weights of the l1 norm that were used, of each layer.
    module_ : torch.nn.Module
        The network: ``module_.layers``, ``module_.classifier``.
    history_ : list of dicts
        One entry per pass over the samples, and one at the end: iteration, learning rate, mean
        loss, mean number of non-zeros per sample among the codes of the last layer, validation
        score. The first entry describes the start and counts the atoms that were re-drawn because
        nothing used them.
    loss_curve_ : list of float
        Loss of each iteration, without the penalties.
    n_iter_ : int
        Number of iterations taken.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)

    See Also
    --------
    TaskDrivenDictionaryClassifier : With ``features="identity"`` and ``init="odl"``, the same as
        one dense layer with ``optimizer="sgd"``, if all else is equal (the defaults are not).
    DeTraMeClassifier : Networks with a learned metric instead of the exact code.

    Notes
    -----
    What is coded is first divided by the power of two nearest to its mean norm at the start, so
    that one learning rate suits all layers. Only a dense first layer gets the samples as they are.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from skddl import DeepDictionaryClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> clf = DeepDictionaryClassifier(
    ...     (16, 32), patch_size=3, stride=(1, 2), image_shape=(1, 8, 8), max_iter=50,
    ...     random_state=0,
    ... ).fit(X_train, y_train)
    >>> [atoms.shape for atoms in clf.components_]
    [(16, 9), (32, 144)]
    >>> clf.score(X_test, y_test) > 0.9
    True
    """

    module_: DeepDictionaryNetwork

    _parameters_of_network: ClassVar[tuple[str, ...]] = (
        "n_components",
        "patch_size",
        "stride",
        "padding",
        "global_pooling",
        "image_shape",
        "lambda1",
        "n_nonzero_coefs",
        "lambda2",
        "positive",
        "positive_dict",
        "fit_intercept",
    )

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SparseCodeEstimator._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "patch_size": [None, Interval(Integral, 1, None, closed="left"), tuple, list],
        "stride": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "padding": [Interval(Integral, 0, None, closed="left"), tuple, list],
        "global_pooling": ["boolean"],
        "lambda1": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
            tuple,
            list,
        ],
        "n_nonzero_coefs": [None, Interval(Integral, 1, None, closed="left"), tuple, list],
        "positive": ["boolean"],
        "positive_dict": ["boolean"],
        "class_weight": [None, dict, StrOptions({"balanced"})],
    }

    def __init__(
        self,
        n_components: int | Sequence[int] = (100, 100),
        *,
        patch_size: int | Sequence[int | None] | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        global_pooling: bool = False,
        image_shape: tuple[int, int, int] | None = None,
        lambda1: float | str | Sequence[float | str] = "auto",
        n_nonzero_coefs: int | Sequence[int | None] | None = None,
        lambda2: float = 0.01,
        positive: bool = True,
        positive_dict: bool = False,
        nu1: float = 1e-3,
        learning_rate: float = 0.002,
        t0: float | None = None,
        max_iter: int = 1000,
        batch_size: int = 100,
        init: str = "odl",
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
        optimizer: str = "adam",
        fit_intercept: bool = True,
        sparse_output: bool = False,
    ) -> None:
        self.n_components = n_components
        self.patch_size = patch_size
        self.stride = stride
        self.padding = padding
        self.global_pooling = global_pooling
        self.image_shape = image_shape
        self.lambda1 = lambda1
        self.n_nonzero_coefs = n_nonzero_coefs
        self.lambda2 = lambda2
        self.positive = positive
        self.positive_dict = positive_dict
        self.nu1 = nu1
        self.learning_rate = learning_rate
        self.t0 = t0
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.init = init
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
        self.sparse_output = sparse_output

    def _loss(self) -> Loss:
        return cross_entropy

    def _start(self, data: TrainingData, rng: np.random.RandomState) -> None:
        layers = self._layers()
        has_patches = layers[0].patch_size is not None
        if has_patches and len(data.input_shape) != 3:
            raise ValueError(
                "patch_size needs images: pass image_shape=(C, H, W), or X of shape (n, C, H, W)."
            )
        if self.global_pooling and not has_patches:
            raise ValueError("global_pooling=True needs a layer with patches: pass patch_size.")
        with interrupts.held(), seeded_torch(rng.randint(2**31)), interrupts.allowed():
            network = self._make_network(layers, data.input_shape, data.targets.n_outputs)
            n_redrawn = start_deep_network_(
                network,
                layers,
                data.samples.on("cpu"),
                data.targets,
                loss=self._loss(),
                nu1=self.nu1,
                init=self.init,
                rng=rng,
            )
        self._begin(network, n_redrawn)

    def _layers(self) -> list[Layer]:
        return describe_layers(
            self.n_components,
            patch_size=self.patch_size,
            stride=self.stride,
            padding=self.padding,
            lambda1=self.lambda1,
            n_nonzero_coefs=self.n_nonzero_coefs,
        )

    def _empty_module(
        self, input_shape: tuple[int, ...], shapes: Mapping[str, torch.Size], lambda1: list[float]
    ) -> nn.Module:
        described = self._layers()
        # Each layer has atoms: of a file, their number is to be that of the layers.
        if len(described) > len(shapes):
            raise ValueError(f"n_components are more than there are weights, {len(shapes)}.")
        layers = [
            replace(layer, lambda1=weight) for layer, weight in zip(described, lambda1, strict=True)
        ]
        network = self._make_network(layers, input_shape, shapes["classifier.weight"][0])
        for code, layer in zip(network.codes, layers, strict=True):
            if layer.n_nonzero_coefs is not None:
                code.let_lambda1_change_()
        return network

    def _make_network(
        self, layers: list[Layer], input_shape: tuple[int, ...], n_outputs: int
    ) -> DeepDictionaryNetwork:
        return make_deep_network(
            layers,
            input_shape,
            n_outputs,
            global_pooling=self.global_pooling,
            lambda2=self.lambda2,
            positive=self.positive,
            positive_dict=self.positive_dict,
            fit_intercept=self.fit_intercept,
        )

    def _make_optimizer(self) -> torch.optim.Optimizer:
        network = self.module_
        bias = [] if network.classifier.bias is None else [network.classifier.bias]
        groups = [
            Group([network.classifier.weight], self.nu1),
            Group([*network.layers.parameters(), *bias], 0.0),
        ]
        return make_optimizer(self.optimizer, groups, self.learning_rate)

    def _encode(self, batch: Batch) -> Tensor:
        x, layers = batch.x, iter(self._layers())
        for module in self.module_.layers:
            x = module(x)
            if not isinstance(module, SparseCode | PatchSparseCode):
                continue
            if (n_nonzero_coefs := next(layers).n_nonzero_coefs) is not None:
                code = module.code if isinstance(module, PatchSparseCode) else module
                follow_(code, x, n_nonzero_coefs)
        return x

    @property
    def components_(self) -> list[NDArray[Any]]:
        """The atoms of each layer, (n_components, n_inputs)."""
        return [code.dictionary.detach().numpy() for code in self.module_.codes]

    @property
    def lambda1_(self) -> list[float]:
        """The weights of the l1 norm that are used."""
        return [code.problem.lambda1 for code in self.module_.codes]

    @property
    def _n_features_out(self) -> int:
        return self.module_.classifier.in_features
