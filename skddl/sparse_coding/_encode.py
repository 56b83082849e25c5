"""The public functions: sparse coding of numpy arrays and torch tensors."""

import math
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arrays import check_numbers, refuse_other_layouts
from ._csr import CsrRows
from ._finite import all_finite
from ._gram import useful_gram
from ._precision import full_precision
from ._problem import ElasticNetProblem, to_float
from ._solvers import solve
from ._units import Units

Array = TypeVar("Array", NDArray[Any], Tensor)

# Entries of the samples, or of their codes, zeros included, that are coded at a time: enough to
# keep a device busy, while solvers hold some arrays of 4 MB at most on a CPU.
_ENTRIES_AT_A_TIME = {"cpu": 2**19, "cuda": 2**26}
# As good as no bound; SPAMS takes an int of C.
_MOST_ROUNDS = 2**31 - 1


def sparse_encode(
    X: Array,
    dictionary: Array,
    *,
    lambda1: float,
    lambda2: float = 0.0,
    positive: bool = False,
    solver: str = "auto",
    init: Array | None = None,
    tol: float | None = None,
    max_iter: int | None = None,
    sparse_output: bool = False,
) -> Any:
    """Elastic-net codes of samples in a dictionary.

    Solves, for each row ``x`` of `X`, problem (3) of paper 1 (see :ref:`references`),
    ``min_a  1/2 ||x - a D||^2 + lambda1 ||a||_1 + lambda2/2 ||a||^2``. Each sample is solved on
    its own, to a KKT residual of at most 1e-6 (float64) or 1e-4 (float32), whatever the solver.

    Parameters
    ----------
    X : ndarray or Tensor of shape (n_samples, n_features)
        Samples. A `numpy.memmap` is read, and converted, part by part.
    dictionary : ndarray or Tensor of shape (n_components, n_features)
        Atoms, of the kind (and device) of `X`.
    lambda1 : float
        Weight of the l1 norm, > 0, in the units of ``X @ dictionary.T``.
    lambda2 : float, default=0.0
        Weight of half the squared l2 norm, >= 0.
    positive : bool, default=False
        Whether to constrain the codes to be non-negative.
    solver : {"auto", "active-set", "spams", "fista"}, default="auto"
        "active-set": feature-sign search, compiled (in C++ for a CPU, by Triton for CUDA).
        "spams": LARS, on the CPU. "fista": accelerated proximal gradient followed by an active-set
        method, in torch, on a CPU or with CUDA. "auto" takes the first that works here.
    init : ndarray or Tensor of shape (n_samples, n_components), default=None
        Codes to start from; LARS always starts from zero.
    tol : float, default=None
        KKT residual, in units of `lambda1`, at which a code is accepted. None: as good as the
        method gives.
    max_iter : int, default=None
        Bound on the rounds ("active-set"), on the steps of the path ("spams") or on the iterations
        ("fista"), and on the active-set rounds after them. None: enough for any problem.
    sparse_output : bool, default=False
        Whether to return a scipy matrix in CSR format, which holds 8 bytes (float64: 12) for each
        non-zero and nothing for the others. The dense codes of all samples then never exist. Only
        for arrays.

    Returns
    -------
    codes : ndarray, Tensor or CSR matrix of shape (n_samples, n_components)
        In float32 if `X` and `dictionary` are, else in float64; tensors stay on their device.
        Not connected to autograd: for that there is :class:`skddl.nn.SparseCode`.

    Raises
    ------
    ValueError
        If an array contains NaN or infinity or is of the wrong shape, a weight is negative, the
        solver is unknown or does not work here, or a weight or a code is beyond the float type.
    TypeError
        If `X`, `dictionary` and `init` are not all arrays or all tensors, if `sparse_output` is
        asked of tensors, or if a number or a flag is of another type.

    Warns
    -----
    ConvergenceWarning
        If codes are not optimal within `max_iter`, or beyond what the float type can hold.

    See Also
    --------
    kkt_residual : A certificate that codes are optimal.

    Notes
    -----
    `lambda1` is `alpha` of :func:`sklearn.decomposition.sparse_encode` with ``"lasso_lars"`` and
    ``"lasso_cd"``. With `lambda2`, a code is the `coef_` of
    :class:`sklearn.linear_model.ElasticNet` without intercept, fitted to ``(dictionary.T, x)`` with
    ``alpha=(lambda1 + lambda2) / n_features`` and ``l1_ratio=lambda1 / (lambda1 + lambda2)``.

    On a CPU, with the compiled core, a code has the same bits on any number of threads. Where it
    is unique it is the same in any batch, from any start and by every solver, to 1e-6 (float32) or
    1e-12 (float64) of its largest entry.

    Rounding the entries of a float32 code moves the correlations by up to ``6e-8 ||a||_1`` (unit
    atoms). Where `lambda1` is below ``6e-4 ||a||_1`` that can exceed a residual of 1e-4; it does
    where atoms are so alike that large entries nearly cancel. Then the codes are the optimal ones,
    rounded, and a warning says so; float64 or a larger `lambda1` is the way out.

    Examples
    --------
    >>> import numpy as np
    >>> from skddl.sparse_coding import sparse_encode
    >>> dictionary = np.eye(3)
    >>> sparse_encode(np.array([[3.0, -0.5, -2.0]]), dictionary, lambda1=1.0)
    array([[ 2.,  0., -1.]])
    """
    problem = ElasticNetProblem(lambda1, lambda2, positive)
    tol, max_iter = _check_bounds(tol, max_iter)
    _check_sparse_output(sparse_output, X)
    starts = {} if init is None else {"init": init}
    (samples, dictionary, *start), dtype = _check_arrays(X=X, dictionary=dictionary, **starts)
    atoms = _as_tensor(dictionary, dtype)
    units = Units.of(problem, atoms)
    problem, atoms = units.problem(problem, dtype), units.atoms(atoms)
    size = samples_at_a_time(*atoms.shape, device=atoms.device)
    gram = None
    if len(samples) > size:  # once, not in each part
        with full_precision(atoms.device):
            gram = useful_gram(atoms, len(samples))
    # Of no samples, too, there is a part.
    parts = [slice(first, first + size) for first in range(0, max(1, len(samples)), size)]
    rows = CsrRows()
    codes = (
        None if sparse_output or len(parts) == 1 else atoms.new_empty((len(samples), len(atoms)))
    )
    for part in parts:
        solution = solve(
            problem,
            units.samples(_as_tensor(samples[part], dtype)),
            atoms,
            solver=solver,
            init=units.codes(_as_tensor(start[0][part], dtype)) if start else None,
            tol=tol,
            max_iter=max_iter,
            gram=gram,
            finite=True,
        )
        coded = units.usual_codes(solution.codes, problem, atoms)
        if sparse_output:
            rows.append(coded.numpy())
        elif codes is not None:
            codes[part] = coded
    if sparse_output:
        return rows.matrix()
    codes = coded if codes is None else codes
    return codes if isinstance(X, Tensor) else codes.numpy()


