"""Task-driven dictionary learning as scikit-learn estimators."""

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from ._class_dictionary import atoms_per_class
from ._classifier import TorchClassifier
from ._network_classifier import NetworkClassifier
from ._plan import Plan, best_plan, trials_of_classes
from ._presets import PRESETS
from ._pretraining import empty_features, pretrained_features, recommended_network
from ._task_driven import TaskDrivenEstimator
from ._task_driven_regressor import TaskDrivenDictionaryRegressor
from ._training_data import LABELLED, Batch, Targets, TrainingData, number_of_equal_weight
from .convnet import ConvNetClassifier
from .detrame import DeTraMeClassifier
from .nn._losses import CLASSIFICATION_LOSSES, Loss
from .sparse_coding._solution import Supports

__all__ = ["TaskDrivenDictionaryClassifier", "TaskDrivenDictionaryRegressor"]

# Samples per class, on average, from which on some are held out to see whether learning pays.
_LEAST_PER_CLASS = 5
# By how much fewer atoms are tried, too.
_FEWER = 8


class TaskDrivenDictionaryClassifier(TaskDrivenEstimator, TorchClassifier):
    """Classifier on sparse codes whose features, dictionary and weights are learned together.

    A sample ``x`` becomes features ``x~``, these a sparse code in the dictionary D,
    ``a* = argmin_a 1/2 ||x~ - a D||^2 + lambda1 ||a||_1 + lambda2/2 ||a||^2``, and the code scores
    ``W a* + b``. Features, D and W minimise a loss of the scores, by default cross-entropy, plus
    ``nu1/2 ||W||^2 + nu2/2 ||features||^2`` by projected steps of Adam or of stochastic gradient
    descent (paper 1, Eqs. 7 and 10 and Algorithm 1), with the exact derivative of the code. The
    start is unsupervised: a dictionary learned class by class, then the best W for its codes (paper
    1, section IV).

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms. None: two per class (one, of less than ten samples) and one more for every
        five samples of a class beyond twenty, but at most 40 of each; or an eighth of these, where
        trials with them do better, see `max_iter`. In `partial_fit`, of which nobody knows how many
        samples will come, 20 per class.
    features : str, callable or network classifier, default="identity"
        What is coded.

        - "identity": the samples themselves.
        - "linear": a linear transform Z x (TDDL-LIN of paper 1).
        - "lenet": two convolutions with max-pooling, for images (TDDL-CNN of paper 1).
        - "convnet": for images, the features of a network that is first trained to classify the
          labelled samples: ``ConvNetClassifier(architecture="conv-3")`` with dropout 0.5 and
          AdamW, for 15 passes, and at least 1,000 batches of 50.
        - A :class:`ConvNetClassifier` or a :class:`DeTraMeClassifier`: likewise the features of a
          copy of it, which gets `class_weight`, `device`, `dtype`, `checkpoint`, `verbose` and a
          seed from here. `image_shape` may be given here or there.
        - A callable takes the shape of a sample, (C, H, W) for images, else (n_features,), and
          returns a `torch.nn.Module` from batches of these to (n, n_features_out).
    n_features_out : int, default=None
        Number of features. None: for "linear" a quarter of the number of inputs, but at least 64
        (196 for 28x28 pixels, as in paper 1); for "lenet" what its 12 filters give. Networks that
        are trained first, and callables, have the one that they have.
    image_shape : tuple (C, H, W), default=None
        Shape of the images whose pixels are the columns of `X`. Images given as (n, C, H, W)
        bring their shape along.
    lambda1 : "auto" or float, default="auto"
        Weight of the l1 norm of the codes, > 0. "auto": 0.05 times the mean norm of the initial
        features, or less where these are mostly noise.
    lambda2 : float, default=0.1
        Weight of half the squared l2 norm of the codes, in units of the squared norm of an atom, 1.
    n_nonzero_coefs : int, default=None
        About how many non-zeros a code is to have on average, in place of `lambda1`, which is found
        from the first codes, and follows them in training; it ends as `lambda1_`. Codes of samples
        that are not learned from have more.
    nu1 : "auto" or float, default="auto"
        Weight of half the squared norm of W; of "adamw" decoupled from the loss. "auto": a tenth of
        the mean squared norm of the first codes over the number of samples; the value used is
        `nu1_`. In `partial_fit` these are the samples of the first call: of streams give a number.
    nu2 : float, default=0.0
        Weight of half the squared norm of the parameters of the features, likewise.
    learning_rate : float, default=0.07
        Of the first step. With "sgd" it is rho of Algorithm 1. Steps of the other optimizers do not
        depend on the scale of samples and codes: at 0.07 each moves an atom, which has a norm of 1,
        by about 0.07, the scores by at most 0.35 through W, and the parameters of the features by
        about 0.007 of their size.
    t0 : float, default=None
        With a number the learning rate of iteration t is ``min(rho, rho t0/t)``, as in paper 1.
        None: it falls linearly to zero; with "sgd" t0 is `max_iter` / 10. In `partial_fit`, where
        nobody knows how many calls there will be, it falls as by t0 = `max_iter` / 10 (100 if that
        is None), but not below a tenth.
    max_iter : int, default=None
        Number of iterations (mini-batches), not of passes over the data. None: 20 passes, but at
        least 200 iterations (more than 400 features: half as many, up to 500) and at most 10,000,
        and no more than some minutes of one core allow (2e12 multiply-adds). Or none: of five
        samples per class or more, a fifth to a third is first held out, of less than 600 twice, to
        try all steps and no step on the others. With `n_components` None so is an eighth of the
        atoms, where that is an atom per class or more. What has the highest weighted accuracy on
        the samples held out, by more than chance, is then done with all samples; no step is one at
        a rate of zero, and `n_iter_` is 1. There is no trial with a number, with `early_stopping`,
        where `warm_start` goes on, in `partial_fit`, and over a network that is trained first.
    batch_size : int, default=100
        Samples per mini-batch.
    init : {"class-odl", "odl", "samples"}, default="class-odl"
        Where the dictionary starts: learned from each class apart, from all classes together, or
        samples drawn at random.
    positive : bool, default=True
        Whether the codes are constrained to be non-negative. Codes of either sign are odd functions
        of what is coded: from them no class can be told that lies on both sides of another one.
    positive_dict : bool, default=False
        Whether the atoms are constrained to be non-negative.
    augment : "shift" or callable, default=None
        How images with labels are changed at random in training, after the start. "shift": moved
        by at most one pixel along each side, the border being repeated. A callable takes and
        returns images (n, C, H, W); it should draw from torch's generators, which `random_state`
        seeds.
    loss : {"cross-entropy", "squared-hinge", "one-vs-rest-logistic"}, default="cross-entropy"
        Of the scores: softmax loss (paper 1, Eq. 15), or of each class against the others,
        summed over the classes, ``max(0, 1 - s score)^2`` or ``log(1 + exp(-s score))``, s being 1
        for the class of the sample and -1 for the others. The squared hinge may want a lower
        `learning_rate`, and gives no probabilities; those of the logistic loss are each class's own
        over their sum.
    unlabeled_weight : float, default=0.0
        mu of the semi-supervised objective ``(1 - mu) E[l_s] + mu E[l_u]`` (paper 1, section V),
        l_u being the coding objective itself, from which the dictionary learns. If positive,
        samples with ``y == -1`` are unlabelled, which strings can hold in an array of dtype
        object; at 0, -1 is a class like any other.
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
        Whether `fit` goes on from the present model, for `max_iter` more iterations, over which the
        rate falls once more. What its network is made of (sizes, features, lambda1, lambda2,
        intercept) must then stay the same.
    device : str, default="auto"
        Where to compute: a device of torch, or "auto": "cuda" where there is one, else "cpu". The
        fitted model itself is always on the CPU.
    dtype : {"float32", "float64"}, default="float32"
        Type in which the model is trained.
    checkpoint : path-like, default=None
        File from which `fit` goes on if it was killed, and to which it writes every 100 or more
        iterations, or every minute if they take longer. Needs `random_state` to be an int. Each
        fit of a search or a cross-validation, and each that goes on by `warm_start`, needs a file
        of its own. A network that is
        trained first has one, too, whose name ends in ".features".
    random_state : int, RandomState instance or None, default=None
        Determines all that is random; None: numpy's global generator. That of torch is seeded where
        a module draws from it (initial weights, dropout) and is put back as it was.
    verbose : int, default=0
        Whether to show a progress bar.
    optimizer : {"sgd", "adam", "adamw", "adagrad", "nadam", "rmsprop"}, default="adam"
        The method that takes the steps; "sgd" is Algorithm 1. "adam" and "adamw" are their AMSGrad
        variants (Reddi, Kale and Kumar, 2018): steps do not grow again once the loss is small.
    fit_intercept : bool, default=True
        Whether the scores are ``W a* + b`` instead of paper 1's ``W a*``, and the linear features
        ``Z x + c`` instead of ``Z x``. b is not penalised.
    sparse_output : bool, default=False
        Whether `transform` returns codes as a scipy matrix in CSR format, which holds 8 bytes
        (float64: 12) for each non-zero and nothing for the others: of a million samples with 30
        non-zeros among 4,096 atoms 0.25 GB instead of 16. What is learned does not depend on it.

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
        The weight of the l1 norm of the codes.
    nu1_ : float
        The weight of half the squared norm of W that was used.
    module_ : torch.nn.Module
        The network: ``module_.features``, ``module_.code``, ``module_.classifier``.
    history_ : list of dicts
        One entry per pass over the samples, and one at the end: iteration, learning rate, mean
        loss, mean number of non-zeros per code, validation score. The first entry describes the
        start and counts the atoms that were re-drawn because nothing used them.
    loss_curve_ : list of float
        Loss of each iteration, without the penalties.
    n_iter_ : int
        Number of iterations taken; 0 if the start was kept, see `max_iter`.
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

    A network of your own under the dictionary:

    >>> from torch import nn
    >>> def network(input_shape):
    ...     return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    >>> clf = TaskDrivenDictionaryClassifier(50, features=network, max_iter=200, random_state=0)
    >>> clf.fit(SampleNormalizer().fit_transform(X_train), y_train).components_.shape
    (50, 16)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TaskDrivenEstimator._parameter_constraints,
        "features": [
            StrOptions({"identity", "linear", "lenet", "convnet"}),
            callable,
            ConvNetClassifier,
            DeTraMeClassifier,
        ],
        "init": [StrOptions({"class-odl", "odl", "samples"})],
        "loss": [StrOptions(set(CLASSIFICATION_LOSSES))],
        "unlabeled_weight": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [None, dict, StrOptions({"balanced"})],
    }

    _passes = 20

    def __init__(
        self,
        n_components: int | None = None,
        *,
        features: str | Callable[[tuple[int, ...]], nn.Module] | NetworkClassifier = "identity",
        n_features_out: int | None = None,
        image_shape: tuple[int, int, int] | None = None,
        lambda1: float | str = "auto",
        lambda2: float = 0.1,
        n_nonzero_coefs: int | None = None,
        nu1: float | str = "auto",
        nu2: float = 0.0,
        learning_rate: float = 0.07,
        t0: float | None = None,
        max_iter: int | None = None,
        batch_size: int = 100,
        init: str = "class-odl",
        positive: bool = True,
        positive_dict: bool = False,
        augment: str | Callable[[Tensor], Tensor] | None = None,
        loss: str = "cross-entropy",
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
        optimizer: str = "adam",
        fit_intercept: bool = True,
        sparse_output: bool = False,
    ) -> None:
        super().__init__(
            n_components,
            features=features,
            n_features_out=n_features_out,
            image_shape=image_shape,
            lambda1=lambda1,
            lambda2=lambda2,
            n_nonzero_coefs=n_nonzero_coefs,
            nu1=nu1,
            nu2=nu2,
            learning_rate=learning_rate,
            t0=t0,
            max_iter=max_iter,
            batch_size=batch_size,
            init=init,
            positive=positive,
            positive_dict=positive_dict,
            augment=augment,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            device=device,
            dtype=dtype,
            checkpoint=checkpoint,
            random_state=random_state,
            verbose=verbose,
            optimizer=optimizer,
            fit_intercept=fit_intercept,
            sparse_output=sparse_output,
        )
        self.loss = loss
        self.unlabeled_weight = unlabeled_weight
        self.class_weight = class_weight

    @classmethod
    def from_preset(cls, preset: str, **parameters: Any) -> Self:
        """A classifier with settings that have a name.

        Parameters
        ----------
        preset : {"recommended", "paper-lin", "paper-cnn"}
            "recommended": for images; the features are those of a small convolutional network that
            is trained first. There is one joint step, the least, at a rate that moves next to
            nothing, since more gained nothing; for more set `max_iter` and `learning_rate`. An
            `n_components` of 40 per class does better than the default with 100 images of each, and
            160 with hundreds. "paper-lin", "paper-cnn": TDDL-LIN and TDDL-CNN as in section IV of
            paper 1, with the 1,000 iterations of its small training set; they expect samples of
            zero mean and unit norm.
        **parameters
            Others, or other values than those of the preset.

        Returns
        -------
        classifier : TaskDrivenDictionaryClassifier
            Its parameters can be read, and set, as those of any other.

        Raises
        ------
        ValueError
            If there is no such preset.

        Examples
        --------
        >>> from skddl import TaskDrivenDictionaryClassifier
        >>> TaskDrivenDictionaryClassifier.from_preset("recommended", image_shape=(1, 28, 28))
        TaskDrivenDictionaryClassifier(features='convnet', image_shape=(1, 28, 28),
                                       learning_rate=0.0001, max_iter=1, nu1=0.01,
                                       positive=False)
        """
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {sorted(PRESETS)}, got {preset!r}.")
        return cls(**(PRESETS[preset] | parameters))

    def _loss(self) -> Loss:
        return CLASSIFICATION_LOSSES[self.loss]

    def _check_combinations(self) -> None:
        super()._check_combinations()
        trained_first = self.features == "convnet" or isinstance(self.features, NetworkClassifier)
        if trained_first and self.n_features_out is not None:
            raise ValueError(
                f"n_features_out={self.n_features_out} cannot be chosen: a network that is trained "
                "first has the features that it has. Pass None."
            )

    def _pretrained_features(
        self, data: TrainingData, rng: np.random.RandomState
    ) -> nn.Module | None:
        if self.features == "convnet" and len(data.input_shape) != 3:
            raise ValueError(
                "features='convnet' needs images: pass image_shape=(C, H, W), or X of shape "
                "(n, C, H, W)."
            )
        network = self._network_before(len(data.targets.rows(LABELLED)))
        if network is None:
            return None
        return pretrained_features(
            network,
            data,
            rng,
            device=self.device,
            dtype=self.dtype,
            checkpoint=None
            if self.checkpoint is None
            else f"{os.fspath(self.checkpoint)}.features",
            verbose=self.verbose,
        )

    def _empty_pretrained_features(
        self, input_shape: tuple[int, ...], shapes: Mapping[str, torch.Size]
    ) -> nn.Module | None:
        network = self._network_before(n_samples=1)  # of which its shapes do not depend
        return None if network is None else empty_features(network, input_shape, shapes)

    def _network_before(self, n_samples: int) -> NetworkClassifier | None:
        """The network whose features are trained first, if there is one."""
        if self.features == "convnet":
            return recommended_network(n_samples)
        return self.features if isinstance(self.features, NetworkClassifier) else None

    @property
    def _given_image_shape(self) -> Any:
        own, network = self.image_shape, self.features
        if not isinstance(network, NetworkClassifier) or network.image_shape is None:
            return own
        if own is not None and tuple(own) != tuple(network.image_shape):
            raise ValueError(
                f"image_shape={own!r} is not that of the network, {network.image_shape!r}."
            )
        return network.image_shape

    def _draws_while_training(self) -> bool:
        return self.features == "convnet" or super()._draws_while_training()  # it has dropout

    def _least_iter(self) -> int:
        # In hundreds of columns training makes predictions worse before it makes them better.
        return int(np.clip(self.module_.code.dictionary.shape[1] // 2, 200, 500))

    def _make_plan(self, data: TrainingData) -> Plan:
        """Of all steps or none, and of many atoms or few: fewer learn less of the noise."""
        labelled = data.targets.rows(LABELLED)
        counts = np.unique(data.targets.values[labelled], return_counts=True)[1]
        n_samples = len(labelled)
        if n_samples < _LEAST_PER_CLASS * len(counts) or min(counts) < 2:
            return Plan()
        if self._network_before(n_samples) is not None:  # a trial would have to train it, too
            return Plan()
        share, n_trials = trials_of_classes(n_samples)
        accuracies = {}
        try:
            for n_components in (None, *self._fewer_atoms(data.targets.values[labelled])):
                trials = [self._trial(data, share, i, n_components) for i in range(n_trials)]
                first, last = np.mean(trials, axis=0)
                accuracies[Plan(1.0, n_components)] = last
                accuracies[Plan(0.0, n_components)] = first
        except ValueError:  # as by divergence: the fit itself will say so
            return Plan()
        n_equal = number_of_equal_weight(data.targets.sample_weight[labelled])
        return best_plan(accuracies, n_equal * share * n_trials)

    def _fewer_atoms(self, values: NDArray[Any]) -> list[int]:
        """A number of atoms below the usual, if it is open and still enough for the classes."""
        n_fewer = int(atoms_per_class(values).sum()) // _FEWER
        least = max(len(np.unique(values)), self.n_nonzero_coefs or 1)
        return [n_fewer] if self.n_components is None and n_fewer >= least else []

    def _trial(
        self, data: TrainingData, share: float, seed: int, n_components: int | None
    ) -> tuple[float, float]:
        """Accuracies on a share of the samples before and after a fit to the others."""
        rng = np.random.RandomState(seed)
        data = data.hold_out(share, rng, stratify=True)
        trial = self._for_trials()
        trial._plan = Plan(n_components=n_components)

        def score() -> float:
            trial.module_.to(device=data.samples.device, dtype=data.samples.dtype)
            return trial._validation_score(data)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit itself says what there is to say
            trial._prepare(data, rng, goes_on=False)
            first = score()
            # Without a look at them after each pass.
            learned = replace(data, held_out=data.held_out[:0])
            trial._train(learned, rng, whole_fit=True, inside=True)
            return first, score()

    def _compute_loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        loss, metrics = super()._compute_loss(batch)
        if batch.unlabelled is not None:
            mu = self.unlabeled_weight
            coding_loss = self._coding_loss(batch.unlabelled, batch.unlabelled_supports)
            loss = (1 - mu) * loss + mu * batch.unlabelled_weight * coding_loss
        return loss, metrics

    def _coding_loss(self, x: Tensor, supports: Supports | None) -> Tensor:
        """l_u of paper 1, Eqs. (1) and (3); its derivative is that at fixed codes (Danskin).

        It is for the dictionary: features would be drawn to zero, where all is represented well.
        """
        features_of, code = self.module_.features, self.module_.code
        features_of.eval()  # as they are: neither dropout nor the statistics of a batch norm
        with torch.no_grad():
            features = features_of(x)
            codes = code(features, supports)
        features_of.train()
        return code.problem.objective(features, code.dictionary, codes).mean()

    def _encode_targets(
        self, y: NDArray[Any], sample_weight: NDArray[Any], *, reset: bool, of_fit: bool
    ) -> Targets:
        # numpy makes strings of all labels where some are: of -1, too.
        if self.unlabeled_weight > 0 and (y.dtype.kind not in "ifO" or "-1" in y.tolist()):
            raise ValueError(
                "With unlabeled_weight > 0 the samples without a label are marked by the number "
                f"-1, not by a string; y of dtype {y.dtype} cannot hold it, or holds '-1'. Encode "
                "the classes as signed integers, or mark the samples in an array of objects: "
                "y = y.astype(object); y[without_label] = -1."
            )
        return super()._encode_targets(y, sample_weight, reset=reset, of_fit=of_fit)

    def _find_unlabelled(self, y: NDArray[Any]) -> NDArray[np.bool_]:
        if self.unlabeled_weight == 0:
            return super()._find_unlabelled(y)
        return np.asarray(y == -1, dtype=bool)

    def _logits(self, X: ArrayLike) -> NDArray[Any]:
        scores = self._scores(X)
        if self.loss != "one-vs-rest-logistic":
            return scores
        # Of two classes each is the rest of the other, and has the other's score with the opposite
        # sign, but for rounding: log_expit(s) - log_expit(-s) is s, the mean of the two.
        return scores / 2 if scores.shape[1] == 2 else log_expit(scores)
