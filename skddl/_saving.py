"""Models in files that no code is needed for, nor executed from: `save`, and what `load` undoes."""

import math
import os
import reprlib
from collections.abc import Callable, Mapping
from math import prod
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ._first_atoms import require_unit_ball
from .nn.sparse_code import SparseCode
from .sparse_coding._problem import ElasticNetProblem
from .training import (
    damaged,
    pack_state,
    read_archive,
    unpack_state,
    with_prefix,
    write_archive,
)

_KIND = "model"
_FLOATS = np.dtype("f2"), np.dtype("f4"), np.dtype("f8")
# Of labels, as `dtype.str` has them; strings have no width in the file.
_LABELS = {"U", "|O", "|b1", *(f"{o}{k}{size}" for o in "<>|=" for k in "iu" for size in "1248")}
# Bytes of an array of strings, each of which takes as much as the longest.
_MAX_STRINGS = 2**28
_CONTAINERS = None, "default", "pandas", "polars"
# Fitted attributes that may be in a file. What torch-backed estimators have beside, `module_` and
# `_training`, is no plain data.
_ATTRIBUTES: dict[str, Callable[[Any], bool]] = {
    "n_features_in_": lambda v: _is_count(v) and v > 0,
    "feature_names_in_": lambda v: _is_vector(v, "O") and all(isinstance(n, str) for n in v),
    "classes_": lambda v: _is_vector(v, "biufUO") and len(v) > 1 and _increases(v),
    "components_": lambda v: _is_array(v, 2),
    "n_iter_": lambda v: _is_count(v),
    "n_redrawn_": lambda v: _is_count(v),
    "nu1_": lambda v: _is_size(v),
    "_code_size": lambda v: _is_size(v) and v > 0,
    "_image_shape": lambda v: v is None or (isinstance(v, tuple) and all(map(_is_count, v))),
    "_divisor": lambda v: v in (1.0, 255.0),
    "_started_with": lambda v: isinstance(v, dict),
    "_target_mean": lambda v: _is_array(v, 1),
    "_target_scale": lambda v: _is_array(v, 1) and bool((v > 0).all()),
    "_target_is_vector": lambda v: isinstance(v, bool),
    "_means": lambda v: isinstance(v, tuple) and len(v) == 2 and all(_is_array(m, 2) for m in v),
    "_problem": lambda v: isinstance(v, ElasticNetProblem),
    "_sklearn_output_config": lambda v: v in [{"transform": name} for name in _CONTAINERS],
}
# Those that not every model of its class has.
_OPTIONAL = "feature_names_in_", "_sklearn_output_config"


class SavableEstimator(BaseEstimator):
    """What estimators have that can be saved."""

    @property
    def _saved(self) -> tuple[str, ...]:
        """Names of what a fit leaves as plain data."""
        return ("n_features_in_",)

    def _check_combinations(self) -> None:
        """Raise ValueError for parameters that are not valid together, or inside."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a file, for :func:`skddl.load`.

        The file holds parameters and fitted attributes as tensors (safetensors) and plain data
        (JSON), and no code: it may be passed on to people who would not unpickle a file of yours.
        It is written beside its place and moved there when it is whole. What is loaded goes on
        learning where the model stood, with `partial_fit` or `warm_start`.

        Parameters
        ----------
        path : path-like
            The file, which is replaced if it exists; its folder must exist.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If a parameter cannot be written without code, such as a function or a module, or the
            estimator is of a class of your own.
        ValueError
            If a parameter that was set after the fit is not valid.
        FileNotFoundError
            If the folder does not exist.
        IsADirectoryError
            If `path` is a folder.
        FileExistsError
            If `path` is a pipe or a device.

        Examples
        --------
        >>> import tempfile, skddl
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> clf = skddl.TaskDrivenDictionaryClassifier(max_iter=10, random_state=0).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf.save(f"{folder}/digits.skddl")
        ...     same = skddl.load(f"{folder}/digits.skddl")
        >>> bool((same.predict(X) == clf.predict(X)).all())
        True
        """
        check_is_fitted(self)
        check_is_fitted(self, self._saved)  # by these, too, where an estimator works without a fit
        self._validate_params()
        self._check_combinations()
        from ._loading import CLASSES

        folder = Path(path).absolute().parent
        if not folder.is_dir():
            raise FileNotFoundError(f"The folder of {str(path)!r} does not exist.")
        if Path(path).is_dir():
            raise IsADirectoryError(f"{str(path)!r} is a folder: name a file in it.")
        if Path(path).exists() and not Path(path).is_file():  # a device is not to be replaced
            raise FileExistsError(f"{str(path)!r} is no regular file: name another one.")
        packer = _Packer(CLASSES)
        content: dict[str, Any] = {
            "estimator": packer.pack(self, ""),
            "attributes": {
                name: packer.pack(value, name)
                for name, value in vars(self).items()
                if name in (*self._saved, *_OPTIONAL)
            },
        }
        if (module := getattr(self, "module_", None)) is not None:
            packer.tensors |= {f"module.{name}": v for name, v in module.state_dict().items()}
            moments, content["training"] = pack_state(self._training)
            packer.tensors |= moments
            content["lambda1"] = [code.problem.lambda1 for code in _codes_of(module)]
        write_archive(path, _KIND, packer.tensors, content)


