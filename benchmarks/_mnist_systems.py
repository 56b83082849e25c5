"""What table1_mnist.py compares: each system as a function of its seed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from skddl import ConvNetClassifier, TaskDrivenDictionaryClassifier
from skddl._pretraining import recommended_network

IMAGE_SHAPE = (1, 28, 28)
BATCH_SIZE = 100
# Steps of paper 1's task-driven learning.
STEPS = {"1k": 1000, "60k": 40_000}
N_LABELLED = {"1k": 1000, "60k": 60_000}
# Weight of the unlabelled samples: l_u starts near 760 here, l_s near 0.1.
MU = 1e-4


@dataclass(frozen=True)
class System:
    """A row of the table.

    `make` takes the size of the training set ("1k", "60k"), the seed and where the fit may keep a
    checkpoint. `paper` has the accuracies of paper 1. `raw_pixels`: from 0 to 255, less the mean
    image, instead of samples of zero mean and unit norm. `unlabelled`: whether it also gets the
    rest of the training images, with -1 for labels. `has_start`: whether it is also said how far
    the start gets, without labels but for the linear classifier.
    """

    label: str
    make: Callable[[str, int, Any], Any]
    paper: dict[str, float] = field(default_factory=dict)
    sizes: tuple[str, ...] = ("1k", "60k")
    raw_pixels: bool = False
    unlabelled: bool = False
    has_start: bool = False


def papers_tddl(size, seed, checkpoint, *, preset, **beyond):
    """TDDL with every value that section IV of paper 1 names."""
    return TaskDrivenDictionaryClassifier.from_preset(
        preset,
        image_shape=IMAGE_SHAPE,
        max_iter=STEPS[size],
        checkpoint=checkpoint,
        random_state=seed,
        **beyond,
    )


def full_cnn(size, seed, checkpoint, *, equal_steps):
    """Paper 1's CNN: MatConvNet's example, of 20 epochs, or of as many steps as TDDL takes."""
    epochs = STEPS[size] * BATCH_SIZE / N_LABELLED[size] if equal_steps else 20
    return ConvNetClassifier(
        architecture="lenet",
        image_shape=IMAGE_SHAPE,
        standardize=False,
        max_epochs=round(epochs),
        batch_size=BATCH_SIZE,
        learning_rate=0.001,
        momentum=0.9,
        weight_decay=5e-4,
        lr_schedule="constant",
        checkpoint=checkpoint,
        random_state=seed,
    )


def recommended(size, seed, checkpoint):
    """What the documentation recommends for images."""
    return TaskDrivenDictionaryClassifier.from_preset(
        "recommended", image_shape=IMAGE_SHAPE, checkpoint=checkpoint, random_state=seed
    )


class SelfTraining:
    """The recommended classifier labels what it is sure of, and another learns from that.

    Both see shifted images while their networks are trained, and have no joint steps.
    """

    threshold = 0.9
    epochs_of_teacher, epochs_of_student = 100, 5

    def __init__(self, seed):
        self.seed = seed

    def fit(self, X, y):
        """The student. -1 marks samples without a label."""
        teacher = self.make(self.epochs_of_teacher).fit(X[y != -1], y[y != -1])
        probabilities = teacher.predict_proba(X)
        sure = probabilities.max(axis=1) > self.threshold
        guessed = np.where(sure, teacher.classes_[probabilities.argmax(axis=1)], -1)
        y = np.where(y == -1, guessed, y)
        return self.make(self.epochs_of_student).fit(X[y != -1], y[y != -1])

    def make(self, n_epochs):
        """The recommended classifier over a network that sees shifted images."""
        network = its_network("1k", self.seed, None)
        return recommended("1k", self.seed, None).set_params(
            features=network.set_params(augment="shift", max_epochs=n_epochs), max_iter=1
        )


def its_network(size, seed, checkpoint):
    """The network whose features the recommended classifier starts from."""
    return recommended_network(N_LABELLED[size]).set_params(
        image_shape=IMAGE_SHAPE, checkpoint=checkpoint, random_state=seed
    )


def dictlearn(name, **parameters):
    """A classifier of the package dictlearn."""

    def make(size, seed, checkpoint):
        from dictlearn import classification

        return getattr(classification, name)(random_state=seed, **parameters)

    return make


def perceptron(size, seed, checkpoint):
    """Two hidden layers; of few samples for longer."""
    epochs = 300 if size == "1k" else 30
    return MLPClassifier((512, 512), alpha=1e-3, max_iter=epochs, random_state=seed)


def sklearn_dictionary(size, seed, checkpoint):
    """A dictionary without labels, and a linear classifier on its codes."""
    dictionary = MiniBatchDictionaryLearning(
        400, alpha=0.1, transform_algorithm="lasso_lars", transform_alpha=0.1, random_state=seed
    )
    return make_pipeline(dictionary, LogisticRegression(C=10, max_iter=1000))


SYSTEMS = {
    "full-cnn": System(
        "full-CNN, 20 epochs",
        partial(full_cnn, equal_steps=False),
        paper={"1k": 0.917, "60k": 0.990},
        raw_pixels=True,
    ),
    "full-cnn-equal": System(
        "full-CNN, as many steps as TDDL", partial(full_cnn, equal_steps=True), raw_pixels=True
    ),
    "lin": System(
        "TDDL-LIN",
        partial(papers_tddl, preset="paper-lin"),
        paper={"1k": 0.898, "60k": 0.971},
        has_start=True,
    ),
    "cnn": System(
        "TDDL-CNN",
        partial(papers_tddl, preset="paper-cnn"),
        paper={"1k": 0.928, "60k": 0.984},
        has_start=True,
    ),
    "cnn-nu2": System(
        "TDDL-CNN, nu2 = 0.001", partial(papers_tddl, preset="paper-cnn", nu2=1e-3), sizes=("60k",)
    ),
    "cnn-unlabelled": System(
        f"TDDL-CNN and 59K unlabelled, mu = {MU}",
        partial(papers_tddl, preset="paper-cnn", unlabeled_weight=MU),
        paper={"1k": 0.935},
        sizes=("1k",),
        unlabelled=True,
    ),
    "recommended": System("skddl, recommended", recommended),
    "its-network": System("the network under it, alone", its_network),
    "self-training": System(
        "skddl, self-training with 59K unlabelled, shifted images",
        lambda size, seed, _: SelfTraining(seed),
        sizes=("1k",),
        unlabelled=True,
    ),
    "svm": System("scikit-learn: RBF SVM", lambda size, seed, _: SVC(C=3)),
    "mlp": System("scikit-learn: MLP", perceptron),
    "sklearn-dictionary": System(
        "scikit-learn: dictionary learning, logistic regression", sklearn_dictionary, sizes=("1k",)
    ),
    "src": System("dictlearn: SRC", dictlearn("SRCClassifier", n_nonzero_coefs=10), sizes=("1k",)),
    "dpl": System(
        "dictlearn: DPL", dictlearn("DPLClassifier", n_components=30, max_iter=30), sizes=("1k",)
    ),
    "lcdl": System(
        "dictlearn: LCDL",
        dictlearn("LCDLClassifier", n_components=40, init_method="trained", n_nonzero_coefs=5),
        sizes=("1k",),
    ),
    "ddl": System(
        "dictlearn: DDL",
        dictlearn("DDLClassifier", n_components=400, init_method="trained", n_nonzero_coefs=5),
        sizes=("1k",),
    ),
}
