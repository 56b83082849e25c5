"""The smallest models of each kind, whose files a test can spoil in every place."""

import numpy as np
import pytest
from sklearn.base import clone

from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    DeTraMeClassifier,
    OnlineDictionaryLearning,
    SampleNormalizer,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)
from skddl.training import CheckpointFile

_rng = np.random.default_rng(0)
X = _rng.standard_normal((16, 4)).astype(np.float32)
y = np.arange(16) % 2

_CODES = {"max_iter": 3, "batch_size": 8, "random_state": 0}
_START = {**_CODES, "init": "samples"}
_NETWORK = {"max_epochs": 2, "batch_size": 8, "random_state": 0}
MODELS = {
    "task-driven": TaskDrivenDictionaryClassifier(2, features="linear", n_features_out=2, **_START),
    "task-driven, regression": TaskDrivenDictionaryRegressor(2, features="identity", **_START),
    "task-driven, network first": TaskDrivenDictionaryClassifier(
        2, features=ConvNetClassifier((2,), **_NETWORK), **_START
    ),
    "deep": DeepDictionaryClassifier((2, 2), optimizer="nadam", **_START),
    "metrics, stopped early": DeTraMeClassifier(
        (2,), early_stopping=True, validation_fraction=0.3, **_NETWORK
    ),
    "dense": ConvNetClassifier((2,), batch_norm=False, optimizer="rmsprop", **_NETWORK),
    "online": OnlineDictionaryLearning(2, solver="fista", **_CODES),
}
SAVED = {**MODELS, "normalizer": SampleNormalizer()}


class Stopped(BaseException):
    """As sudden as SIGKILL, as far as `fit` can tell."""


def stop_after_a_write(name, path):
    """Leave the checkpoint of a fit that has taken one step; return what would go on from it."""
    model = clone(MODELS[name]).set_params(checkpoint=path)
    save = CheckpointFile.save

    def save_and_stop(self, tensors, content):
        save(self, tensors, content)
        if self.path == path:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointFile, "is_due", lambda *_: True)
        patch.setattr(CheckpointFile, "save", save_and_stop)
        with pytest.raises(Stopped):
            clone(model).fit(X, y)
    return model
