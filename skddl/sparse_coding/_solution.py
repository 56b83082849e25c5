"""What a solver starts from, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
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

    def read(self, width: int) -> "Supports":
        """A copy of what is meant, with room for at least `width` atoms."""
        rows = slice(None) if self.rows is None else self.rows
        atoms, sizes = self.atoms[rows], self.sizes[rows]
        copy = Supports.empty(len(atoms), max(width, atoms.shape[1]))
        copy.atoms[:, : atoms.shape[1]], copy.sizes[:] = atoms, sizes
        return copy

    def write(self, supports: "Supports") -> None:
        """Replace what is meant, as far as there is room."""
        rows = slice(None) if self.rows is None else self.rows
        width = self.atoms.shape[1]
        self.atoms[rows], self.sizes[rows] = (
            supports.atoms[:, :width],
            supports.sizes.clamp(max=width),
        )


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
