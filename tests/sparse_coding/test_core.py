"""The compiled core: its forms for several processors, and what it lets in."""

import os
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch

from skddl.sparse_coding import _core, sparse_encode
from skddl.sparse_coding._threads import team

from .problems import PROBLEMS

pytestmark = pytest.mark.usefixtures("core")

LEVELS = {"default": "_core_baseline", "avx2": "_core_avx2", "avx512": "_core_avx512"}
PROGRAM = """
import sys
import numpy as np
from skddl.sparse_coding import _core, sparse_encode
from tests.sparse_coding.problems import PROBLEMS
print(_core.core.__name__.rpartition(".")[2])
X, dictionary = PROBLEMS["digits"]()
np.savez(
    sys.argv[1],
    float64=sparse_encode(X, dictionary, lambda1=0.05),
    float32=sparse_encode(X.astype("f4"), dictionary.astype("f4"), lambda1=0.05),
)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_every_form_computes_the_same_codes(level, tmp_path):
    levels = list(LEVELS)
    here = torch.backends.cpu.get_cpu_capability().lower()
    if level != "default" and (here not in levels or levels.index(level) > levels.index(here)):
        pytest.skip(f"needs a processor with {level}")
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "codes.npz"],
        env=os.environ | {"ATEN_CPU_CAPABILITY": level},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    # With sanitizers, and on processors of other makers, there is but one.
    only_one = _core.core.__name__.endswith("_core_baseline")
    assert result.stdout.strip() == ("_core_baseline" if only_one else LEVELS[level])
    X, dictionary = PROBLEMS["digits"]()
    codes = np.load(tmp_path / "codes.npz")
    for dtype, equal in (("float64", 1e-12), ("float32", 1e-6)):
        expected = sparse_encode(X.astype(dtype), dictionary.astype(dtype), lambda1=0.05)
        np.testing.assert_allclose(codes[dtype], expected, rtol=0, atol=equal)


def encode(core, **changes):
    """Call the core with arguments that fit one another, but for some."""
    arrays = {
        "X": np.ones((3, 4)),
        "dictionary": np.ones((2, 4)),
        "gram": None,
        "init": None,
        "supports": None,
        "codes": np.empty((3, 2)),
        "residuals": np.empty(3),
    }
    numbers = {"lambda1": 1.0, "lambda2": 0.0, "positive": False, "max_rounds": 10}
    return core.encode(team(), 1, **(arrays | numbers | changes), differentiable=False)


SUPPORTS = (np.zeros((5, 2), "int32"), np.zeros(5, "int32"), np.arange(3))


@pytest.mark.parametrize(
    "changes",
    [
        {"X": np.ones((3, 4), "float32")},
        {"X": np.ones((3, 4), order="F")},
        {"X": np.ones((3, 8))[:, ::2]},
        {"X": np.ones(4)},
        {"X": None},
        {"codes": np.empty((3, 2), "float32")},
        {"codes": np.broadcast_to(np.empty(2), (3, 2))},
        {"residuals": np.empty(3, "float32")},
        {"supports": (np.zeros((5, 2)), *SUPPORTS[1:])},
        {"supports": (*SUPPORTS[:2], np.arange(3, dtype="int32"))},
    ],
)
def test_arrays_of_another_type_or_layout_are_refused(core, changes):
    encode(core)
    encode(core, supports=SUPPORTS)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        encode(core, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"X": np.ones((4, 4))},
        {"X": np.ones((3, 5))},
        {"dictionary": np.ones((3, 4))},
        {"codes": np.empty((3, 3))},
        {"gram": np.ones((2, 3))},
        {"init": np.ones((2, 2))},
        {"residuals": np.empty(4)},
        {"supports": (*SUPPORTS[:2], np.arange(2))},
        {"supports": (SUPPORTS[0], np.zeros(4, "int32"), SUPPORTS[2])},
    ],
)
def test_arrays_of_shapes_that_do_not_fit_are_refused(core, changes):
    with pytest.raises(ValueError, match=r"shape|length|one support for each sample"):
        encode(core, **changes)


@pytest.mark.parametrize("row", [-1, 5, 2**62])
def test_supports_that_are_not_there_are_refused(core, row):
    with pytest.raises(IndexError, match="no such support"):
        encode(core, supports=(*SUPPORTS[:2], np.array([0, row, 1])))


def test_arrays_live_as_long_as_the_derivative_needs_them(core):
    X, dictionary = PROBLEMS["digits"]()
    codes, residuals = np.empty((len(X), len(dictionary))), np.empty(len(X))
    numbers = {"lambda1": 0.05, "lambda2": 0.0, "positive": False, "max_rounds": 1000}
    derivative = core.encode(
        team(), 1, X, dictionary, None, None, None, codes, residuals, **numbers,
        differentiable=True,
    )  # fmt: skip
    lives = weakref.ref(dictionary)
    del dictionary
    assert lives() is not None
    del derivative
    assert lives() is None


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="not on Windows")
@pytest.mark.parametrize("n_samples", [1, 300])
def test_a_signal_ends_a_long_computation(core, n_samples):
    class Ended(Exception):
        pass

    def end(*_):
        raise Ended

    rng = np.random.default_rng(0)
    X, dictionary = rng.standard_normal((n_samples, 2000)), rng.standard_normal((2500, 2000))
    residuals = np.full(n_samples, np.nan)
    arrays = {"codes": np.empty((n_samples, 2500)), "residuals": residuals}
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Ended):  # thousands of atoms in use: it would take many seconds
            encode(core, X=X, dictionary=dictionary, max_rounds=10_000, **arrays)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert np.isnan(residuals).any()
