"""On 1, 2 and 4 threads: the same codes, bit for bit, and models within a tolerance."""

import numpy as np
import pytest

from .usual import FITS, deviations, on_threads

pytestmark = pytest.mark.slow

# Products of batches are rounded in a way that depends on the number of threads, and each step of
# training passes that on. Relative to the largest entry; 3e-6 was seen, of weights.
TOLERANCE = 1e-4


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["detrame", "online"], id="some"),
        pytest.param([*FITS], id="all", marks=pytest.mark.soak),
    ],
)
def test_codes_are_the_same_and_models_nearly_on_any_number_of_threads(names, tmp_path, tried):
    one, *others = (on_threads(n_threads, names, tmp_path) for n_threads in (1, 2, 4))
    for other in others:
        for name, expected in one["codes"].items():
            np.testing.assert_array_equal(other["codes"][name], expected, err_msg=name)
        for name in names:
            worst = deviations(other[name], one[name])
            assert worst.pop("predict", 0) <= TOLERANCE, name
            assert max(worst.values()) <= TOLERANCE, (name, worst)
        tried("codes on other numbers of threads", len(one["codes"]))
        tried("models on other numbers of threads", len(names))
