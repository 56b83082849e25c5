"""Parameters of any value and type: a finite model, or an error that comes before any work."""

import inspect
import math
import re
import warnings
from numbers import Real

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skddl.dictionary import class_dictionary
from skddl.nn import PatchSparseCode, QMetricReLU, SparseCode
from skddl.sparse_coding import kkt_residual, sparse_encode
from tests.data import SOLVERS_HERE, assert_finite

from .estimators import ESTIMATORS, each_estimator, targets_for
from .samples import X, y

pytestmark = pytest.mark.slow

VALUES = [
    *(None, True, False, np.bool_(True), -1, 0, 1, 2, np.int8(1), 2**63, 10**30),
    *(0.5, 1.5, np.nan, np.inf, -np.inf, 1e300, 5e-324, np.float16(0.5), np.float32(np.nan)),
    *("", "nonsense", b"x", 1j, [], {}, (), [0], [-1], ["a"], (None,), object(), int),
    *(np.array([1.0, 2.0]), np.array([np.nan])),
]
# What lies between is not tried: it would take days, or gigabytes, as asked for.
NOT_TRIED = {
    **dict.fromkeys(["max_iter", "max_epochs", "n_steps"], (1e6, math.inf)),
    "width": (10, 1e5),
}
# What the user's own function, `int`, says; what is said of petabytes; what no one could foresee.
OTHER_WORDS = [
    r"int\(\) (argument must be|can't convert)|cannot be interpreted as an integer",
    "only one element tensors can be converted",
    "Overflow when unpacking long|array is too big|Maximum allowed dimension exceeded",
    "tried to allocate|Unable to allocate",
    "norm of the parameters is not finite at iteration",
    "Expected 2D array|Complex data not supported|inconsistent numbers of samples",
]


def is_tried(parameters, not_tried=NOT_TRIED):
    for name, (low, high) in not_tried.items():
        if isinstance(value := parameters.get(name), Real) and low < float(value) < high:
            return False
    return True


def fits_or_says_why(estimator, parameters):
    """Whether it was tried."""
    if not is_tried(parameters):
        return False
    model = clone(estimator).set_params(**parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(X, targets_for(model, y))
        except (ValueError, TypeError, MemoryError, RuntimeError) as error:
            names = [rf"\b{name}\b" for name in parameters]
            assert re.search("|".join([*names, *OTHER_WORDS]), str(error)), error
            if "at iteration" not in str(error):
                assert vars(model).keys() == vars(clone(model)).keys(), "it is fitted"
    assert_finite({name: value for name, value in vars(model).items() if name.endswith("_")})
    return True


@each_estimator
def test_one_parameter_of_any_value(estimator, tried, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # any word is a path of a checkpoint
    for name in estimator.get_params(deep=False):
        for value in VALUES:
            if name != "compile":  # which takes half a minute
                tried("inputs: parameters", int(fits_or_says_why(estimator, {name: value})))


def outputs_and_gradients(module, shape):
    """Of samples of a shape, and outputs in evaluation mode."""
    inputs = torch.linspace(-1, 1, 2 * math.prod(shape)).reshape(2, *shape)
    outputs = module(inputs)
    outputs.sum().backward()
    return [outputs, module.eval()(inputs), *(p.grad for p in module.parameters())]


def code(**parameters):
    module = SparseCode(**parameters)
    return outputs_and_gradients(module, module.dictionary.shape[1:])


def code_patches(**parameters):
    module = PatchSparseCode(**parameters)
    return outputs_and_gradients(module, (module.in_channels, 5, 5))


def take_steps(**parameters):
    module = QMetricReLU(**parameters)
    return outputs_and_gradients(module, (len(module.h), *[5] * (module.weight.ndim - 2)))


SAMPLES, ATOMS = X[:6, 10:18], np.eye(3, 8)
# A function, and what it needs.
FUNCTIONS = {
    "sparse_encode": (sparse_encode, {"X": SAMPLES, "dictionary": ATOMS, "lambda1": 0.1}),
    "kkt_residual": (
        kkt_residual,
        {"X": SAMPLES, "dictionary": ATOMS, "codes": np.ones((6, 3)), "lambda1": 0.1},
    ),
    "class_dictionary": (
        class_dictionary,
        {"X": SAMPLES[:4], "y": [0, 0, 1, 2], "n_components": 3, "random_state": 0},
    ),
    "class_dictionary, one sample per class": (
        class_dictionary,
        {"X": SAMPLES[:3], "y": [0, 1, 2], "random_state": 0},
    ),
    "SparseCode": (code, {"n_features": 8, "n_components": 3, "lambda1": 0.1}),
    "PatchSparseCode": (
        code_patches,
        {"in_channels": 2, "n_components": 3, "patch_size": 3, "lambda1": 0.1},
    ),
    "QMetricReLU": (take_steps, {"n_channels": 3, "tol": 1e-3, "init_std": 0.01}),
    "QMetricReLU, images": (take_steps, {"n_channels": 3, "kernel_size": 3}),
}
# Steps that are not learned from diverge.
NOT_TRIED_OF_FUNCTIONS = NOT_TRIED | {"init_std": (0.1, math.inf)}
# Whose parameters are those of a function above that passes them on.
PASSED_ON = {code: SparseCode, code_patches: PatchSparseCode, take_steps: QMetricReLU}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("solver", SOLVERS_HERE)
def test_one_parameter_of_a_function_of_any_value(function, solver, tried):
    call, needed = FUNCTIONS[function]
    names = inspect.signature(PASSED_ON.get(call, call)).parameters
    if "solver" in names:
        needed = {**needed, "solver": solver}
    elif solver != SOLVERS_HERE[0]:
        pytest.skip("it has no solver")
    for name in names:
        for value in VALUES:
            if not is_tried({name: value}, NOT_TRIED_OF_FUNCTIONS):
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert_finite(call(**{**needed, name: value}))
                except (ValueError, TypeError, MemoryError) as error:
                    words = "|".join([rf"\b{name}\b", *OTHER_WORDS])
                    assert re.search(words, str(error)), (name, value, error)
            tried("inputs: parameters of functions")


@pytest.mark.parametrize(
    "n_examples", [20, pytest.param(1000, marks=[pytest.mark.soak])], ids=["few", "many"]
)
def test_several_parameters_of_any_values(n_examples, tried, capsys):
    def parameters_of(name):
        parameters = ESTIMATORS[name].get_params(deep=False)
        names = [key for key in parameters if key not in ("compile", "checkpoint")]
        values = st.one_of(
            st.sampled_from(VALUES), st.floats(), st.integers(-3, 200), st.text(max_size=5)
        )
        return st.tuples(
            st.just(name), st.dictionaries(st.sampled_from(names), values, min_size=2, max_size=4)
        )

    names = [name for name in ESTIMATORS if name != "normalizer"]
    drawn = st.sampled_from(names).flatmap(parameters_of)

    @settings(max_examples=n_examples, deadline=None, derandomize=True, database=None)
    @given(drawn)
    def run(name_and_parameters):
        name, parameters = name_and_parameters
        tried("inputs: parameters", int(fits_or_says_why(ESTIMATORS[name], parameters)))

    run()
