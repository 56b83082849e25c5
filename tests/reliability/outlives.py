"""A fit that goes on when the main thread has ended, with loops on torch's or python's threads."""

import sys
import threading

import torch

from skddl import OnlineDictionaryLearning
from skddl.sparse_coding import _core, _exact, _gram, _threads
from tests.saving.data import X


def fit():
    threading.main_thread().join()
    OnlineDictionaryLearning(5, max_iter=2, random_state=0).fit(X)
    print("learned")


if __name__ == "__main__":
    if sys.argv[1] == "python's":
        # As where torch has no OpenMP of GNU's; two threads, also for little work.
        _exact.team = _gram.team = lambda: _core.core.Team("")
        _threads._WORK_OF_A_THREAD = 1
        torch.set_num_threads(2)
    threading.Thread(target=fit).start()