def load_model(path: str | os.PathLike[str], classes: Mapping[str, type]) -> Any:
    """The estimator in a file; `classes` are those that may be in one, by name."""
    tensors, content = read_archive(path, _KIND)
    with damaged(path, _KIND):
        unpacker = _Unpacker(tensors, classes)
        estimator = unpacker.unpack(content["estimator"])
        if type(estimator) not in classes.values():
            raise TypeError("it holds no estimator")
        estimator._validate_params()
        attributes = {name: unpacker.unpack(v) for name, v in content["attributes"].items()}
        _check(estimator, attributes)
        if hasattr(estimator, "_empty_module"):
            state = with_prefix(tensors, "module.")
            attributes["_training"] = unpack_state(tensors, content["training"])
            attributes["module_"] = _module(estimator, attributes, state, content["lambda1"])
        vars(estimator).update(attributes)
        if hasattr(estimator, "_empty_module"):
            estimator._training.moments.restore(estimator._make_optimizer())  # or raise
    return estimator


def _check(estimator: Any, attributes: dict[str, Any]) -> None:
    """Raise ValueError unless these are the attributes of a model of that class."""
    if attributes.keys() - set(_OPTIONAL) != set(estimator._saved):
        raise ValueError(f"it has the attributes {list(attributes)}")
    for name, value in attributes.items():
        if not _ATTRIBUTES[name](value):
            raise ValueError(f"the attribute {name!r} is not valid")
    n_features = attributes["n_features_in_"]
    if len(attributes.get("feature_names_in_", range(n_features))) != n_features:
        raise ValueError("there is not one name for each feature")
    if not attributes.get("_started_with", {}).keys() <= estimator.get_params(deep=False).keys():
        raise ValueError("it started with parameters that there are not")
    if "components_" in attributes:
        atoms = attributes["components_"]
        shapes = [array.shape for array in (atoms, *attributes["_means"])]
        if shapes != [(len(atoms), n_features), (len(atoms),) * 2, (len(atoms), n_features)]:
            raise ValueError(f"components_ and their means have the shapes {shapes}")
        require_unit_ball(atoms)
        problem = attributes["_problem"]
        if max(problem.lambda1, problem.lambda2) > float(np.finfo(atoms.dtype).max):
            raise ValueError(f"the weights {problem} are beyond {atoms.dtype}")


def _module(
    estimator: Any, attributes: dict[str, Any], state: dict[str, Tensor], lambda1: list[float]
) -> nn.Module:
    """The module of an estimator, built as the estimator builds it, with that state."""
    made_with = type(estimator)(**(estimator.get_params(deep=False) | attributes["_started_with"]))
    made_with._validate_params()
    n_features = attributes["n_features_in_"]
    input_shape = attributes["_image_shape"] or (n_features,)
    if prod(input_shape) != n_features:
        raise ValueError(f"{n_features} features are no images of shape {input_shape}")
    dtype = state["classifier.weight"].dtype
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"weights of {dtype}")
    shapes = {name: value.shape for name, value in state.items()}
    if 0 in shapes["classifier.weight"]:
        raise ValueError("it has no outputs")
    # Nothing is allocated before the sizes are known to be those of what is in the file.
    with torch.device("meta"):
        module: nn.Module = made_with._empty_module(input_shape, shapes, lambda1).to(dtype)
    expected = {name: (v.shape, v.dtype) for name, v in module.state_dict().items()}
    if expected != {name: (value.shape, value.dtype) for name, value in state.items()}:
        raise ValueError("its weights are not those of a model with its parameters")
    if not all(bool(value.isfinite().all()) for value in state.values()):
        raise ValueError("its weights are not finite")
    for name in ("classes_", "_target_mean", "_target_scale"):
        if name in attributes and len(attributes[name]) != len(state["classifier.weight"]):
            raise ValueError(f"there is not one output for each of {name}")
    if attributes.get("_target_is_vector") and len(state["classifier.weight"]) != 1:
        raise ValueError("there are several outputs for one target")
    if len(_codes_of(module)) != len(lambda1):
        raise ValueError("lambda1 is not given for each layer of codes")
    module = module.to_empty(device="cpu")  # keeps how tensors are laid out
    module.load_state_dict(state)
    return module.eval()


def _codes_of(module: nn.Module) -> list[SparseCode]:
    """The layers of codes."""
    return [part for part in module.modules() if isinstance(part, SparseCode)]


