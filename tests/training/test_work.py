"""What a network costs, and on how many threads it is trained."""

import threading

import pytest
import torch
from torch import nn

from skddl import TaskDrivenDictionaryClassifier
from skddl.nn import SparseCode
from skddl.sparse_coding import _threads
from skddl.sparse_coding._threads import few_threads
from skddl.training import multiply_adds

from ..data import small_digits

LARGE = 10 * _threads._WORK_OF_A_THREAD_IN_STEPS


@pytest.fixture(autouse=True)
def several_threads(monkeypatch):
    monkeypatch.setattr(_threads, "_count_processors", lambda: 3)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_weights_count_once_for_each_place():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)
    )
    expected = 36 * (9 * 4 + 4) + 36 * 2 * 4 + (144 * 10 + 10)
    assert multiply_adds(network, torch.zeros(1, 1, 8, 8)) == expected
    assert multiply_adds(network, torch.zeros(5, 1, 8, 8)) == 5 * expected
    assert network.training
    assert multiply_adds(SparseCode(6, 9, lambda1=0.1), torch.zeros(2, 6)) == 2 * 54


@pytest.mark.parametrize(("work", "expected"), [(0, 1), (LARGE // 5, 2), (LARGE, 3)])
def test_threads_follow_the_work_of_a_step(work, expected):
    with few_threads(work):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 3


def test_no_more_than_the_user_wants():
    torch.set_num_threads(2)
    with few_threads(LARGE):
        assert torch.get_num_threads() == 2


def threads_of_a_fit(work):
    with few_threads(work):
        return torch.get_num_threads()


def test_what_overlaps_leaves_what_the_first_has_found():
    entered, may_leave = threading.Event(), threading.Event()

    def other():
        with few_threads(0):
            entered.set()
            may_leave.wait()

    thread = threading.Thread(target=other)
    with few_threads(0):
        thread.start()
        entered.wait()
        begun = []  # meanwhile, by a large fit in a thread of its own
        large = threading.Thread(target=lambda: begun.append(threads_of_a_fit(LARGE)))
        large.start()
        large.join()
        assert begun == [3]
    assert torch.get_num_threads() == 3
    may_leave.set()
    thread.join()
    assert torch.get_num_threads() == 3
    found = []  # by those that begin later
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [3]


def test_a_small_fit_takes_one_thread_for_its_steps():
    seen = set()

    class Features(nn.Linear):
        def forward(self, x):
            if self.training:
                seen.add(torch.get_num_threads())
            return super().forward(x)

    X, y = small_digits()
    model = TaskDrivenDictionaryClassifier(
        10, features=lambda shape: Features(*shape, 8), max_iter=3, random_state=0
    )
    model.fit(X, y)
    assert seen == {1}
    assert torch.get_num_threads() == 3
