"""What doctests need; the fixtures of the tests are in tests/conftest.py."""

import importlib.util

import pytest

from skddl import datasets

# Kernels cannot be imported without what compiles them.
collect_ignore = []
if importlib.util.find_spec("triton") is None:
    collect_ignore.append("skddl/sparse_coding/_triton_kernels.py")


@pytest.fixture(autouse=True)
def skip_doctests_of_missing_data(request):
    """Skip the example of a loader whose files are not on this machine."""
    function = request.node.name.rpartition(".")[2]
    if isinstance(request.node, pytest.DoctestItem) and function in datasets.__all__:
        try:
            getattr(datasets, function)(subset="test")
        except FileNotFoundError as error:
            pytest.skip(str(error))
