"""Settings of the process are changed while anyone needs it, and then as they were."""

from contextlib import ExitStack

import pytest
import torch
from torch.backends import cudnn

from skddl._base import deterministic_convolutions
from skddl.sparse_coding._precision import full_precision

GPU = torch.device("cuda")
OF_USER, INSIDE = ("high", False, True), ("highest", True, False)


def settings():
    return torch.get_float32_matmul_precision(), cudnn.deterministic, cudnn.benchmark


def set_all(precision, deterministic, benchmark):
    torch.set_float32_matmul_precision(precision)
    cudnn.deterministic, cudnn.benchmark = deterministic, benchmark


@pytest.fixture(autouse=True)
def of_user():
    """The settings of a program that saves on precision."""
    before = settings()
    set_all(*OF_USER)
    yield
    set_all(*before)


def changed():
    stack = ExitStack()
    stack.enter_context(full_precision(GPU))
    stack.enter_context(deterministic_convolutions(GPU))
    return stack


def test_what_overlaps_leaves_what_the_first_has_found():
    first, second = changed(), changed()
    assert settings() == INSIDE
    first.close()
    assert settings() == INSIDE
    second.close()
    assert settings() == OF_USER


def test_cpu_needs_no_change():
    cpu = torch.device("cpu")
    with full_precision(cpu), deterministic_convolutions(cpu):
        assert settings() == OF_USER


def test_ctrl_c_while_it_is_changed_leaves_it_as_it_was(monkeypatch):
    def interrupted(precision, set_=torch.set_float32_matmul_precision):
        set_(precision)
        if precision == "highest":
            raise KeyboardInterrupt

    monkeypatch.setattr(torch, "set_float32_matmul_precision", interrupted)
    with pytest.raises(KeyboardInterrupt), full_precision(GPU):
        pass
    assert settings() == OF_USER
    monkeypatch.undo()
    with changed():
        assert settings() == INSIDE
    assert settings() == OF_USER


@pytest.mark.parametrize("enabled", [True, False])
def test_autocast_is_off_inside_and_afterwards_as_before(enabled):
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        with full_precision(torch.device("cpu")):
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_enabled("cpu") == enabled
