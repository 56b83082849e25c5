"""A job for the compiled loops: arrays, numbers, and the threads that share the work."""

import copy
import functools
import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._interrupts import interrupts
from . import _threads

# The arguments of all loops. Arrays are given by their addresses; 0 is none.
RECORD = np.dtype(
    [
        # Two counters: what of the work has been taken, and by how many threads that are not done.
        *((name, np.int64) for name in ("counters", "n_samples", "n_features", "n_components")),
        # Atoms by columns, in blocks: see `Job.of_atoms`.
        *((name, np.int64) for name in ("dictionary", "packed", "n_blocks", "block", "gram")),
        # Samples; codes to start from; and what comes of them.
        *((name, np.int64) for name in ("X", "init", "codes", "residuals", "remainders")),
        # Signed atoms, from 1, in slots: their number, and how many there is room for.
        *((name, np.int64) for name in ("supports", "sizes", "width", "warm")),
        # Cholesky factors, in as much room per sample in the mean, and where each begins; -1: there
        # was no room.
        *((name, np.int64) for name in ("factors", "offsets", "room")),
        *((name, np.int64) for name in ("grad_codes", "beta", "grad_X", "grad_dictionary")),
        *((name, np.int64) for name in ("positive", "max_rounds")),
        *((name, np.float64) for name in ("lambda1", "lambda2", "atom_norm")),
    ],
    align=True,
)
# Atoms of a block, at most: with all features they stay in the cache of a core, and the Gram matrix
# is computed for those pairs of blocks that are not mirrored. A multiple of `LINE`.
_BLOCK = 256
# Values of float32 in a line of the cache: blocks are made of whole ones.
LINE = 16
# Multiply-adds, some 50 microseconds, below which another thread does not pay: where other programs
# want its core, all have to wait for it, for milliseconds.
_WORK_OF_A_THREAD = 2**22
# Bytes of a matrix whose memory is kept from one call to the next of a thread: to get it from the
# system again, page by page, would take as long as to compute it.
_KEPT_BYTES = 2**23
_kept = threading.local()


def scratch(name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Memory of the type of `like`, until the next call asks for this name."""
    kept = getattr(_kept, name, None)
    values = None if kept is None else torch.from_numpy(kept)
    if values is None or values.shape != shape or values.dtype != like.dtype:
        values = torch.empty(shape, dtype=like.dtype)
        if values.nbytes <= _KEPT_BYTES:
            # As an array: a tensor that is made in inference mode cannot be used outside.
            setattr(_kept, name, values.numpy())
    return values


def plain(values: Tensor) -> Tensor:
    """The values as loops read them from memory: in rows, and with their signs."""
    return values.resolve_neg().contiguous()


@functools.cache
def _loop(name: str, dtype: str) -> Any:
    with interrupts.guarded():  # neither an import nor a compilation outlives an interrupt
        from ._loops import get_loop  # which imports numba

        return get_loop(name, dtype)


class Job:
    """A record of arguments, and the loops that may be called with it."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = str(dtype).removeprefix("torch.")
        self.record = np.zeros(1, RECORD)
        self.held: dict[str, Tensor] = {}  # arrays of which the record has but the addresses

    @classmethod
    def of_atoms(cls, dictionary: Tensor) -> "Job":
        """One for a dictionary, plain, whose atoms are packed: by columns, block by block."""
        job = cls(dictionary.dtype)
        n_components, n_features = dictionary.shape
        n_blocks = -(-n_components // _BLOCK)
        block = -(-n_components // (n_blocks * LINE)) * LINE
        job.set(
            n_components=n_components,
            n_features=n_features,
            n_blocks=n_blocks,
            block=block,
            dictionary=dictionary,
            packed=scratch("packed", (n_blocks, n_features, block), dictionary),
        )
        # Eight times: it is bound by memory, for which cores that write to it in turns wait.
        job.run("pack", work=dictionary.numel() // 8)
        return job

    def copy(self) -> "Job":
        """One with the same arguments, to be set and run independently of this one."""
        job = copy.copy(self)
        job.record, job.held = self.record.copy(), self.held.copy()
        return job

    def set(self, **arguments: Tensor | float) -> None:
        """Set arguments; arrays are held, to live as long as loops may use them."""
        for name, value in arguments.items():
            if isinstance(value, Tensor):
                self.held[name], value = value, value.data_ptr()
            self.record[name] = value

    def form_gram(self, gram: Tensor) -> None:
        """Fill in the Gram matrix of the atoms, for the loops to use."""
        self.set(gram=gram)
        self.run("form_gram", work=len(gram) ** 2 * int(self.record["n_features"][0]) // 2)

    def run(self, name: str, *, work: int) -> None:
        """Call a loop on torch's number of threads, or fewer for little work.

        `work` is about the number of multiply-adds.
        """
        counters = np.zeros(2, np.int64)
        self.record["counters"] = counters.ctypes.data
        at_most = max(1, work // _WORK_OF_A_THREAD)
        _threads.run(_loop(name, self.dtype), self.record.ctypes.data, at_most=at_most)
        if counters[1]:  # numba prints what a loop raises, and nothing else can happen there
            raise MemoryError(f"A compiled loop ({name}) found no memory.")
