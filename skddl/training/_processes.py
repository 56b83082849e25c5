"""The processes that train one model together: each takes its part of every batch.

They are those of torch.distributed, as `torchrun` starts them. All of them have all samples and
take the same steps, so that each has the whole model at any time.
"""

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from ._batch_norm import SharedBatchNorm

# Whether an error has ended the connection of these processes.
_lost = threading.Event()


@dataclass(frozen=True)
class Processes:
    """Those that train together, as one of them sees them; by default it is alone.

    Attributes
    ----------
    rank : int
        The number of this one.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "Processes":
        """Those that torchrun has started, or that the user's program has joined by itself.

        A worker of joblib is alone: it knows the environment of torchrun, but none of the others.
        """
        if not distributed.is_available() or get_active_backend()[0].nesting_level:
            return cls()
        if _lost.is_set():
            raise RuntimeError(
                "The processes that train together have lost one another, by an error in one of "
                "them. Start all of them again."
            )
        if not distributed.is_initialized():
            if not distributed.is_torchelastic_launched() or os.environ.get("WORLD_SIZE") == "1":
                return cls()
            distributed.init_process_group()
            atexit.register(_leave)
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether it is this one that prints and writes."""
        return self.rank == 0

    def each(self, function: Callable[[], Any]) -> Any:
        """The result of `function`, which must raise in no process.

        Raises
        ------
        RuntimeError
            If it raised in another process. Where it raised, that error.
        """
        if self.size == 1:
            return function()
        error, result = None, None
        try:
            result = function()
        except Exception as raised:
            error = raised
        failed = [text for text in self._gather(error and repr(error)) if text is not None]
        if error is not None:
            raise error
        if failed:
            raise RuntimeError(f"Another process of this training failed: {failed[0]}")
        return result

    def require_same(self, value: Any, what: str, *, show: bool = True) -> None:
        """Raise ValueError, in every process, unless `value` is the same in all of them."""
        values = self._gather(value)
        if any(other != values[0] for other in values):
            shown = f": {values}" if show else ""
            raise ValueError(
                f"The processes that train together have different {what}{shown}. Each must "
                "call fit with the same parameters, samples and labels."
            )

    def of_first(self, value: Any) -> Any:
        """What `value`, an object that can be pickled, is in the first process."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    @torch.no_grad()
    def copy_from_first_(self, module: nn.Module) -> None:
        """Set parameters and buffers to those in the first process."""
        if self.size > 1:
            for value in module.state_dict().values():
                distributed.broadcast(value, src=0)

    def share(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], float]:
        """The part of a batch that is this process's, and the weight of its mean.

        The mean over the batch is the mean over processes of weight times the mean over the part.
        Where there is not a sample for each process, all take the whole batch.
        """
        if len(rows) < self.size:
            return rows, 1.0
        part = rows[self.rank :: self.size]
        return part, len(part) * self.size / len(rows)

    def batch_norms(self, n_samples: int) -> AbstractContextManager[Any]:
        """Inside, the batch norms of a batch of so many samples are those of all of it."""
        return nullcontext() if n_samples < self.size or self.size == 1 else SharedBatchNorm()

    @contextmanager
    def ending_together(self, shared: type[Exception]) -> Iterator[None]:
        """An error inside is one in all of them, as those of the type `shared` are anyway.

        The others cannot be told of it, since they may wait for this one anywhere: the connection
        ends, and with it what they wait for. Nothing can be trained together after that.
        """
        try:
            yield
        except BaseException as error:
            if self.size > 1 and not isinstance(error, shared):
                _lost.set()
                distributed.destroy_process_group()
            raise

    @torch.no_grad()
    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Set each tensor to its mean over the processes."""
        if self.size == 1:
            return
        tensors = list(tensors)
        # In one go: a message costs more than what is in it.
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.size
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def _gather(self, value: Any) -> list[Any]:
        values = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values


def own_gpu(device: torch.device) -> torch.device:
    """`device`, and where that is a GPU without a number, that of this process among several."""
    if device.type != "cuda" or device.index is not None or not distributed.is_available():
        return device
    if not distributed.is_initialized():
        return device
    local_rank = int(os.environ.get("LOCAL_RANK", distributed.get_rank()))
    return torch.device("cuda", local_rank % torch.cuda.device_count())


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
