"""What doctests need; the fixtures of the tests are in tests/conftest.py."""

import importlib.util

import pytest

from skddl import datasets

# The kernels cannot be imported without what compiles them.
collect_ignore = (
    [] if importlib.util.find_spec("triton") else ["skddl/sparse_coding/_triton_kernels.py"]
)

# What an example needs, by what it says.
NEEDS = {
    "matplotlib": ["matplotlib"],
    "onnxruntime": ["onnxruntime", "onnxscript"],
    "set_callbacks": ["sklearn.callback"],
    "TensorBoard": ["tensorboard"],
}


@pytest.fixture(autouse=True)
def skip_doctests_of_what_is_missing(request):
    """Skip an example whose packages are not installed, or whose files are not on this machine."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    source = "".join(example.source for example in request.node.dtest.examples)
    for word, packages in NEEDS.items():
        for package in packages if word in source else ():
            pytest.importorskip(package)
    if "to_onnx" in source:
        pytest.importorskip("torch", "2.9")
    function = request.node.name.rpartition(".")[2]
    if function in datasets.__all__:
        try:
            getattr(datasets, function)(subset="test")
        except FileNotFoundError as error:
            pytest.skip(str(error))
