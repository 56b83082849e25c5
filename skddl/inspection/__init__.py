"""Pictures of what was learned, by matplotlib, in the way of scikit-learn's displays."""

from ._classifier_weights import ClassifierWeightsDisplay
from ._dictionary import DictionaryDisplay
from ._explanation import ExplanationDisplay
from ._sparsity import SparsityDisplay
from ._training_curve import TrainingCurveDisplay

__all__ = [
    "ClassifierWeightsDisplay",
    "DictionaryDisplay",
    "ExplanationDisplay",
    "SparsityDisplay",
    "TrainingCurveDisplay",
]