def kkt_residual(
    X: Array,
    dictionary: Array,
    codes: Array,
    *,
    lambda1: float,
    lambda2: float = 0.0,
    positive: bool = False,
) -> Array:
    """Largest violation of the optimality conditions of each code, in units of lambda1.

    With ``c = (x - a D) D' - lambda2 a``, a code ``a`` solves problem (3) of paper 1 (see
    :ref:`references`) if and only if ``c_j = lambda1 sign(a_j)`` where ``a_j != 0`` and
    ``|c_j| <= lambda1`` elsewhere (``c_j <= lambda1`` if `positive`).

    An entry that is not exactly zero counts as used, however small: a code with an entry of 1e-16
    in place of a zero may have a residual of 2 and still be accurate. A small residual proves that
    a code is; a large one does not prove that it is not.

    Parameters
    ----------
    X : ndarray or Tensor of shape (n_samples, n_features)
        Samples.
    dictionary : ndarray or Tensor of shape (n_components, n_features)
        Atoms.
    codes : ndarray or Tensor of shape (n_samples, n_components)
        Codes to judge.
    lambda1, lambda2, positive
        The problem, as in :func:`sparse_encode`.

    Returns
    -------
    residual : ndarray or Tensor of shape (n_samples,)
        Computed in float64 (a residual of 1e-4 could not be told from rounding in float32);
        infinite where a code is negative although `positive`.

    Raises
    ------
    ValueError, TypeError
        As :func:`sparse_encode`.

    Examples
    --------
    >>> import numpy as np
    >>> from skddl.sparse_coding import kkt_residual
    >>> X, dictionary = np.array([[3.0, -0.5, -2.0]]), np.eye(3)
    >>> kkt_residual(X, dictionary, np.array([[2.0, 0.0, -1.0]]), lambda1=1.0)
    array([0.])
    >>> kkt_residual(X, dictionary, np.array([[2.0, 0.0, -1.5]]), lambda1=1.0)
    array([0.5])
    """
    problem = ElasticNetProblem(lambda1, lambda2, positive)
    arrays, _ = _check_arrays(X=X, dictionary=dictionary, codes=codes)
    samples, atoms, tensor = (_as_tensor(values, torch.float64) for values in arrays)
    units = Units.of(problem, atoms)
    residual = units.problem(problem, torch.float64).kkt_residual(
        units.samples(samples), units.atoms(atoms), units.codes(tensor)
    )
    return residual if isinstance(X, Tensor) else residual.numpy()


