"""Linear systems restricted to the support of each code, batched over samples."""

import torch
from torch import Tensor


class SupportSystem:
    """The systems ``(D_S D_S' + lambda2 I) v = rhs``, one per row of `mask`, S the columns set.

    Supports of different sizes are padded to the largest one with rows of the identity, so that
    all systems are factorised in one batched call.

    Parameters
    ----------
    gram : Tensor of shape (n_components, n_components)
        ``D D'``.
    lambda2 : float
        Added to the diagonal.
    mask : bool Tensor of shape (n_samples, n_components)
        The supports.
    """

    def __init__(self, gram: Tensor, lambda2: float, mask: Tensor) -> None:
        counts = mask.sum(1)
        width = int(counts.max()) if len(counts) else 0
        self.rows, self.columns = mask.nonzero(as_tuple=True)
        first = torch.cumsum(counts, 0) - counts
        self.slots = torch.arange(len(self.rows), device=mask.device) - first[self.rows]
        self.shape = mask.shape

        atoms = torch.zeros((len(mask), width), dtype=torch.long, device=mask.device)
        atoms[self.rows, self.slots] = self.columns
        used = torch.arange(width, device=mask.device) < counts[:, None]
        matrix = gram[atoms[:, :, None], atoms[:, None, :]]
        matrix.mul_(used[:, :, None]).mul_(used[:, None, :])
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        diagonal.add_(torch.full_like(diagonal, lambda2).masked_fill_(~used, 1.0))
        self.matrix = matrix
        self.factor = _cholesky(matrix)

    def gather(self, values: Tensor) -> Tensor:
        """Entries of `values` (n_samples, n_components) on the supports, padded with zeros."""
        padded = values.new_zeros(self.matrix.shape[:2])
        padded[self.rows, self.slots] = values[self.rows, self.columns]
        return padded

    def scatter(self, padded: Tensor) -> Tensor:
        """Inverse of `gather`: zeros outside the supports."""
        values = padded.new_zeros(self.shape)
        values[self.rows, self.columns] = padded[self.rows, self.slots]
        return values

    def solve(self, rhs: Tensor) -> Tensor:
        """Solution for a padded right-hand side of shape (n_samples, width)."""
        return torch.cholesky_solve(rhs[:, :, None], self.factor)[:, :, 0]


def _cholesky(matrix: Tensor) -> Tensor:
    """Cholesky factors; where a matrix is nearly singular, those of it plus a ridge.

    The ridge lifts the smallest pivot to sqrt(eps) of the largest diagonal entry: that bounds what
    is amplified along directions that the support leaves (nearly) undetermined, and the bound sets
    in without a jump.
    """
    width = matrix.shape[1]
    factor, info = torch.linalg.cholesky_ex(matrix)
    if not width:
        return factor
    eps = torch.finfo(matrix.dtype).eps
    scale = matrix.diagonal(dim1=1, dim2=2).amax(1)
    pivot = factor.diagonal(dim1=1, dim2=2).amin(1).square().masked_fill_(info != 0, 0.0)
    missing = eps**0.5 * scale - pivot
    singular = (~(missing <= 0)).nonzero()[:, 0]
    if len(singular):
        ridged = matrix[singular]
        ridged.diagonal(dim1=1, dim2=2).add_(missing[singular, None])
        # A matrix of NaN stays one, for the caller to notice.
        factor[singular] = torch.linalg.cholesky_ex(ridged)[0]
    return factor
