"""What every torch-backed estimator shares: input, device, batches, random numbers."""

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import cached_property
from itertools import chain
from math import prod
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y, validate_data
from torch import Tensor, nn

from ._arrays import as_array, as_numbers
from ._callbacks import CallbackSupportMixin
from ._interrupts import interrupts
from ._process_settings import ProcessSetting
from ._saving import SavableEstimator
from .nn.sparse_code import SparseCode
from .sparse_coding._csr import CsrRows
from .training import DivergenceError, identify, own_gpu

# Values passed through a network at a time when nothing is learned, and at most how many samples.
# The maps of a network for images are many times as large; a GPU wants more at a time.
_INFERENCE_VALUES, _INFERENCE_SAMPLES = {"cpu": 2**19, "cuda": 2**22}, 1000

_NUMPY_TYPES = {torch.float32: np.float32, torch.float64: np.float64}
# Which torch can index on every device.
_RESIDENT_TYPES = (np.uint8, np.float32, np.float64)

# fork_rng saves and restores torch's global generator: two threads must not do so at once.
# Re-entrant: what runs inside may itself fit an estimator.
_global_rng_lock = threading.RLock()


def _renew_global_rng_lock() -> None:
    """In a child that was forked, the thread that held it may not be there to release it."""
    global _global_rng_lock
    _global_rng_lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_global_rng_lock)


