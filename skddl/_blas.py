"""numpy's products on one thread, also where several fits overlap."""

import threading
from types import TracebackType

from threadpoolctl import threadpool_limits


class _OneThread:
    """Entered by any number of threads at once, in any order.

    The number of threads is one of the process. If each fit put back what it had found, the last
    of two that overlap would put back the limit of the other, for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                self._limits = threadpool_limits(1, user_api="blas")
            self._n_inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                self._limits.restore_original_limits()


# Threads of numpy's products would wait for work by spinning, and so do those of torch: taking
# turns on the same cores, they make each other several times slower.
one_blas_thread = _OneThread()
