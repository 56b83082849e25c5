"""What a solver starts from, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

# From dl/dcodes, and whether dl/ddictionary is wanted, to dl/dX and dl/ddictionary.
Gradient = Callable[[Tensor, bool], tuple[Tensor, Tensor | None]]


@dataclass
class Supports:
    """Supports and signs of codes, sparse: where a solver starts, and what it finds.

    Attributes
    ----------
    atoms : int32 Tensor of shape (n_samples, width)
        Atom j with a positive entry is j + 1, with a negative one -(j + 1).
    sizes : int32 Tensor of shape (n_samples,)
        How many of them there are.
    rows : int64 Tensor or None
        The samples that are meant, all of them if None.
    """

    atoms: Tensor
    sizes: Tensor
    rows: Tensor | None = None

    @classmethod
    def empty(cls, n_samples: int, width: int) -> "Supports":
        """Supports of codes that are zero."""
        return cls(
            torch.empty((n_samples, width), dtype=torch.int32),
            torch.zeros(n_samples, dtype=torch.int32),
        )

    def at(self, rows: Tensor) -> "Supports":
        """Those of some samples, in the same memory."""
        return replace(self, rows=rows)

    def arrays(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        """The three as arrays; atoms and sizes in the same memory."""
        rows = None if self.rows is None else self.rows.contiguous().numpy()
        return self.atoms.numpy(), self.sizes.numpy(), rows


@dataclass
class Solution:
    """Codes, how good they are, and what the solver knows that their derivative needs.

    Attributes
    ----------
    codes : Tensor of shape (n_samples, n_components)
    residual : Tensor of shape (n_samples,)
        KKT residuals in units of lambda1, or bounds on them.
    gradient : callable or None
        The implicit derivative of the codes, where the solver has a way of its own.
    """

    codes: Tensor
    residual: Tensor
    gradient: Gradient | None = field(default=None, repr=False)
