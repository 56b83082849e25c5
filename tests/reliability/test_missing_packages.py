"""What is not installed is done without, or is named at the moment of its use."""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config

import skddl
from skddl import SampleNormalizer
from skddl.callbacks import TensorBoard
from skddl.inspection import DictionaryDisplay
from skddl.sparse_coding import sparse_encode

from ..data import small_digits
from ..task_driven.data import quick

EXTRAS = [
    *["matplotlib", "pandas", "polars", "onnx", "onnxscript", "onnxruntime"],
    *["tensorboard", "dask", "distributed", "triton", "rich"],
]
CORE = [f"skddl.sparse_coding._core_{level}" for level in ("baseline", "avx2", "avx512")]
X, y = small_digits(100, n_classes=4, dtype=np.float64)


def learned():
    """Codes and predictions, by the solver that "auto" finds."""
    return {
        "codes": sparse_encode(X, X[:40], lambda1=0.1),
        "codes by few atoms": sparse_encode(X, X[:5], lambda1=0.1, lambda2=0.01),
        "codes >= 0": sparse_encode(X, X[:40], lambda1=0.1, positive=True),
        "probabilities": quick(init="samples", dtype="float64").fit(X, y).predict_proba(X),
    }


def write_what_is_learned(path):
    np.savez(path, **learned())


def import_all_and_use_every_extra(folder):
    for module in pkgutil.walk_packages(skddl.__path__, "skddl."):
        # Which are of use where there is Triton, or a processor that is as good.
        if "_triton_kernels" not in module.name and module.name not in CORE:
            importlib.import_module(module.name)
    model = quick().fit(X, y)
    with pytest.raises(ImportError, match=r"needs matplotlib: .*skddl\[plot\]"):
        DictionaryDisplay.from_estimator(model)
    with pytest.raises(ImportError, match=r"onnx, onnxscript and torch .*skddl\[onnx\]"):
        model.to_onnx(Path(folder) / "model.onnx")
    if hasattr(model, "set_callbacks"):  # scikit-learn 1.9 or newer
        with pytest.raises(ImportError, match=r"package tensorboard: .*skddl\[tensorboard\]"):
            quick().set_callbacks(TensorBoard(folder)).fit(X, y)
    with pytest.raises(ValueError, match="is spams-bin installed"):
        sparse_encode(X, X[:5], lambda1=0.1, solver="spams")
    # What scikit-learn and joblib say.
    for container in ("pandas", "polars"):
        with pytest.raises(ImportError, match=container):
            SampleNormalizer().set_output(transform=container).fit_transform(X)
    with pytest.raises(ValueError, match="install dask"):
        parallel_config("dask")


def in_a_process(function, argument, *, without=(), path=()):
    """Call a function of this module where packages cannot be found; what it warned of."""
    code = f"""
import sys
from importlib.machinery import PathFinder
sys.modules.update(dict.fromkeys(set({without}) & set({CORE})))
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name in {without} else find(name, *rest)
from {__name__} import {function.__name__} as function
function({str(argument)!r})
"""
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, root]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def with_all():
    return learned()


def test_what_is_missing_is_named_when_it_is_used(tmp_path):
    in_a_process(import_all_and_use_every_extra, tmp_path, without=[*EXTRAS, "spams"])


@pytest.mark.parametrize(
    ("missing", "tolerance"),
    [
        pytest.param([*EXTRAS, "spams"], 0, marks=pytest.mark.slow),
        pytest.param(CORE, 1e-8, marks=pytest.mark.slow),
        ([*CORE, "spams"], 1e-8),
    ],
    ids=["extras and spams", "core", "core and spams"],
)
def test_what_is_learned_is_the_same_whatever_is_missing(
    missing, tolerance, with_all, tmp_path, tried
):
    in_a_process(write_what_is_learned, tmp_path / "found.npz", without=missing)
    found = np.load(tmp_path / "found.npz")
    assert set(found) == set(with_all)
    for name, expected in with_all.items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=tolerance, err_msg=name)
    tried("packages missing", len(missing))


@pytest.mark.slow
def test_a_spams_that_cannot_be_imported_is_done_without(with_all, tmp_path):
    (tmp_path / "spams.py").write_text("raise RuntimeError('made for another numpy')")
    warned = in_a_process(write_what_is_learned, tmp_path / "found.npz", path=[tmp_path])
    assert "spams is installed but cannot be imported" in warned
    assert "made for another numpy" in warned
    codes = np.load(tmp_path / "found.npz")["codes"]
    np.testing.assert_array_equal(codes, with_all["codes"])
