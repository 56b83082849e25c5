"""Fixtures that several test modules share, and what they have tried and measured."""

import signal
from collections import Counter

import pytest
import torch

from skddl.datasets import load_mnist
from skddl.datasets._files import resolve_data_home
from skddl.sparse_coding import _core
from skddl.sparse_coding._solvers import SOLVERS

from .data import SOLVERS_HERE

# As a module of doctests it would be imported here, and fit models, with all warnings as errors.
collect_ignore = ["reliability/warm.py"]


@pytest.fixture(scope="session", autouse=True)
def number_of_threads_at_the_end_is_that_of_the_start():
    """With more threads than cores all tests that come later take several times as long."""
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_interrupts():
    """Also where the tests run in the background, in which shells let Ctrl-C be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def mnist_home():
    """Return the `data_home` that holds the real MNIST; without one, skip the test."""
    home, _ = resolve_data_home(None)
    try:
        load_mnist(home, subset="test")
    except FileNotFoundError as error:
        pytest.skip(f"needs the real MNIST: {error}")
    return home


@pytest.fixture(params=SOLVERS)
def solver(request):
    """Return the name of a solver; where it cannot be imported, skip the test."""
    if request.param not in SOLVERS_HERE:
        pytest.skip(f"solver={request.param!r} needs a package that is not installed")
    return request.param


@pytest.fixture
def core():
    """Return the compiled core; where there was no compiler, skip the test."""
    if _core.core is None:
        pytest.skip("the core was not compiled")
    return _core.core


@pytest.fixture
def without_core(monkeypatch):
    """As if there had been no compiler when the package was installed."""
    monkeypatch.setattr(_core, "core", None)


@pytest.fixture
def tried(record_property):
    """Take note of cases that a test has tried: ``tried("kills survived", 50)``.

    The sums over all tests that passed are printed at the end.
    """

    def take_note(what, n_cases=1):
        record_property("tried", [what, n_cases])

    return take_note


@pytest.fixture
def measured(record_property):
    """Take note of a line to be printed at the end, if the test has passed."""

    def take_note(line):
        record_property("measured", line)

    return take_note


def pytest_terminal_summary(terminalreporter):
    tried, measured = Counter(), []
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "tried":
                tried[value[0]] += value[1]
            elif name == "measured":
                measured.append(value)
    if tried:
        terminalreporter.section("cases tried")
    for what, n_cases in sorted(tried.items()):
        terminalreporter.line(f"{n_cases:9,}  {what}")
    for line in measured:
        terminalreporter.line(line)
