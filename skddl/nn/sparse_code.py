"""The elastic-net code as a torch module."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from skddl.sparse_coding._gram import useful_gram
from skddl.sparse_coding._implicit import Coder, ImplicitCode
from skddl.sparse_coding._precision import full_precision
from skddl.sparse_coding._problem import ElasticNetProblem, to_bool
from skddl.sparse_coding._solution import Supports
from skddl.sparse_coding._solvers import get_solver

from ._inputs import require_size, require_tensor


class SparseCode(nn.Module):
    """Sparse codes in a learned dictionary, differentiable in the input and in the dictionary.

    The code of ``x`` is computed exactly, ``argmin_a 1/2 ||x - a D||^2 + lambda1 ||a||_1 +
    lambda2/2 ||a||^2`` (paper 1, Eq. 3), and differentiated implicitly on its support (paper 1,
    Algorithm 1 and Eq. 12): the cost of the backward pass does not depend on how the code was
    found. Where the support changes, the code has no derivative; the one of the present support
    is used. A nearly singular support (possible when `lambda2` is 0) gets a small ridge. There is
    no second derivative.

    Parameters
    ----------
    n_features : int
        Length of the inputs and of the atoms.
    n_components : int
        Number of atoms.
    lambda1 : float
        Weight of the l1 norm, > 0, in the units of ``x @ dictionary.T``.
    lambda2 : float, default=0.0
        Weight of half the squared l2 norm, >= 0.
    positive : bool, default=False
        Whether the codes are constrained to be non-negative.
    solver : {"auto", "active-set", "spams", "fista"}, default="auto"
        As in :func:`skddl.sparse_coding.sparse_encode`.
    positive_dict : bool, default=False
        Whether :meth:`project_` keeps the atoms non-negative, too.

    Attributes
    ----------
    dictionary : Parameter of shape (n_components, n_features)
        The atoms, at first random directions of unit norm, without negative entries if
        `positive_dict`. :meth:`project_` keeps them in the unit ball and must be called after each
        step of an optimizer.

    Raises
    ------
    ValueError
        If a weight is out of range, or beyond the type of the inputs, a size is no positive int,
        the solver is unknown, or inputs have another length.
    TypeError
        If a weight is not a real number, a flag is not a bool, or inputs are complex.

    Notes
    -----
    The code is computed in the dtype of the input, never below float32, also under autocast. An
    input that is not finite has a code of NaN.

    Examples
    --------
    >>> import torch
    >>> from skddl.nn import SparseCode
    >>> code = SparseCode(n_features=3, n_components=3, lambda1=1.0)
    >>> with torch.no_grad():
    ...     _ = code.dictionary.copy_(torch.eye(3))
    >>> x = torch.tensor([[3.0, -0.5, -2.0]], requires_grad=True)
    >>> code(x).tolist()
    [[2.0, 0.0, -1.0]]
    >>> code(x).sum().backward()
    >>> x.grad.tolist()
    [[1.0, 0.0, 1.0]]
    """

    def __init__(
        self,
        n_features: int,
        n_components: int,
        *,
        lambda1: float,
        lambda2: float = 0.0,
        positive: bool = False,
        solver: str = "auto",
        positive_dict: bool = False,
    ) -> None:
        super().__init__()
        n_features = require_size("n_features", n_features)
        n_components = require_size("n_components", n_components)
        get_solver(solver, torch.device("cpu"))
        self._problem = ElasticNetProblem(lambda1, lambda2, positive)
        self.lambda1: Tensor | None
        self.register_buffer("lambda1", None)
        self.solver = solver
        self._gram: Tensor | None = None
        self.positive_dict = to_bool("positive_dict", positive_dict)
        atoms = torch.randn(n_components, n_features)
        atoms = atoms.abs() if self.positive_dict else atoms
        self.dictionary = nn.Parameter(nn.functional.normalize(atoms, dim=1))

    def forward(self, x: Tensor, supports: Supports | None = None) -> Tensor:
        """Codes of shape (..., n_components) of inputs of shape (..., n_features).

        `supports`, one row per input, are where a solver starts that can do so; they are replaced
        by those of the codes.
        """
        if torch.jit.is_tracing():  # where sizes are tensors, which compiled loops cannot read
            raise RuntimeError(
                "SparseCode cannot be traced by torch.jit: its solvers are no graph."
            )
        require_tensor(self, x)
        n_components, n_features = self.dictionary.shape
        if x.shape[-1:] != (n_features,):
            raise ValueError(f"Inputs must have {n_features} features, got shape {tuple(x.shape)}.")
        if x.is_complex():
            raise TypeError(f"Inputs must be real, got {x.dtype}.")
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        flat = x.reshape(-1, n_features)
        if x.device.type == "meta":  # only shapes are asked for
            return x.new_empty(*x.shape[:-1], n_components)
        dictionary = self.dictionary.to(x.dtype)
        coder = Coder(
            self.problem,
            self.solver,
            supports,
            self._known_gram(dictionary),
            torch.is_grad_enabled() and (x.requires_grad or dictionary.requires_grad),
        )
        codes: Tensor
        if torch.compiler.is_compiling():  # solvers are no graph
            codes = torch.compiler.disable(ImplicitCode.apply)(flat, dictionary, coder)
        else:
            codes = ImplicitCode.apply(flat, dictionary, coder)
        return codes.reshape(*x.shape[:-1], n_components)

    @property
    def problem(self) -> ElasticNetProblem:
        """What is solved."""
        if self.lambda1 is None:
            return self._problem
        return replace(self._problem, lambda1=float(self.lambda1))

    @problem.setter
    def problem(self, problem: ElasticNetProblem) -> None:
        self._problem = problem
        if self.lambda1 is not None:
            self.lambda1.fill_(problem.lambda1)

    def let_lambda1_change_(self) -> None:
        """Have `lambda1` among the buffers: it belongs to the state, as it changes in training."""
        self.lambda1 = self.dictionary.new_tensor(self._problem.lambda1)

    @torch.no_grad()
    def fix_(self, n_inputs: int) -> None:
        """Be ready for so many inputs: the dictionary must not change nor be moved any more."""
        with full_precision(self.dictionary.device):
            self._gram = useful_gram(self.dictionary.detach(), n_inputs)

    def _known_gram(self, dictionary: Tensor) -> Tensor | None:
        # The inputs, or the module, may have another type by now, or be elsewhere.
        gram = self._gram
        if gram is None or (gram.dtype, gram.device) != (dictionary.dtype, dictionary.device):
            return None
        return gram

    @torch.no_grad()
    def project_(self) -> None:
        """Bring each atom back to the unit ball, in place (paper 1, Eq. 4)."""
        if self.positive_dict:
            self.dictionary.relu_()
        norms = torch.linalg.vector_norm(self.dictionary, dim=1, keepdim=True)
        self.dictionary.div_(norms.clamp_(min=1))

    def extra_repr(self) -> str:
        """The sizes and the weights, for ``repr``."""
        n_components, n_features = self.dictionary.shape
        problem = self.problem
        return (
            f"{n_features=}, {n_components=}, lambda1={problem.lambda1}, "
            f"lambda2={problem.lambda2}, positive={problem.positive}, solver={self.solver!r}, "
            f"positive_dict={self.positive_dict}"
        )
