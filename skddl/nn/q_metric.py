"""The activation of DeTraMe networks: a ReLU in a learned metric."""

import math
import warnings
from numbers import Integral
from typing import Self

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from skddl._arrays import refuse_other_layouts
from skddl.sparse_coding._problem import to_float

from ._exact_metric import exact_metric
from ._inputs import is_real, require_size, require_tensor
from ._metric_steps import (
    RecomputedSteps,
    constant_part,
    dtype_of_steps,
    take_step,
    take_steps,
    without_autocast,
)


class QMetricReLU(nn.Module):
    """A few steps towards a proximal operator in a learned metric: the Q-Metric ReLU of paper 2.

    From ``U_0 = 0`` it takes the steps of Eq. (9),

        ``U_(t+1) = ReLU(h * Z + W~ (U_t - Z) - b)``.

    With the W~, h, b that Theorem 3.2 computes from a metric Q, the fixed point of the steps is
    ``argmin_U 1/2 ||U - Z||_Q^2 + lambda ||U||_1 + beta/2 ||U||^2`` over ``U >= 0`` (Eq. 7). Here
    W~, h and b are learned. With ``W~ = 0, h = 1, b = 0``, where they start, every number of steps
    is exactly a ReLU.

    Parameters
    ----------
    n_channels : int
        Length of the inputs; of images, the number of their channels.
    kernel_size : int, default=None
        None: dense, for inputs of shape (n, n_channels). An odd number: W~ is a convolution with
        zero padding, for inputs of shape (n, n_channels, H, W).
    n_steps : int, default=3
        Number of steps, >= 1.
    tol : float, default=None
        If given, in evaluation mode (``eval()``) each sample takes steps until one moves none of
        its entries by more than `tol` times its largest entry, and at most `max_steps`. Samples
        do not depend on their neighbours. In training mode there are `n_steps` steps.
    max_steps : int, default=1000
        Bound on the number of steps if there is a `tol`.
    damping : float, default=1.0
        In (0, 1]. Below 1, the argument of the ReLU is ``damping`` times that of Eq. (9) plus
        ``1 - damping`` times ``U_t``, which has the same fixed point: see Notes.
    init_std : float, default=0.0
        Standard deviation of the normal distribution from which W~ is drawn; 0 starts as a ReLU.
    memory_efficient : bool, default=False
        Whether the backward pass computes the steps anew instead of keeping them. Then the memory
        that training takes does not grow with `n_steps`, while the time does with its square, and
        there is no second derivative. Steps to convergence (`tol`) are kept all the same.

    Attributes
    ----------
    weight : Parameter of shape (n_channels, n_channels), or (n_channels, n_channels, s, s)
        W~. `project_` keeps its diagonal at zero; of a kernel, the centre tap from each channel to
        itself (the set D_0 of Algorithm 1).
    h, b : Parameters of shape (n_channels,)
        `project_` keeps h in [0, 1] and b at or above 0.

    Raises
    ------
    ValueError
        If a parameter is out of range, or an input has another shape.
    TypeError
        If an input is not of a floating-point type, or `memory_efficient` is not a bool.

    Warns
    -----
    ConvergenceWarning
        If samples take `max_steps` steps without settling to `tol`.

    Notes
    -----
    **When the steps converge.** Eq. (9) updates all entries at once (Jacobi's method), while
    Theorem 3.2 is about one row at a time. With an exact metric the steps converge for every input
    if and only if no eigenvalue of W~ is -1 or less; its eigenvalues are real and below 1. That is
    so where atoms are little correlated, for instance where the absolute values in each row of W~
    sum up to less than 1, but not for a dictionary of many coherent atoms. Steps damped by less
    than 2 / (1 - m), m being the smallest eigenvalue of W~, converge for every exact metric: each
    of them lowers the objective. A learned W~ need not come from a metric at all; a spectral norm
    below 1 is sufficient for it.

    The steps are taken in the dtype of the input, to which the parameters are cast, or in that of
    autocast. On a GPU, convolutions of float32 may run in TF32 (see
    ``torch.backends.cudnn.allow_tf32``), in which steps settle to 1e-3 at best: use float64 for
    exact metrics of filters there.

    Call `project_` after each step of an optimizer, as the estimators of this package do. The
    ``state_dict`` has W~, h and b alone: `n_steps`, `tol`, `max_steps` and `damping` must be the
    same where it is loaded.

    References
    ----------
    Paper 2, Theorem 3.2, Eq. (9) and Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from skddl.nn import QMetricReLU
    >>> activation = QMetricReLU(64, kernel_size=3, n_steps=2)
    >>> maps = torch.randn(5, 64, 8, 8)
    >>> torch.equal(activation(maps), torch.relu(maps))
    True
    >>> activation.weight.shape
    torch.Size([64, 64, 3, 3])
    """

    def __init__(
        self,
        n_channels: int,
        *,
        kernel_size: int | None = None,
        n_steps: int = 3,
        tol: float | None = None,
        max_steps: int = 1000,
        damping: float = 1.0,
        init_std: float = 0.0,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        n_channels = require_size("n_channels", n_channels)
        if kernel_size is not None and (
            not isinstance(kernel_size, Integral) or kernel_size < 1 or kernel_size % 2 == 0
        ):
            raise ValueError(f"kernel_size must be None or an odd int, got {kernel_size!r}.")
        if tol is not None and not (is_real(tol) and tol > 0):
            raise ValueError(f"tol must be None or positive, got {tol!r}.")
        if not (is_real(damping) and 0 < damping <= 1):
            raise ValueError(f"damping must be in (0, 1], got {damping!r}.")
        if not (is_real(init_std) and 0 <= init_std < math.inf):
            raise ValueError(f"init_std must be at least 0 and finite, got {init_std!r}.")
        if not isinstance(memory_efficient, bool | np.bool_):
            raise TypeError(f"memory_efficient must be True or False, got {memory_efficient!r}.")
        self.kernel_size = kernel_size
        self.n_steps = require_size("n_steps", n_steps)
        self.tol = None if tol is None else to_float(tol)
        self.max_steps = require_size("max_steps", max_steps)
        self.damping = damping
        self.memory_efficient = memory_efficient
        taps = () if kernel_size is None else (kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.zeros(n_channels, n_channels, *taps))
        self.h = nn.Parameter(torch.ones(n_channels))
        self.b = nn.Parameter(torch.zeros(n_channels))
        if init_std > 0:
            nn.init.normal_(self.weight, std=init_std)
            self.project_()

    @classmethod
    def from_dictionary(
        cls,
        dictionary: Tensor,
        *,
        lambda_: float,
        alpha: float,
        beta: float,
        n_steps: int = 3,
        tol: float | None = None,
        max_steps: int = 1000,
    ) -> Self:
        """The exact metric ``Q = D' D + alpha I`` of a dictionary (Theorems 3.1 and 3.2).

        For inputs ``z = Q^-1 D' x``, the fixed point of its steps is the sparse code of x:
        ``argmin_(a >= 0) 1/2 ||x - D a||^2 + lambda ||a||_1 + (alpha + beta)/2 ||a||^2``, which is
        ``SparseCode(..., lambda1=lambda_, lambda2=alpha + beta, positive=True)``. The steps are
        damped where plain ones do not converge, or hardly (see Notes of the class). `n_steps` of
        them are not the code yet: for that pass a `tol` and call ``eval()``.

        Parameters
        ----------
        dictionary : Tensor of shape (n_components, n_features) or (n_components, C, s, s)
            Atoms as rows; or square filters, which code images by a sum of convolutions. The
            metric of filters of size s has kernels of size 2 s - 1.
        lambda_ : float
            Weight of the l1 norm, > 0.
        alpha : float
            Weight of half the squared l2 norm inside the metric, > 0.
        beta : float
            Weight of half the squared l2 norm outside the metric, >= 0.
        n_steps, tol, max_steps
            As in the class.

        Returns
        -------
        QMetricReLU
            On the device and in the dtype of `dictionary`; it may be trained further.

        Examples
        --------
        >>> import torch
        >>> from skddl.nn import QMetricReLU, SparseCode
        >>> code = SparseCode(6, 4, lambda1=0.2, lambda2=0.6, positive=True).double()
        >>> D = code.dictionary.detach()
        >>> prox = QMetricReLU.from_dictionary(D, lambda_=0.2, alpha=0.5, beta=0.1, tol=1e-12)
        >>> x = torch.randn(3, 6, dtype=torch.float64)
        >>> z = torch.linalg.solve(D @ D.T + 0.5 * torch.eye(4), D @ x.T).T  # F x of Theorem 3.1
        >>> torch.allclose(prox.eval()(z), code(x), rtol=0, atol=1e-9)
        True
        """
        if not isinstance(dictionary, Tensor):
            raise TypeError(f"dictionary must be a tensor, got {type(dictionary).__name__}.")
        refuse_other_layouts(dictionary, "dictionary")
        sizes = dictionary.shape
        if len(sizes) not in (2, 4) or 0 in sizes or (len(sizes) == 4 and sizes[2] != sizes[3]):
            raise ValueError(
                "dictionary must have the shape (n_components, n_features) or (n_components, C, s, "
                f"s), got {tuple(sizes)}."
            )
        if not dictionary.is_floating_point():
            raise TypeError(f"dictionary must be of a floating-point type, got {dictionary.dtype}.")
        if not bool(dictionary.isfinite().all()):
            raise ValueError("dictionary contains NaN or infinity.")
        for name, weight in (("lambda_", lambda_), ("alpha", alpha)):
            if not 0 < weight < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {weight}.")
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta must be at least 0 and finite, got {beta}.")
        metric, h, b, damping = exact_metric(dictionary.detach(), lambda_, alpha, beta)
        module = cls(
            len(metric),
            kernel_size=metric.shape[-1] if metric.ndim == 4 else None,
            n_steps=n_steps,
            tol=tol,
            max_steps=max_steps,
            damping=damping,
        ).to(dictionary)
        module.load_state_dict({"weight": metric, "h": h, "b": b})
        return module

    def forward(self, z: Tensor) -> Tensor:
        """Outputs >= 0 of the shape of the inputs."""
        require_tensor(self, z)
        n_channels = len(self.h)
        if z.ndim != self.weight.ndim or z.shape[1] != n_channels:
            maps = "" if self.kernel_size is None else ", H, W"
            raise ValueError(
                f"Inputs must have the shape (n, {n_channels}{maps}), got {tuple(z.shape)}."
            )
        if not z.is_floating_point():
            raise TypeError(f"Inputs must be of a floating-point type, got {z.dtype}.")
        dtype = dtype_of_steps(z)
        z, weight, h, b = (tensor.to(dtype) for tensor in (z, self.weight, self.h, self.b))
        if z.device.type == "meta":  # only shapes are asked for, of however many steps
            return torch.empty_like(z)
        with without_autocast(z.device):
            if self.tol is not None and not self.training:
                return self._converge(constant_part(z, weight, h, b), weight, self.tol)
            if self.memory_efficient:
                result: Tensor = RecomputedSteps.apply(z, weight, h, b, self.n_steps, self.damping)
                return result
            return take_steps(constant_part(z, weight, h, b), weight, self.n_steps, self.damping)

    def _converge(self, constant: Tensor, weight: Tensor, tol: float) -> Tensor:
        """Steps until each sample has settled."""
        u = take_steps(constant, weight, 1, self.damping)
        result = u
        moving = torch.arange(len(u), device=u.device)
        for _ in range(self.max_steps - 1):
            if len(moving) == 0:
                break
            updated = take_step(u, constant, weight, self.damping)
            # What is not finite has stopped, too: it compares as False.
            moves = (updated - u).abs().flatten(1).amax(1) > tol * updated.flatten(1).amax(1)
            u = updated
            if not bool(moves.all()):
                result = result.index_copy(0, moving[~moves], u[~moves])
                moving, u, constant = moving[moves], u[moves], constant[moves]
        if len(moving) > 0:
            result = result.index_copy(0, moving, u)
            warnings.warn(
                f"{len(moving)} of {len(result)} samples still move by more than tol={tol:g} after "
                f"{self.max_steps} steps. Raise max_steps, or tol."
                + (" If they never settle, lower damping." if self.damping == 1 else ""),
                ConvergenceWarning,
                stacklevel=2,
            )
        return result

    @torch.no_grad()
    def project_(self) -> None:
        """Bring W~, h and b back to where Theorem 3.2 has them, in place (Algorithm 1, 20-22)."""
        centre = () if self.kernel_size is None else 2 * (self.kernel_size // 2,)
        self.weight[(slice(None), slice(None), *centre)].diagonal().zero_()
        self.h.clamp_(0, 1)
        self.b.clamp_(min=0)

    def extra_repr(self) -> str:
        """The sizes and the number of steps, for ``repr``."""
        kernel_size, n_steps, tol = self.kernel_size, self.n_steps, self.tol
        return f"{len(self.h)}, {kernel_size=}, {n_steps=}, {tol=}, damping={self.damping:g}"