class _Packer:
    """Makes plain data of values; arrays go into `tensors`, which the data name."""

    def __init__(self, classes: Mapping[str, type]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.classes = classes

    def pack(self, value: Any, name: str) -> Any:
        """`value`, of the parameter or attribute `name`, as JSON can hold it."""

        def inside(part: Any, key: Any) -> Any:
            return self.pack(part, f"{name}[{key!r}]")

        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.bool_):
            return bool(value)
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, Real):
            return float(value)
        if isinstance(value, list):
            return [inside(item, i) for i, item in enumerate(value)]
        if isinstance(value, tuple):
            return {"tuple": [inside(item, i) for i, item in enumerate(value)]}
        if isinstance(value, dict):
            return {"dict": [[inside(k, k), inside(item, k)] for k, item in value.items()]}
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, torch.device):
            return str(value)
        if isinstance(value, ElasticNetProblem):
            return {"problem": vars(value)}
        if isinstance(value, np.ndarray):
            native = value.dtype.newbyteorder("=")
            if native in _FLOATS or (value.dtype.kind in "biu" and value.ndim != 1):
                self.tensors[f"array.{name}"] = torch.from_numpy(np.array(value, native, order="C"))
                return {"tensor": f"array.{name}"}
            if value.dtype.kind in "biuUO" and value.ndim == 1:
                # Labels, of any kind: numpy's strings and numbers become Python's.
                items = [inside(item, i) for i, item in enumerate(value.tolist())]
                # The width of strings is that of the longest.
                text = "U" if value.dtype.kind == "U" else value.dtype.str
                return {"array": items, "dtype": text}
        if isinstance(value, SavableEstimator):
            if type(value) not in self.classes.values():
                raise TypeError(
                    f"A {type(value).__name__} cannot be saved in a file that holds no code, since "
                    "its class is not of skddl: save the model with joblib or pickle instead, for "
                    "people who trust you."
                )
            prefix = f"{name}__" if name else ""
            return {
                "class": type(value).__name__,
                "parameters": {
                    key: self.pack(parameter, prefix + key)
                    for key, parameter in value.get_params(deep=False).items()
                    if key != "checkpoint"  # a path that means nothing elsewhere
                },
            }
        raise TypeError(
            f"{name}={reprlib.repr(value)} cannot be saved in a file that holds no code: "
            + (
                "pass an int, by set_params."
                if isinstance(value, np.random.RandomState)
                else "save the model with joblib or pickle instead, for people who trust you."
            )
        )


class _Unpacker:
    """The inverse of `_Packer`."""

    def __init__(self, tensors: dict[str, Tensor], classes: Mapping[str, type]) -> None:
        self.tensors = tensors
        self.classes = classes

    def unpack(self, plain: Any) -> Any:
        """What has been packed as `plain`."""
        if isinstance(plain, list):
            return [self.unpack(item) for item in plain]
        if not isinstance(plain, dict):
            return plain
        match plain:
            case {"tuple": items}:
                return tuple(self.unpack(item) for item in items)
            case {"dict": items}:
                return {self.unpack(key): self.unpack(value) for key, value in items}
            case {"problem": weights}:
                return ElasticNetProblem(**weights)
            case {"tensor": name}:
                return self.tensors[name].numpy()
            case {"array": items, "dtype": dtype}:
                return self._vector(items, dtype)
            case {"class": name, "parameters": parameters}:
                values = {key: self.unpack(value) for key, value in parameters.items()}
                return self.classes[name](**values)
        raise ValueError("it holds a value of an unknown kind")

    def _vector(self, items: list[Any], text: str) -> NDArray[Any]:
        if text not in _LABELS:
            raise ValueError(f"it holds an array of the type {text}")
        if text == "U":
            strings = [str(item) for item in items]
            if 4 * len(strings) * max(map(len, strings), default=0) > _MAX_STRINGS:
                raise ValueError("it holds an array of strings that is too large")
            return np.array(strings)
        array = np.empty(len(items), dtype=text)
        array[:] = [self.unpack(item) for item in items]
        return array


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_size(value: Any) -> bool:
    return isinstance(value, float) and 0 <= value < math.inf


def _is_array(value: Any, n_dimensions: int) -> bool:
    """Whether it is a finite array of floats with so many dimensions."""
    return (
        isinstance(value, np.ndarray)
        and value.ndim == n_dimensions
        and value.dtype.kind == "f"
        and bool(np.isfinite(value).all())
    )


def _is_vector(value: Any, kinds: str) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in kinds


def _increases(labels: NDArray[Any]) -> bool:
    """Whether these are scalars in increasing order, without repetitions."""
    scalars = all(isinstance(label, bool | int | float | str) for label in labels.tolist())
    return scalars and bool((labels[1:] > labels[:-1]).all())
