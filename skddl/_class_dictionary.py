"""The initialisation of a dictionary, class by class."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state, check_X_y
from sklearn.utils._param_validation import validate_params

from ._arrays import as_array, as_numbers, check_labels
from ._dictionary_updates import as_float
from ._first_atoms import auto_lambda1, draw_atoms
from ._interrupts import interrupts
from ._online_dictionary import OnlineDictionaryLearning

# Atoms per class of paper 1, section IV.
_ATOMS_PER_CLASS = 40
# With fewer samples per atom, atoms become samples by heart: what is learned from their codes holds
# for no others. The first atoms need more of them.
_SAMPLES_PER_ATOM, _FIRST_ATOMS, _FIRST_SAMPLES = 5, 2, 20


@validate_params(
    {
        name: OnlineDictionaryLearning._parameter_constraints[name]
        for name in (
            "n_components",
            "lambda1",
            "lambda2",
            "positive",
            "positive_dict",
            "solver",
            "random_state",
        )
    },
    prefer_skip_nested_validation=True,
)
def class_dictionary(
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_components: int | None = None,
    lambda1: float | str = "auto",
    lambda2: float = 0.0,
    positive: bool = False,
    positive_dict: bool = False,
    solver: str = "auto",
    random_state: int | np.random.RandomState | None = None,
) -> tuple[NDArray[Any], int]:
    """Dictionary of one block of atoms per class, each learned from that class alone.

    The initialisation of paper 1, section IV: from each class, 40 samples start an
    :class:`OnlineDictionaryLearning` on the samples of that class; the blocks are stacked.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples (in paper 1: features, with their initial parameters).
    y : array-like of shape (n_samples,)
        Class of each sample.
    n_components : int, default=None
        Number of atoms, shared out evenly among the classes. None: two per class (one, of less
        than ten samples) and one more for every five samples of a class beyond twenty, but at most
        40 of each. If there are fewer atoms than classes, classes are not told apart.
    lambda1, lambda2, positive, positive_dict, solver
        As in :class:`OnlineDictionaryLearning`; "auto" is resolved on all of `X`.
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    dictionary : ndarray of shape (n_components, n_features)
        Blocks in the order of the sorted classes.
    n_redrawn : int
        How many times an atom that coded no sample was re-drawn.

    Raises
    ------
    ValueError
        If a parameter is not valid, the samples are not as :class:`OnlineDictionaryLearning` takes
        them, or `y` is masked, not finite, of another length or no classes.
    TypeError
        If an array is sparse, the samples are dates, durations or other objects that are no
        numbers, or the labels cannot be sorted.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skddl.dictionary import class_dictionary
    >>> X, y = load_digits(return_X_y=True)
    >>> dictionary, n_redrawn = class_dictionary(X, y, n_components=50, random_state=0)
    >>> dictionary.shape
    (50, 64)
    """
    with interrupts.guarded(), interrupts.allowed():
        return _class_dictionary(
            X,
            y,
            n_components,
            lambda1,
            random_state,
            lambda2=lambda2,
            positive=positive,
            positive_dict=positive_dict,
            solver=solver,
        )


def _class_dictionary(
    X: Any,
    y: Any,
    n_components: int | None,
    lambda1: float | str,
    random_state: int | np.random.RandomState | None,
    **parameters: Any,
) -> tuple[NDArray[Any], int]:
    samples, labels = check_X_y(as_array(X), as_array(y, "y"), order="C")
    samples = as_float(as_numbers(samples))
    check_labels(labels)
    rng = check_random_state(random_state)
    lambda1 = auto_lambda1(samples) if lambda1 == "auto" else lambda1
    classes = np.unique(labels)
    sizes = atoms_per_class(labels)
    if n_components is not None:
        sizes = np.full(len(classes), n_components // len(classes))
        sizes[: n_components % len(classes)] += 1
    blocks = [labels == label for label in classes]
    if 0 in sizes:
        sizes, blocks = np.array([n_components]), [np.ones(len(samples), dtype=bool)]
    atoms, n_redrawn = [], 0
    for size, block in zip(sizes, blocks, strict=True):
        if size == block.sum() == 1:  # learning would only find the sample's direction again
            atom = draw_atoms(samples[block], 1, rng, positive=parameters["positive_dict"])
            atoms.append(atom)
            continue
        odl = OnlineDictionaryLearning(int(size), lambda1=lambda1, max_iter=100, **parameters)
        atoms.append(odl._fit_inside(samples[block], rng).components_)
        n_redrawn += odl.n_redrawn_
    return np.concatenate(atoms), n_redrawn


def atoms_per_class(y: ArrayLike) -> NDArray[np.intp]:
    """How many atoms each of the sorted classes gets unless the user says otherwise."""
    counts = np.unique(np.asarray(y), return_counts=True)[1]
    first = np.clip(counts // _SAMPLES_PER_ATOM, 1, _FIRST_ATOMS)
    more = np.maximum(counts - _FIRST_SAMPLES, 0) // _SAMPLES_PER_ATOM
    return np.minimum(first + more, _ATOMS_PER_CLASS)
