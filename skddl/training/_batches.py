"""Which samples each step of training sees."""

import numpy as np
from numpy.typing import NDArray


class BatchSampler:
    """Shuffled passes over `n_samples` rows, in batches; the batch of a step depends on it alone.

    So a training that is taken up again needs no more than the number of the step.

    Parameters
    ----------
    n_samples : int
    batch_size : int
        At most; the batches of a pass are of equal size, give or take one.
    seed : int
    start : int
        The step with which the first pass begins.
    """

    def __init__(self, n_samples: int, batch_size: int, seed: int, start: int = 0) -> None:
        self.n_samples = n_samples
        self.batch_size = min(batch_size, n_samples)
        self.n_batches = -(-n_samples // self.batch_size)
        self.seed = seed
        self.start = start
        self._epoch = -1
        self._order: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    def batch(self, step: int) -> NDArray[np.intp]:
        """Sorted row numbers of the batch of `step` (from 0)."""
        epoch, position = divmod(step - self.start, self.n_batches)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, self.start, epoch]).permutation(
                self.n_samples
            )
            self._epoch = epoch
        # Equal parts: a rest of one sample would take a step of its own, and has no variance.
        size, n_longer = divmod(self.n_samples, self.n_batches)
        first = position * size + min(position, n_longer)
        rows = self._order[first : first + size + (position < n_longer)]
        return np.sort(rows)  # sorted rows read a memmap from front to back

    def ends_epoch(self, step: int) -> bool:
        """Whether `step` (from 0) is the last of a pass over the samples."""
        return (step + 1 - self.start) % self.n_batches == 0