class TorchEstimator(CallbackSupportMixin, SavableEstimator):
    """Base of the estimators that hold a torch module as `module_`.

    Subclasses have the parameters `image_shape`, `device` and `dtype`.
    """

    module_: nn.Module
    _image_shape: tuple[int, ...] | None
    _divisor = 1.0

    def _validate_samples(
        self, X: Any, y: Any = "no_validation", *, reset: bool, **options: Any
    ) -> Any:
        """`X` (and `y`) checked, `X` as a 2-D array that is copied only where it must be.

        Images (n, C, H, W) become rows, torch tensors arrays. A memmap of images that are not rows
        in the file, as where channels come last, stays 4-D: it is never copied. The dtype stays,
        too: rows are converted batch by batch. With `reset`, the shape of the images is noted as
        `_image_shape`, and what samples are divided by as `_divisor`: to a fitted model the dtype
        of a value means nothing.
        `options` are those of scikit-learn's `validate_data`.
        """
        X, y = as_array(X), as_array(y, "y")
        shape = tuple(getattr(X, "shape", ()))
        if len(shape) == 3:
            raise ValueError(
                f"X has the shape {shape}. Images must have (n_samples, channels, height, width): "
                "pass X[:, None] if these are grey, or X[None] if it is a single one."
            )
        if reset:
            self._image_shape = self._find_image_shape(shape)
            if self._image_shape is not None:
                _warn_of_channels_last(self._image_shape)
        if len(shape) == 4:
            if self._image_shape is not None and shape[1:] != self._image_shape:
                raise ValueError(
                    f"X holds images of shape {shape[1:]}, but "
                    f"image_shape={self._image_shape} was expected."
                )
            X = np.asanyarray(X)
        if len(shape) == 4 and len(X) and _is_on_disk(X) and not X[0].flags.c_contiguous:
            validate_data(self, X[:1].reshape(1, -1), reset=reset)
            options |= {"allow_nd": True, "estimator": self}
            unlabelled = isinstance(y, str)
            checked = check_array(X, **options) if unlabelled else check_X_y(X, y, **options)
        else:
            X = X.reshape(len(X), -1) if len(shape) == 4 else X
            checked = validate_data(self, X, y, reset=reset, **options)
        X, *labels = checked if isinstance(checked, tuple) else (checked,)
        X = as_numbers(X)
        if reset:
            self._divisor = 255.0 if X.dtype == np.uint8 else 1.0
        return (X, *labels) if labels else X

    def _find_image_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """(C, H, W), if the parameter or an `X` of `shape` tells it."""
        given = self._given_image_shape
        if given is None:
            return shape[1:] if len(shape) == 4 else None
        image_shape = tuple(given)
        if len(image_shape) != 3 or not all(
            isinstance(size, Integral) and int(size) > 0 for size in image_shape
        ):
            raise ValueError(f"image_shape must be (channels, height, width), got {given!r}.")
        if len(shape) == 2 and shape[1] != prod(image_shape):
            raise ValueError(
                f"image_shape={image_shape} means {prod(image_shape)} features, but X has "
                f"{shape[1]} features."
            )
        return image_shape

    def _empty_module(
        self, input_shape: tuple[int, ...], shapes: Mapping[str, torch.Size], lambda1: list[float]
    ) -> nn.Module:
        """A module for samples of `input_shape` whose state has `shapes`, of any values.

        `lambda1` has the weights of its codes, one after the other.
        """
        raise NotImplementedError

    @property
    def _given_image_shape(self) -> Any:
        """What the user says the shape of the images is, if anything."""
        return self.image_shape

    def _torch_device(self) -> torch.device:
        if self.device == "auto":
            return own_gpu(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        try:
            device = torch.device(self.device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"device={self.device!r} cannot be used here, pass device='auto' or 'cpu': {error}"
            ) from error
        return own_gpu(device)

    def _apply(
        self, function: Callable[[Any, Tensor], Tensor], X: Any, *, sparse_output: bool = False
    ) -> Any:
        """`function` of the fitted module and of validated samples, batch by batch.

        An array, or with `sparse_output` a matrix in CSR format. float64 samples are answered in
        float64: rounding in float32 would depend on how the samples fall into batches.
        """
        check_is_fitted(self)
        with interrupts.guarded(), interrupts.allowed():
            X = self._validate_samples(X, reset=False)
            dtype = torch.float64 if X.dtype == np.float64 else torch.float32
            device = self._torch_device()
            module = deepcopy(self.module_).to(device=device, dtype=dtype).eval()
            for part in module.modules():
                if isinstance(part, SparseCode):
                    part.fix_(len(X))
            samples = Samples(X, device, dtype, self._divisor)
            rows = np.arange(len(samples))
            outputs = _finite(outputs_in_batches(lambda x: function(module, x), samples, rows))
            if not sparse_output:
                return _join(outputs, len(rows))
            matrix = CsrRows()
            for batch in outputs:
                matrix.append(batch)
            return matrix.matrix()


def _warn_of_channels_last(image_shape: tuple[int, ...]) -> None:
    """Warn of a shape that is probably (H, W, C)."""
    channels, height, width = image_shape
    if width in (1, 3, 4) and channels > 4 and height > 4:
        warnings.warn(
            f"The images are taken for {channels} channels of {height}x{width} pixels. If the "
            "channels come last, pass X.transpose(0, 3, 1, 2).",
            stacklevel=4,
        )


class Samples:
    """Validated samples, of which rows are handed out as tensors.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features) or (n_samples, C, H, W)
        Of any real dtype; a memmap is read where rows are asked for.
    device, dtype
        Of the tensors.
    divisor : float
        By which the values are divided: that of bytes brings them to [0, 1].
    reread : bool, default=False
        Whether rows are asked for again and again, so that it pays to keep them on a GPU.
    """

    def __init__(
        self,
        X: NDArray[Any],
        device: torch.device,
        dtype: torch.dtype,
        divisor: float,
        *,
        reread: bool = False,
    ) -> None:
        self.X = X
        self.device = device
        self.dtype = dtype
        self.divisor = divisor
        self.reread = reread

    def on(self, device: str) -> "Samples":
        """The same samples, to be handed out on another device."""
        return Samples(self.X, torch.device(device), self.dtype, self.divisor)

    @cached_property
    def resident(self) -> Tensor | None:
        """All samples as they are, on the device, if that is a GPU with room for them."""
        if not self.reread or _is_on_disk(self.X) or self.X.dtype not in _RESIDENT_TYPES:
            return None
        if self.X.nbytes > _memory_for_samples(self.device):
            return None
        return torch.from_numpy(np.require(self.X, requirements=("C", "W"))).to(self.device)

    @property
    def inference_batch(self) -> int:
        """Samples to pass through a network at a time when nothing is learned."""
        values = _INFERENCE_VALUES["cuda" if self.device.type == "cuda" else "cpu"]
        return min(_INFERENCE_SAMPLES, max(1, values // prod(self.X.shape[1:])))

    def __len__(self) -> int:
        return len(self.X)

    def raw(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Rows as they are in `X`."""
        return self.X[rows].reshape(len(rows), -1)

    def __getitem__(self, rows: NDArray[np.intp]) -> Tensor:
        if self.resident is None:
            # A copy: torch warns of views on memory that is not writable, and knows fewer types.
            with np.errstate(over="ignore"):  # infinite outputs are reported where they arise
                chosen = np.array(self.raw(rows), dtype=_NUMPY_TYPES[self.dtype])
            batch = torch.from_numpy(chosen).to(self.device)
        else:
            batch = self.resident[torch.from_numpy(rows).to(self.device)].to(self.dtype)
        return batch if self.divisor == 1 else batch / self.divisor


def apply_in_batches(
    function: Callable[[Tensor], Tensor], samples: Samples, rows: NDArray[np.intp]
) -> NDArray[Any]:
    """`function` of some rows of the samples, at least one, without gradients, as one array."""
    return _join(outputs_in_batches(function, samples, rows), len(rows))


def outputs_in_batches(
    function: Callable[[Tensor], Tensor], samples: Samples, rows: NDArray[np.intp]
) -> Iterator[NDArray[Any]]:
    """`function` of some rows of the samples, without gradients, batch by batch."""
    size = samples.inference_batch
    for start in range(0, len(rows), size):
        with torch.no_grad():
            batch = function(samples[rows[start : start + size]]).cpu().numpy()
        yield batch


def _join(batches: Iterator[NDArray[Any]], n_rows: int) -> NDArray[Any]:
    """Batches of `n_rows` rows in all as one array; never all of them twice in memory."""
    first = next(batches)
    joined = np.empty((n_rows, *first.shape[1:]), dtype=first.dtype)
    start = 0
    for batch in chain([first], batches):
        joined[start : start + len(batch)] = batch
        start += len(batch)
    return joined


def _finite(batches: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """The batches, with an error for the first sample whose output is not finite."""
    start = 0
    for batch in batches:
        if not (finite := np.isfinite(batch).all(axis=1)).all():
            raise ValueError(
                f"The network's output for sample {start + finite.argmin()} is not finite: too "
                "large a sample, or a model that diverged in training."
            )
        start += len(batch)
        yield batch


def _is_on_disk(X: Any) -> bool:
    """Whether an array is a view of a memmap."""
    while X is not None and not isinstance(X, np.memmap):
        X = getattr(X, "base", None)
    return X is not None


def _memory_for_samples(device: torch.device) -> int:
    """Bytes of a GPU that samples may take: half of those that are free."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else 0


def range_error(dtype: torch.dtype) -> ValueError:
    """The error of samples that are too large or too small for the type of a network."""
    return ValueError(
        f"The samples do not fit into dtype={dtype_name(dtype)!r}: they become infinite, "
        "zero, or so small that digits are lost. Scale them, for example with SampleNormalizer."
    )


def dtype_name(dtype: torch.dtype) -> str:
    """As the parameter `dtype` has it."""
    return str(dtype).removeprefix("torch.")


def refuse_frames_of_sparse(transformer: BaseEstimator) -> None:
    """Raise, as scikit-learn's OneHotEncoder, if a data frame is to hold a sparse matrix."""
    frame = _get_output_config("transform", transformer)["dense"]
    if frame != "default" and transformer.sparse_output:
        raise ValueError(
            f"{frame.capitalize()} output does not support sparse data. Set sparse_output=False to "
            f'output {frame} dataframes, or call set_output(transform="default").'
        )


def seeded_generator(estimator: BaseEstimator) -> np.random.RandomState:
    """The generator of `random_state`, which a checkpoint needs to be an int."""
    if estimator.checkpoint is not None and not isinstance(estimator.random_state, Integral):
        raise ValueError(
            "checkpoint needs random_state to be an int, so that a fit that goes on draws the "
            f"same batches; got random_state={estimator.random_state!r}."
        )
    return check_random_state(estimator.random_state)


def refuse_changes(estimator: BaseEstimator, before: dict[str, Any]) -> None:
    """Raise ValueError if a parameter is not what it was when the present model was made."""
    for name, old in before.items():
        value = getattr(estimator, name)
        # The clone of an estimator: what it has learned since is no parameter.
        if identify(clone(value, safe=False)) != identify(old):
            raise ValueError(
                f"{name}={value!r} does not fit the model that is to be trained further: it was "
                f"made with {name}={old!r}. Set it back, or call fit without warm_start."
            )


@contextmanager
def seeded_torch(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Make torch's global generators start at `seed`, and put them back as they were afterwards.

    They are the CPU's and, if it is a GPU, that of `device`; other GPUs are not even woken up.
    Ctrl-C is to be held around this, lest it come while they are put back.
    """
    gpus = [device] if device is not None and device.type == "cuda" else []
    lock = _global_rng_lock  # also where this thread forks meanwhile
    while not lock.acquire(timeout=0.1):
        with interrupts.allowed():
            pass  # another thread may train for hours
    try:
        with torch.random.fork_rng(gpus):
            torch.default_generator.manual_seed(seed)
            for gpu in gpus:
                with torch.cuda.device(gpu):
                    torch.cuda.manual_seed(seed)
            yield
    finally:
        lock.release()


def deterministic_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """On a GPU, only algorithms of convolutions that give the same bits in each run."""
    return _deterministic_cudnn if device.type == "cuda" else nullcontext()


class _DeterministicCudnn(ProcessSetting):
    def _look(self) -> None:
        cudnn = torch.backends.cudnn
        self._before = cudnn.deterministic, cudnn.benchmark

    def _change(self) -> None:
        cudnn = torch.backends.cudnn
        cudnn.deterministic, cudnn.benchmark = True, False

    def _put_back(self) -> None:
        cudnn = torch.backends.cudnn
        cudnn.deterministic, cudnn.benchmark = self._before


_deterministic_cudnn = _DeterministicCudnn()


@contextmanager
def unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Leave the attributes of `estimator` as they were when an exception passes.

    A training that diverged is the exception: what it had reached is kept. Ctrl-C waits inside,
    unless it is allowed.
    """
    before = dict(vars(estimator))
    with interrupts.guarded():
        try:
            yield
        except DivergenceError:
            raise
        except BaseException:
            vars(estimator).clear()
            vars(estimator).update(before)
            raise
