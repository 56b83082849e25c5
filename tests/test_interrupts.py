"""Ctrl-C waits where it would do harm."""

import signal
import threading
from contextlib import suppress

import pytest
import torch
from sklearn import config_context, get_config, set_config

from skddl._interrupts import interrupts


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def handler_at_the_end_is_that_of_the_start():
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def test_it_is_raised_where_it_is_allowed_and_waits_elsewhere():
    seen = []
    with pytest.raises(KeyboardInterrupt), interrupts.guarded():
        ctrl_c()
        seen.append("waited")
        with interrupts.allowed():
            seen.append("not reached")
    assert seen == ["waited"]


def test_what_has_waited_is_raised_at_the_end():
    seen = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts.guarded(), interrupts.allowed():
            interrupts.wait_from_here()
            ctrl_c()
            seen.append("waited")
        seen.append("not reached")
    assert seen == ["waited"]


def test_what_was_raised_at_the_end_is_not_raised_again():
    with pytest.raises(KeyboardInterrupt), interrupts.guarded():
        ctrl_c()
    with interrupts.allowed():
        pass


def test_a_second_one_does_not_disturb_what_the_first_has_begun():
    seen = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts.guarded():
            try:
                with interrupts.allowed():
                    ctrl_c()
            except KeyboardInterrupt:
                ctrl_c()
                seen.append("tidied up")
            seen.append("went on")
        seen.append("not reached")
    assert seen == ["tidied up", "went on"]


def test_it_waits_inside_what_is_held_and_is_raised_after_it():
    seen = []
    with pytest.raises(KeyboardInterrupt), interrupts.guarded(), interrupts.allowed():
        with interrupts.held():
            ctrl_c()
            seen.append("waited")
        seen.append("not reached")
    assert seen == ["waited"]


def test_a_fit_inside_another_hands_on_what_has_waited():
    seen = []
    with pytest.raises(KeyboardInterrupt), interrupts.guarded(), interrupts.allowed():
        with interrupts.guarded():
            ctrl_c()
            seen.append("waited")
        seen.append("not reached")
    assert seen == ["waited"]


def test_handler_of_the_program_is_called_and_may_let_it_go_on():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("called"))
    try:
        with interrupts.guarded():
            ctrl_c()
            assert not seen
            with interrupts.allowed():
                ctrl_c()
                ctrl_c()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == ["called"] * 3


def test_program_that_ignores_it_goes_on_to_do_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.guarded(), interrupts.allowed():
            ctrl_c()
    finally:
        signal.signal(signal.SIGINT, before)


def test_gradients_are_recorded_as_before_where_it_comes_while_no_grad_begins():
    with pytest.raises(KeyboardInterrupt), interrupts.guarded(), interrupts.allowed():
        torch.set_grad_enabled(False)
        ctrl_c()
    records_gradients = torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    assert records_gradients


def test_configuration_of_scikit_learn_is_as_before_also_where_a_context_was_left_open():
    def fit_inside():
        context = config_context(skip_parameter_validation=True)
        context.__enter__()
        ctrl_c()

    with suppress(KeyboardInterrupt), interrupts.guarded(), interrupts.allowed():
        with config_context(skip_parameter_validation=True):
            fit_inside()
    is_skipped = get_config()["skip_parameter_validation"]
    set_config(skip_parameter_validation=False)
    assert not is_skipped


def test_threads_do_not_change_when_the_main_thread_may_be_interrupted():
    def fit():
        with interrupts.guarded(), interrupts.allowed():
            interrupts.wait_from_here()

    with pytest.raises(KeyboardInterrupt), interrupts.guarded(), interrupts.allowed():
        thread = threading.Thread(target=fit)
        thread.start()
        thread.join()
        ctrl_c()
        pytest.fail("not raised at once")
