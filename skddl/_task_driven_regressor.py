"""Task-driven dictionary learning for regression."""

import sys
import warnings
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import assert_all_finite

from ._arrays import as_array, as_numbers, check_numbers
from ._base import unchanged_on_error
from ._interrupts import interrupts
from ._onnx import Outputs, TargetOutputs
from ._plan import Plan
from ._task_driven import TaskDrivenEstimator
from ._training_data import LABELLED, LEFT_OUT, Targets, TrainingData, target_statistics
from .nn._losses import Loss, squared_error

# Squared errors, unlike losses of classes, go on falling where only noise is left to learn. Of so
# many samples this share is first held out, some times, to see how long learning pays; more have
# little noise.
_LEAST_TRIAL, _MOST_TRIAL, _N_TRIALS, _HELD_OUT = 20, 5000, 3, 0.2
# Of a curve, the means over one of so many parts of it are compared.
_PARTS = 10


class TaskDrivenDictionaryRegressor(RegressorMixin, MultiOutputMixin, TaskDrivenEstimator):
    """Regressor on sparse codes whose features, dictionary and weights are learned together.

    A sample ``x`` becomes features ``x~``, these a sparse code in the dictionary D,
    ``a* = argmin_a 1/2 ||x~ - a D||^2 + lambda1 ||a||_1 + lambda2/2 ||a||^2``, and the code
    predicts ``W a* + b``, one number or many. Features, D and W minimise ``1/2 ||y - (W a* + b)||^2
    + nu1/2 ||W||^2 + nu2/2 ||features||^2``, averaged over the samples, by projected steps of Adam
    or of stochastic gradient descent (paper 1, Eqs. 5, 7 and 10 with the square loss, and Algorithm
    1), with the exact derivative of the code. The targets are standardised meanwhile, output by
    output (without `fit_intercept` only scaled). The start is unsupervised: a dictionary learned
    from the samples, then the best W for their codes.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms. None: 100, or in `fit` one for every ten samples, if those are fewer.
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
        features, or less where these are mostly noise.
    lambda2 : float, default=0.05
        Weight of half the squared l2 norm of the codes, in units of the squared norm of an atom, 1.
    n_nonzero_coefs : int, default=None
        About how many non-zeros a code is to have on average, in place of `lambda1`, which is found
        from the first codes, and follows them in training; it ends as `lambda1_`. Codes of samples
        that are not learned from have more.
    nu1 : "auto" or float, default="auto"
        Weight of half the squared norm of W; of "adamw" decoupled from the loss. "auto": three
        times that which generalised cross-validation finds for ridge regression on the first codes;
        the value used is `nu1_`. In `partial_fit` these are the samples of the first call.
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
        Number of iterations (mini-batches), not of passes over the data. None: 40 passes, but at
        least 500 and at most 10,000 iterations, and no more than some minutes of one core allow
        (2e12 multiply-adds). Of 20 to 5,000 samples a fifth is first held out, three times, to
        see after which iteration more learning makes predictions worse; then all are learned from,
        up to that one. If the start is best, there is one iteration, at a rate of zero. There is no
        trial with a number, with `early_stopping`, where `warm_start` goes on, and in
        `partial_fit`.
    batch_size : int, default=100
        Samples per mini-batch.
    init : {"odl", "samples"}, default="odl"
        Where the dictionary starts: learned from the samples, or samples drawn at random.
    positive : bool, default=True
        Whether the codes are constrained to be non-negative.
    positive_dict : bool, default=False
        Whether the atoms are constrained to be non-negative.
    augment : "shift" or callable, default=None
        How images with labels are changed at random in training, after the start. "shift": moved
        by at most one pixel along each side, the border being repeated. A callable takes and
        returns images (n, C, H, W); it should draw from torch's generators, which `random_state`
        seeds.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, stop when R^2 on them
        has not improved by `tol` for `n_iter_no_change` passes over the data, and keep the best
        state.
    validation_fraction : float, default=0.1
        Share of the samples that is held out, in (0, 1). Only with `early_stopping`, as the next.
    n_iter_no_change : int, default=10
        How many passes over the data may go by without a better score.
    tol : float, default=1e-4
        By how much a score must be better to count as such.
    warm_start : bool, default=False
        Whether `fit` goes on from the present model, for `max_iter` more iterations, over which the
        rate falls once more; no samples are then held out to find how many pay. What its network is
        made of (sizes, features, lambda1, lambda2, intercept) must stay the same, and so do the
        scales of the targets.
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
        Determines all that is random; None: numpy's global generator. That of torch is seeded where
        a module draws from it (initial weights, dropout) and is put back as it was.
    verbose : int, default=0
        Whether to show a progress bar.
    optimizer : {"sgd", "adam", "adamw", "adagrad", "nadam", "rmsprop"}, default="adam"
        The method that takes the steps; "sgd" is Algorithm 1. "adam" and "adamw" are their AMSGrad
        variants (Reddi, Kale and Kumar, 2018): steps do not grow again once the loss is small.
    fit_intercept : bool, default=True
        Whether the outputs are ``W a* + b`` instead of ``W a*``, and the linear features
        ``Z x + c`` instead of ``Z x``. Without, both are odd functions of the sample. b is not
        penalised.
    sparse_output : bool, default=False
        Whether `transform` returns codes as a scipy matrix in CSR format, which holds 8 bytes
        (float64: 12) for each non-zero and nothing for the others: of a million samples with 30
        non-zeros among 4,096 atoms 0.25 GB instead of 16. What is learned does not depend on it.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features_out)
        The atoms.
    coef_ : ndarray of shape (n_components,) or (n_outputs, n_components)
        W, in the units of the targets; a vector if y was one.
    intercept_ : float or ndarray of shape (n_outputs,)
        b, in the units of the targets.
    lambda1_ : float
        The weight of the l1 norm of the codes.
    nu1_ : float
        The weight of half the squared norm of W that was used.
    module_ : torch.nn.Module
        The network: ``module_.features``, ``module_.code``, ``module_.classifier``. Its outputs are
        standardised targets.
    history_ : list of dicts
        One entry per pass over the samples, and one at the end: iteration, learning rate, mean
        loss, mean number of non-zeros per code, validation score. The first entry describes the
        start and counts the atoms that were re-drawn because nothing used them.
    loss_curve_ : list of float
        Loss of each iteration, without the penalties, of standardised targets.
    n_iter_ : int
        Number of iterations taken.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)

    See Also
    --------
    TaskDrivenDictionaryClassifier : The same for classes; its notes hold here, too.

    Examples
    --------
    Four pixels of digits from the rest of the image:

    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skddl import TaskDrivenDictionaryRegressor
    >>> X, _ = load_digits(return_X_y=True)
    >>> hidden = [27, 28, 35, 36]
    >>> y, X = X[:, hidden], np.delete(X, hidden, axis=1)
    >>> reg = TaskDrivenDictionaryRegressor(random_state=0, max_iter=300)
    >>> reg.fit(X[:1300], y[:1300]).predict(X[1300:]).shape
    (497, 4)
    """

    _target_checks: ClassVar[dict[str, bool]] = {"y_numeric": True, "multi_output": True}
    _known_of_targets = ("_target_mean", "_target_scale", "_target_is_vector")

    _target_mean: NDArray[np.float64]
    _target_scale: NDArray[np.float64]
    _target_is_vector: bool

    _passes = 40

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Go on learning: one pass over `X` in mini-batches.

        The first call also makes the start, and the scales of the targets, from its samples alone.
        The learning rate falls from call to call; unless `t0` is given, not below a tenth. Nothing
        is held out: `early_stopping` is for `fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
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
            data = self._validate_training_data(X, y, sample_weight, reset=first, of_fit=False)
            self._fit_one_pass(data, rng, first)
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predicted targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In float64, which the units of the targets may need.
        """
        outputs = self._apply(lambda module, x: module(x), X)
        return self._shaped(outputs * self._target_scale + self._target_mean)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """R squared of the predictions, the mean over several outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the means.

        Returns
        -------
        r2 : float
        """
        values = check_numbers(y, "y", dtype=None, ensure_2d=False).astype(np.float64)
        # Squares of what is very large or small are no floats, and R squared knows no units.
        scale = np.abs(values).max() or 1.0
        weight = as_array(sample_weight, "sample_weight")
        return float(r2_score(values / scale, self.predict(X) / scale, sample_weight=weight))

    @property
    def coef_(self) -> NDArray[Any]:
        """W, (n_components,) or (n_outputs, n_components)."""
        weight = self._output_weights()[0] * self._target_scale[:, None]
        return weight[0] if self._target_is_vector else weight

    @property
    def intercept_(self) -> Any:
        """b, a float or (n_outputs,)."""
        return self._shaped(self._output_weights()[1] * self._target_scale + self._target_mean)

    def _shaped(self, values: NDArray[Any]) -> Any:
        """`values` (..., n_outputs), without the last axis if the targets were a vector."""
        return values[..., 0][()] if self._target_is_vector else values

    def _onnx_outputs(self) -> Outputs:
        mean, scale = map(torch.from_numpy, (self._target_mean, self._target_scale))
        return TargetOutputs(self._divisor, mean, scale)

    def _loss(self) -> Loss:
        return squared_error

    def _least_iter(self) -> int:
        return 500

    def _make_plan(self, data: TrainingData) -> Plan:
        if not _LEAST_TRIAL <= len(data.targets.rows(LABELLED)) <= _MOST_TRIAL:
            return Plan()
        trial = self._for_trials(
            early_stopping=True, validation_fraction=_HELD_OUT, n_iter_no_change=sys.maxsize
        )
        curves = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the fit itself says what there is to say
                for seed in range(_N_TRIALS):
                    trial._fit_to(data, np.random.RandomState(seed), goes_on=False, inside=True)
                    curves.append([entry["validation_score"] for entry in trial.history_])
        except ValueError:  # as by divergence: so will the fit, and say so
            return Plan()
        if len({len(curve) for curve in curves}) > 1 or len(curves[0]) == 1:
            return Plan()  # likewise
        gains = np.array(curves)[:, 1:] - np.array(curves)[:, :1]
        # Peaks are chance: means over some passes count, and those only that are above their error.
        width = -(-gains.shape[1] // _PARTS)
        smooth = [np.convolve(gain, np.full(width, 1 / width), mode="valid") for gain in gains]
        sure = np.mean(smooth, axis=0) - np.std(smooth, axis=0, ddof=1) / _N_TRIALS**0.5
        if sure.max() <= 0:
            return Plan(share_of_steps=0.0)
        best = trial.history_[int(sure.argmax()) + width]
        return Plan(share_of_steps=best["iteration"] / trial.n_iter_)

    def _encode_targets(
        self, y: NDArray[Any], sample_weight: NDArray[Any], *, reset: bool, of_fit: bool
    ) -> Targets:
        if issparse(y):
            raise TypeError("Sparse data was passed for y, but dense data is required.")
        role = np.where(sample_weight > 0, LABELLED, LEFT_OUT)
        if not (used := role == LABELLED).any():
            raise ValueError(f"None of the {len(y)} samples has a weight > 0.")
        values = as_numbers(y, "y").reshape(len(y), -1).astype(np.float64)
        assert_all_finite(values, input_name="y")  # None, too, has become NaN
        if reset:
            self._target_mean, self._target_scale = target_statistics(
                values[used], sample_weight[used], centered=self.fit_intercept
            )
            self._target_is_vector = y.ndim == 1
        elif values.shape[1] != len(self._target_mean):
            raise ValueError(
                f"y has {values.shape[1]} outputs, but {len(self._target_mean)} were expected."
            )
        with np.errstate(over="ignore"):
            values = values / self._target_scale - self._target_mean / self._target_scale
            values = values.astype(self.dtype)
        if not np.isfinite(values[used]).all():
            raise ValueError(
                "y is too large for a model whose first targets had standard deviations of "
                f"{self._target_scale.tolist()}."
            )
        return Targets.of(values, role, sample_weight, values.shape[1], of_fit=of_fit)

    def _validation_score(self, data: TrainingData) -> float:
        """R^2 of the samples held out."""
        outputs = self._outputs_held_out(data).astype(np.float64)
        if not np.isfinite(outputs).all():
            return -np.inf
        rows = data.held_out
        weight = data.targets.sample_weight[rows]
        return float(r2_score(data.targets.values[rows], outputs, sample_weight=weight))

    @property
    def _advice(self) -> str:
        return super()._advice + ", or the targets, whose scale is that of the first call"
