"""The training loop and its parts; knows torch modules, and nothing about scikit-learn."""

from ._augment import AUGMENTATIONS
from ._batches import BatchSampler
from ._checkpoint import Checkpoint, identify
from ._early_stopping import EarlyStopping
from ._loop import DivergenceError, project_, train
from ._optimizers import OPTIMIZERS, make_optimizer
from ._schedules import SCHEDULES, RateFactor, inverse_time, over_training
from ._state import TrainingState

__all__ = [
    "AUGMENTATIONS",
    "OPTIMIZERS",
    "SCHEDULES",
    "BatchSampler",
    "Checkpoint",
    "DivergenceError",
    "EarlyStopping",
    "RateFactor",
    "TrainingState",
    "identify",
    "inverse_time",
    "make_optimizer",
    "over_training",
    "project_",
    "train",
]
