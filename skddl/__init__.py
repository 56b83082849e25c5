"""Supervised dictionary learning with a scikit-learn interface."""

from ._loading import load
from ._versions import show_versions
from .convnet import ConvNetClassifier
from .deep_dictionary import DeepDictionaryClassifier
from .detrame import DeTraMeClassifier
from .dictionary import OnlineDictionaryLearning
from .preprocessing import SampleNormalizer
from .task_driven import TaskDrivenDictionaryClassifier, TaskDrivenDictionaryRegressor

__version__ = "0.1.0"

__all__ = [
    "ConvNetClassifier",
    "DeTraMeClassifier",
    "DeepDictionaryClassifier",
    "OnlineDictionaryLearning",
    "SampleNormalizer",
    "TaskDrivenDictionaryClassifier",
    "TaskDrivenDictionaryRegressor",
    "__version__",
    "load",
    "show_versions",
]
