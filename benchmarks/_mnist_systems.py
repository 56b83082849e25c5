"""What table1_mnist.py compares: each system as a function of its seed."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from skddl import ConvNetClassifier, TaskDrivenDictionaryClassifier
from skddl._pretraining import recommended_network

IMAGE_SHAPE = (1, 28, 28)
BATCH_SIZE = 100
# Steps of paper 1's task-driven learning.
STEPS = {"1k": 1000, "60k": 40_000}
N_LABELLED = {"1k": 1000, "60k": 60_000}


@dataclass(frozen=True)
class System:
    """A row of the table.

    Attributes
    ----------
    label : str
    make : partial
        Takes the size of the training set ("1k", "60k"), the seed, where the fit may keep a
        checkpoint, and other values of `choices` than those that were chosen.
    paper : dict
        Accuracies of paper 1, by size.
    sizes : tuple
    raw_pixels : bool
        From 0 to 255, less the mean image, instead of samples of zero mean and unit norm.
    unlabelled : bool
        Whether it also gets the rest of the training images, with -1 for labels.
    in_random_order : bool
        Whether the order of the samples, which come class by class, would matter to it.
    has_start : bool
        Whether it is also said how far the start gets, before the second step of training.
    choices : dict
        Parameters of `make` with the values among which choose_mnist.py chose, one after the other.
    """

    label: str
    make: partial[Any]
    paper: dict[str, float] = field(default_factory=dict)
    sizes: tuple[str, ...] = ("1k", "60k")
    raw_pixels: bool = False
    unlabelled: bool = False
    in_random_order: bool = False
    has_start: bool = False
    choices: dict[str, tuple[Any, ...]] = field(default_factory=dict)


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


def recommended(size, seed, checkpoint, **changes):
    """What the documentation recommends for images, and for thousands of them per class."""
    sizes: dict[str, dict[str, Any]] = {
        "1k": {"n_components": 400},
        "60k": {"n_components": 1600, "nu1": 1e-3},
    }
    return TaskDrivenDictionaryClassifier.from_preset(
        "recommended",
        image_shape=IMAGE_SHAPE,
        checkpoint=checkpoint,
        random_state=seed,
        **(sizes[size] | changes),
    )


def its_network(size, seed, checkpoint):
    """The very network whose features the recommended classifier of this seed starts from."""
    return recommended_network(N_LABELLED[size]).set_params(
        image_shape=IMAGE_SHAPE,
        checkpoint=checkpoint,
        random_state=np.random.RandomState(seed).randint(2**31),
    )


class SelfTraining:
    """The recommended classifier labels what it is sure of, and another learns from that.

    Both see shifted images while their networks are trained.
    """

    def __init__(self, size, seed, checkpoint, *, threshold, epochs):
        self.size = size
        self.seed = seed
        self.threshold = threshold
        self.epochs = epochs

    def fit(self, X, y):
        """The student. -1 marks samples without a label."""
        teacher = self.make(epochs=100).fit(X[y != -1], y[y != -1])
        probabilities = teacher.predict_proba(X)
        sure = probabilities.max(axis=1) > self.threshold
        guessed = np.where(sure, teacher.classes_[probabilities.argmax(axis=1)], -1)
        y = np.where(y == -1, guessed, y)
        return self.make(epochs=self.epochs).fit(X[y != -1], y[y != -1])

    def make(self, epochs):
        """The recommended classifier over a network that sees shifted images."""
        network = its_network(self.size, self.seed, None)
        network.set_params(augment="shift", max_epochs=epochs)
        return recommended(self.size, self.seed, None, features=network, nu1=1e-3)


def support_vectors(size, seed, checkpoint, *, C):
    """With scikit-learn's own gamma."""
    return SVC(C=C)


def perceptron(size, seed, checkpoint, *, scale, alpha):
    """Two hidden layers; of few samples for longer. `scale` is that of the images."""
    epochs = 300 if size == "1k" else 30
    return make_pipeline(
        FunctionTransformer(partial(np.multiply, scale)),
        MLPClassifier((512, 512), alpha=alpha, max_iter=epochs, random_state=seed),
    )


def sklearn_dictionary(size, seed, checkpoint, *, alpha, C):
    """A dictionary without labels, and a linear classifier on its codes."""
    dictionary = MiniBatchDictionaryLearning(
        400, alpha=alpha, transform_algorithm="lasso_lars", transform_alpha=alpha, random_state=seed
    )
    return make_pipeline(dictionary, LogisticRegression(C=C, max_iter=1000))


def dictlearn(size, seed, checkpoint, *, name, **parameters):
    """A classifier of the package dictlearn."""
    from dictlearn import classification

    return getattr(classification, name)(random_state=seed, **parameters)


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
        "TDDL-CNN and 59K unlabelled",
        partial(papers_tddl, preset="paper-cnn", unlabeled_weight=1e-2),
        paper={"1k": 0.935},
        sizes=("1k",),
        unlabelled=True,
        choices={"unlabeled_weight": (1e-3, 1e-2, 1e-1)},
    ),
    "recommended": System("skddl, recommended", partial(recommended)),
    "its-network": System("the network under it, alone", partial(its_network)),
    "self-training": System(
        "skddl, self-training with 59K unlabelled, shifted images",
        partial(SelfTraining, threshold=0.9, epochs=5),
        sizes=("1k",),
        unlabelled=True,
        choices={"epochs": (3, 5), "threshold": (0.7, 0.9)},
    ),
    "svm": System(
        "scikit-learn: RBF SVM", partial(support_vectors, C=3), choices={"C": (1, 3, 10)}
    ),
    "mlp": System(
        "scikit-learn: MLP",
        partial(perceptron, scale=28, alpha=1e-3),
        choices={"scale": (1, 28, 280), "alpha": (1e-4, 1e-3, 1e-2)},
    ),
    "sklearn-dictionary": System(
        "scikit-learn: dictionary learning, logistic regression",
        partial(sklearn_dictionary, alpha=0.2, C=100),
        sizes=("1k",),
        choices={"alpha": (0.05, 0.1, 0.2, 0.4), "C": (1, 10, 100, 1000)},
    ),
    "src": System(
        "dictlearn: SRC (sparse representation)",
        partial(dictlearn, name="SRCClassifier", n_nonzero_coefs=5),
        sizes=("1k",),
        in_random_order=True,
        choices={"n_nonzero_coefs": (3, 5, 10, 20)},
    ),
    "dpl": System(
        "dictlearn: DPL (dictionary pairs)",
        partial(dictlearn, name="DPLClassifier", n_components=20, max_iter=30),
        sizes=("1k",),
        in_random_order=True,
        choices={"n_components": (10, 20, 30, 50)},
    ),
    "lcdl": System(
        "dictlearn: LCDL (label consistent K-SVD)",
        partial(
            dictlearn,
            name="LCDLClassifier",
            init_method="trained",
            n_components=80,
            n_nonzero_coefs=1,
        ),
        sizes=("1k",),
        in_random_order=True,
        choices={"n_nonzero_coefs": (1, 2, 5), "n_components": (20, 40, 80)},
    ),
    "ddl": System(
        "dictlearn: DDL (discriminative K-SVD)",
        partial(
            dictlearn,
            name="DDLClassifier",
            init_method="trained",
            n_components=800,
            n_nonzero_coefs=1,
        ),
        sizes=("1k",),
        in_random_order=True,
        choices={"n_nonzero_coefs": (1, 2, 5), "n_components": (200, 400, 800)},
    ),
}
