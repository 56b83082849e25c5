"""What is installed."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

from .sparse_coding import _core
from .sparse_coding._solvers import get_solver

# What decides how fast it is, and what a report of a fault has to say.
_PACKAGES = ("skddl", "scikit-learn", "numpy", "scipy", "torch", "spams-bin", "joblib")


def show_versions() -> None:
    """Print the versions of packages, the form of the compiled core, and the solver of "auto".

    For reports of faults, and to see whether the package was installed with its compiled core.

    Examples
    --------
    >>> from skddl import show_versions
    >>> show_versions()
    python: 3...
    skddl: ...
    solver="auto" on a CPU: ...
    """
    print(f"python: {sys.version.split()[0]} ({platform.system()}, {platform.machine()})")
    for package in _PACKAGES:
        try:
            print(f"{package}: {version(package)}")
        except PackageNotFoundError:
            print(f"{package}: not installed")
    print(f"compiled core: {_core.description()}")
    print(f'solver="auto" on a CPU: {get_solver("auto", torch.device("cpu")).name}')
    if torch.cuda.is_available():
        gpu = torch.device("cuda")
        print(f'solver="auto" on {torch.cuda.get_device_name(gpu)}: {get_solver("auto", gpu).name}')
