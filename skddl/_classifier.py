"""What every torch-backed classifier shares: labels and their weights, predictions."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils.metaestimators import available_if

from ._arrays import as_array, check_labels
from ._base import unchanged_on_error
from ._interrupts import interrupts
from ._supervised import SupervisedEstimator
from ._training_data import Targets, TrainingData, encode_labels


def _has_probabilities(classifier: Any) -> bool:
    if (loss := getattr(classifier, "loss", None)) == "squared-hinge":
        raise AttributeError(f"With loss={loss!r} there are no probabilities.")
    return True


class TorchClassifier(ClassifierMixin, SupervisedEstimator):
    """Base of the classifiers, which have the parameter `class_weight`, too."""

    _known_of_targets = ("classes_",)

    classes_: NDArray[Any]

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Go on learning: one pass over `X` in mini-batches.

        The first call also makes the start, from its samples alone: the initial dictionary, a
        network that is trained first, or the means and scales of the columns. The learning rate
        of Algorithm 1 falls from call to call; unless `t0` is given, not below a tenth. With an
        `lr_schedule` it stays as it is. Nothing is held out: `early_stopping` is for `fit`. Batch
        norms cannot learn from a single sample. Where samples without labels are learned from, the
        pass is one over those with labels, of which every call needs some.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.
        y : array-like of shape (n_samples,)
            Classes.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever occur; needed in the first call if its `y` lacks some.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss, >= 0. Unlike those of `fit` they are not scaled to a
            mean of 1, since that of later calls is not known.

        Returns
        -------
        self : object

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C: the estimator is as it was before the call, or, if all had been learned,
            as it is after it.
        """
        first = not hasattr(self, "module_")
        with unchanged_on_error(self), interrupts.allowed():
            rng = self._random_state()
            known: Any = None if classes is None else self._labelled_classes(classes)
            if first:
                self.classes_ = known
            elif known is not None and not np.array_equal(known, self.classes_):
                raise ValueError(
                    f"classes={classes!r} is not the same as in the first call, {self.classes_!r}."
                )
            if self.class_weight == "balanced":
                raise ValueError(
                    "class_weight='balanced' needs all samples at once: for partial_fit pass the "
                    "weights as a dict."
                )
            data = self._validate_training_data(X, y, sample_weight, reset=first, of_fit=False)
            self._fit_one_pass(data, rng, first)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Scores of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,) if there are two classes
            Of two classes, by how much the second leads.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    @available_if(_has_probabilities)
    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Probabilities of the classes (paper 1, Eq. 16, unless a parameter `loss` says otherwise).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
        """
        return softmax(self._logits(X), axis=1)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        return log_softmax(self._logits(X), axis=1)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Share of the samples whose class is predicted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.
        y : array-like of shape (n_samples,)
            Their classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in that share.

        Returns
        -------
        accuracy : float
        """
        weight = as_array(sample_weight, "sample_weight")
        return super().score(X, as_array(y, "y"), sample_weight=weight)

    def _logits(self, X: ArrayLike) -> NDArray[Any]:
        """Logarithms of the probabilities of the classes, up to a constant."""
        return self._scores(X)

    def _scores(self, X: ArrayLike) -> NDArray[Any]:
        return self._apply(lambda module, x: module(x), X)

    def _encode_targets(
        self, y: NDArray[Any], sample_weight: NDArray[Any], *, reset: bool, of_fit: bool
    ) -> Targets:
        unlabelled = self._find_unlabelled(y)
        if not unlabelled.all():
            check_labels(y[~unlabelled])
        # A first call of partial_fit may know of classes that it does not see.
        self.classes_, targets = encode_labels(
            y,
            unlabelled,
            sample_weight,
            classes=None if reset and of_fit else self.classes_,
            class_weight=self.class_weight,
            of_fit=of_fit,
        )
        return targets

    def _find_unlabelled(self, y: NDArray[Any]) -> NDArray[np.bool_]:
        """Which labels are marks of samples that have none."""
        return np.zeros(len(y), dtype=bool)

    def _labelled_classes(self, classes: ArrayLike) -> NDArray[Any]:
        """`classes` sorted, without what marks samples that have no label."""
        labels = np.asarray(classes)
        return np.unique(labels[~self._find_unlabelled(labels)])

    def _validation_score(self, data: TrainingData) -> float:
        """Share, by weight, of the samples held out that the network in training gets right."""
        is_right = self._outputs_held_out(data).argmax(axis=1) == data.targets.values[data.held_out]
        weight = data.targets.sample_weight[data.held_out]
        return float(np.average(is_right, weights=weight if weight.any() else None))
