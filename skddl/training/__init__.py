"""The training loop and its parts; knows torch modules, and nothing about scikit-learn."""

from ._archive import ArchiveError, damaged, read_archive, write_archive
from ._augment import AUGMENTATIONS, augment_rows, require_images, shift_by_one
from ._batches import BatchSampler
from ._checkpoint import Checkpoint, CheckpointFile
from ._early_stopping import EarlyStopping
from ._identity import identify
from ._loop import DivergenceError, ended_by_interrupt, project_, train
from ._optimizers import OPTIMIZERS, Group, make_optimizer
from ._processes import Processes, own_gpu
from ._schedules import SCHEDULES, RateFactor, inverse_time, over_training
from ._state import TrainingState, pack_state, unpack_state, with_prefix
from ._work import multiply_adds

__all__ = [
    "AUGMENTATIONS",
    "OPTIMIZERS",
    "SCHEDULES",
    "ArchiveError",
    "BatchSampler",
    "Checkpoint",
    "CheckpointFile",
    "DivergenceError",
    "EarlyStopping",
    "Group",
    "Processes",
    "RateFactor",
    "TrainingState",
    "augment_rows",
    "damaged",
    "ended_by_interrupt",
    "identify",
    "inverse_time",
    "make_optimizer",
    "multiply_adds",
    "over_training",
    "own_gpu",
    "pack_state",
    "project_",
    "read_archive",
    "require_images",
    "shift_by_one",
    "train",
    "unpack_state",
    "with_prefix",
    "write_archive",
]
