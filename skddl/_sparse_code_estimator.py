"""What the estimators share that predict linearly from exact sparse codes."""

from collections.abc import Callable
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, is_classifier
from sklearn.utils import Tags, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._base import refuse_frames_of_sparse
from ._onnx import ClassOutputs, Outputs, write_onnx
from ._supervised import SupervisedEstimator
from ._training_data import Batch
from .nn._losses import Loss, cross_entropy
from .nn.deep_dictionary import DeepDictionaryNetwork
from .nn.task_driven import TaskDrivenNetwork
from .training import OPTIMIZERS, RateFactor, TrainingState, inverse_time

# Of the learning rate in `partial_fit`: that with which a `fit` ends.
_LOWEST_FACTOR = 0.1
# Of paper 1's small training set; where nobody says how many there are to be.
_ITER_OF_PAPER = 1000


class SparseCodeEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SupervisedEstimator):
    """Base of what predicts linearly from sparse codes and learns by Algorithm 1 of paper 1."""

    module_: TaskDrivenNetwork | DeepDictionaryNetwork

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "image_shape": [None, tuple, list],
        "lambda2": [Interval(Real, 0, None, closed="left")],
        "nu1": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "t0": [None, Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"odl", "samples"})],
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
        "sparse_output": ["boolean"],
    }

    def _loss(self) -> Loss:
        """l_s, of the output and the labels."""
        raise NotImplementedError

    def _begin(self, network: TaskDrivenNetwork | DeepDictionaryNetwork, n_redrawn: int) -> None:
        """Have a network to train, in whose dictionary so many atoms were re-drawn."""
        self.module_ = network
        self._training = TrainingState()
        self._training.history.append({"iteration": 0, "n_redrawn": n_redrawn})

    def _count_iterations(self, n_batches: int, work: int) -> int:
        return self.max_iter

    def _rate_factor(self, start: int, n_iter: int | None) -> RateFactor:
        # For t0, paper 1 takes a tenth of the number of iterations.
        t0 = (self.max_iter or n_iter or _ITER_OF_PAPER) / 10 if self.t0 is None else self.t0
        falling = inverse_time(t0)
        if n_iter is not None or self.t0 is not None:
            return falling
        # Nobody knows how many calls of `partial_fit` there will be.
        return lambda step: max(_LOWEST_FACTOR, falling(step))

    @property
    def _advice(self) -> str:
        return ", or scale the samples, for example with SampleNormalizer"

    def _draws_while_training(self) -> bool:
        return False  # our own networks have no dropout

    def _make_loss(self) -> Callable[[Batch], tuple[Tensor, dict[str, float]]]:
        return self._compute_loss

    def _loss_of_zeros(self, values: Tensor) -> float:
        n_outputs = self.module_.classifier.out_features
        zeros = torch.zeros(len(values), n_outputs, dtype=torch.float64)
        return float(self._loss()(zeros, values).mean())

    def _encode(self, batch: Batch) -> Tensor:
        return self.module_.encode(batch.x)

    def _compute_loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        codes = self._encode(batch)
        losses = self._loss()(self.module_.classifier(codes), batch.y)
        loss = (losses * batch.sample_weight).mean()
        return loss, {"n_nonzero": (codes != 0).sum(1, dtype=loss.dtype).mean().item()}

    def transform(self, X: ArrayLike) -> Any:
        """Sparse codes of the samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, C, H, W)
            Samples.

        Returns
        -------
        codes : ndarray or CSR matrix of shape (n_samples, n_codes)
            Of one dense layer `n_components`; with patches those of each place, unless pooled.
            A sparse matrix if `sparse_output`.
        """
        refuse_frames_of_sparse(self)
        return self._apply(lambda module, x: module.encode(x), X, sparse_output=self.sparse_output)

    def to_onnx(self, path: str | PathLike[str], *, n_steps: int = 500) -> None:
        """Write the fitted network as an ONNX file, to be run without skddl and without torch.

        In the file codes are computed by a fixed number of steps of FISTA. They are near those of
        :meth:`transform`, not equal to them: how near is to be looked at, on samples of yours.

        Its input ``X`` has rows of samples in float32, as :meth:`predict` is given them (bytes as
        numbers up to 255). Its outputs are ``codes``, and of a regressor ``targets``, of a
        classifier ``scores`` and, with the softmax loss, ``probabilities`` of the classes. The
        classes are in the metadata, as JSON.

        Parameters
        ----------
        path : path-like
            The file, which is replaced if it exists.
        n_steps : int, default=500
            Steps per layer of codes.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ImportError
            If onnx, onnxscript or torch 2.9 is missing: ``pip install 'skddl[onnx]'`` brings them.
        TypeError or ValueError
            If `n_steps` is not an int >= 1.

        Examples
        --------
        >>> import tempfile, onnxruntime
        >>> from sklearn.datasets import load_digits
        >>> from skddl import TaskDrivenDictionaryClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> clf = TaskDrivenDictionaryClassifier(max_iter=10, random_state=0).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf.to_onnx(f"{folder}/digits.onnx")
        ...     session = onnxruntime.InferenceSession(f"{folder}/digits.onnx")
        >>> codes, scores, probabilities = session.run(None, {"X": X.astype("float32")})
        >>> bool((clf.classes_[scores.argmax(1)] == clf.predict(X)).mean() > 0.99)
        True
        """
        check_is_fitted(self)
        check_scalar(n_steps, "n_steps", Integral, min_val=1)
        write_onnx(
            path,
            self.module_,
            self._onnx_outputs(),
            self.n_features_in_,
            {"classes": self.classes_.tolist()} if is_classifier(self) else {},
            n_steps,
        )

    def _onnx_outputs(self) -> Outputs:
        return ClassOutputs(self._divisor, "codes", softmax=self._loss() is cross_entropy)

    @property
    def coef_(self) -> NDArray[Any]:
        """W, (n_outputs, n_components)."""
        return self._output_weights()[0]

    @property
    def intercept_(self) -> NDArray[Any]:
        """b, (n_outputs,)."""
        return self._output_weights()[1]

    def _output_weights(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """W (n_outputs, n_components) and b (n_outputs,) of the network; b may be zeros."""
        output = self.module_.classifier
        weight = output.weight.detach().numpy()
        if output.bias is None:
            return weight, np.zeros_like(weight[:, 0])
        return weight, output.bias.detach().numpy()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