def samples_at_a_time(
    n_components: int, n_features: int, *, device: torch.device | None = None
) -> int:
    """How many samples to code at a time, in so many atoms, so that no array becomes large."""
    is_cuda = device is not None and device.type == "cuda"
    # No fewer than those of the dictionary: some work is done for all of its atoms in each part.
    entries = max(_ENTRIES_AT_A_TIME["cuda" if is_cuda else "cpu"], n_components * n_features)
    return max(1, entries // max(n_components, n_features))


def _check_bounds(tol: float | None, max_iter: int | None) -> tuple[float | None, int | None]:
    """Both as plain numbers, which compiled loops can hold."""
    if tol is not None:
        if isinstance(tol, bool) or not isinstance(tol, Real):
            raise TypeError(f"tol must be None or a real number, got {tol!r}.")
        tol = to_float(tol)
        if not 0 < tol < math.inf:
            raise ValueError(f"tol must be None or a finite number > 0, got {tol!r}.")
    if max_iter is not None:
        if isinstance(max_iter, bool) or not isinstance(max_iter, Integral):
            raise TypeError(f"max_iter must be None or an integer, got {max_iter!r}.")
        if max_iter < 1:
            raise ValueError(f"max_iter must be None or at least 1, got {max_iter!r}.")
        max_iter = min(int(max_iter), _MOST_ROUNDS)
    return tol, max_iter


def _check_sparse_output(sparse_output: Any, X: Any) -> None:
    if not isinstance(sparse_output, bool | np.bool_):
        raise TypeError(f"sparse_output must be True or False, got {sparse_output!r}.")
    if sparse_output and isinstance(X, Tensor):
        raise TypeError(
            "sparse_output=True gives a scipy matrix and needs numpy arrays, not tensors: pass "
            "X.numpy(), or call to_sparse_csr() of the codes."
        )


def _check_arrays(**named: Any) -> tuple[list[Any], torch.dtype]:
    """Samples, atoms and codes, if any, and the type in which to compute.

    They are finite, detached and of shapes that fit; arrays are as yet of any type.
    """
    are_tensors = {name: isinstance(value, Tensor) for name, value in named.items()}
    if len(set(are_tensors.values())) > 1:
        tensors = [name for name, is_tensor in are_tensors.items() if is_tensor]
        others = [name for name in named if name not in tensors]
        raise TypeError(
            f"Arrays and torch tensors cannot be mixed: {' and '.join(tensors)} is a tensor, "
            f"{' and '.join(others)} is none."
        )
    check = _check_tensor if are_tensors["X"] else _check_array
    arrays = {name: check(value, name) for name, value in named.items()}
    n_samples, n_features = arrays["X"].shape
    n_components, n_features_of_atoms = arrays["dictionary"].shape
    if not n_components or not n_features_of_atoms:
        raise ValueError(
            f"dictionary is empty: its shape is {(n_components, n_features_of_atoms)}."
        )
    if n_features_of_atoms != n_features:
        raise ValueError(
            f"X has {n_features} features, but the atoms of dictionary have {n_features_of_atoms}."
        )
    for name, value in arrays.items():
        if are_tensors["X"] and value.device != (device := arrays["X"].device):
            raise ValueError(f"{name} is on {value.device}, X on {device}.")
        if name not in ("X", "dictionary") and value.shape != (n_samples, n_components):
            raise ValueError(
                f"{name} must have shape {(n_samples, n_components)}, got {tuple(value.shape)}."
            )
    is_single = all(value.dtype in (torch.float32, np.float32) for value in arrays.values())
    return list(arrays.values()), torch.float32 if is_single else torch.float64


def _check_array(value: Any, name: str) -> NDArray[Any]:
    # scikit-learn takes 100 us to find out that an array is not one of the many other things.
    is_usual = (
        type(value) is np.ndarray
        and value.ndim == 2
        and value.size > 0
        and value.dtype in (np.float32, np.float64)
        and value.flags.carray
        and all_finite(torch.from_numpy(value))
    )
    return value if is_usual else check_numbers(value, name, ensure_min_samples=0)


def _check_tensor(value: Tensor, name: str) -> Tensor:
    refuse_other_layouts(value, name)
    value = value.detach()
    if value.ndim != 2:
        raise ValueError(f"{name} must be 2-D, got a tensor of shape {tuple(value.shape)}.")
    if value.is_complex():
        raise ValueError(f"{name} must be real, got {value.dtype}.")
    value = value if value.dtype == torch.float32 else value.double()
    if not all_finite(value):
        raise ValueError(f"Input {name} contains NaN or infinity.")
    return value


def _as_tensor(values: Any, dtype: torch.dtype) -> Tensor:
    if isinstance(values, Tensor):
        return values.to(dtype)
    # torch takes no arrays whose strides are negative or whose bytes are swapped. It warns about
    # sharing memory that is not writable, although nothing is written here.
    kind = np.float32 if dtype == torch.float32 else np.float64
    return torch.from_numpy(np.require(values, dtype=kind, requirements=("C", "W")))
