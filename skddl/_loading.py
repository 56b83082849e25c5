"""`skddl.load`."""

import os
from typing import Any

from ._online_dictionary import OnlineDictionaryLearning
from ._saving import load_model
from .convnet import ConvNetClassifier
from .deep_dictionary import DeepDictionaryClassifier
from .detrame import DeTraMeClassifier
from .preprocessing import SampleNormalizer
from .task_driven import TaskDrivenDictionaryClassifier, TaskDrivenDictionaryRegressor

# That may be saved.
CLASSES = {
    estimator.__name__: estimator
    for estimator in (
        ConvNetClassifier,
        DeTraMeClassifier,
        DeepDictionaryClassifier,
        OnlineDictionaryLearning,
        SampleNormalizer,
        TaskDrivenDictionaryClassifier,
        TaskDrivenDictionaryRegressor,
    )
}


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that its method `save` has written.

    Nothing in the file is executed. What is in it is checked: its parameters as those that a user
    passes, its weights against the network that the parameters describe, and all of it by a
    checksum, which finds damage but does not say who wrote the file.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    estimator : object
        Fitted, on the CPU, of the class that was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, damaged, foreign, or of a newer format.

    Examples
    --------
    >>> import tempfile, skddl
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data
    >>> odl = skddl.OnlineDictionaryLearning(10, max_iter=5, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     odl.save(f"{folder}/dictionary.skddl")
    ...     skddl.load(f"{folder}/dictionary.skddl").components_.shape
    (10, 64)
    """
    return load_model(path, CLASSES)
