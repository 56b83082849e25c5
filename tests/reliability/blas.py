"""Two fits, of which the first to begin is the first to end, and numpy's threads meanwhile."""

import json
import threading

from threadpoolctl import threadpool_info

from skddl import OnlineDictionaryLearning
from tests.saving.data import X

first_has_begun, second_has_begun, first_has_ended, all_is_seen = (
    threading.Event() for _ in range(4)
)
found = {}


def n_threads():
    """Those of each library, but not where it has a number for each thread."""
    return [
        library["num_threads"]
        for library in threadpool_info()
        if library["user_api"] == "blas" and library.get("threading_layer") != "openmp"
    ]


def look(when):
    found[when] = n_threads()


class First(OnlineDictionaryLearning):
    def _update(self, X, least_weight):
        first_has_begun.set()
        assert second_has_begun.wait(60)
        look("while the first goes on")
        return super()._update(X, least_weight)


class Second(OnlineDictionaryLearning):
    def _update(self, X, least_weight):
        second_has_begun.set()
        assert first_has_ended.wait(60)
        look("while only the second goes on")
        return super()._update(X, least_weight)


def first():
    First(5, max_iter=1, random_state=0).fit(X)
    first_has_ended.set()
    # While this thread is alive, what it has limited may be its own to take back.
    assert all_is_seen.wait(60)


if __name__ == "__main__":
    look("before")
    other = threading.Thread(target=first)
    other.start()
    assert first_has_begun.wait(60)
    Second(5, max_iter=1, random_state=0).fit(X)
    look("afterwards")
    all_is_seen.set()
    other.join()
    print(json.dumps(found))
