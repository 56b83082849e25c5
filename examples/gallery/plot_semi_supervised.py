"""
Few labels, many samples
========================

You learn to use samples without labels, marked by ``y = -1``: by the coding objective of the
classifier itself (``unlabeled_weight``), and by scikit-learn's self-training around it; and how
both compare with label spreading.
"""

# %%
# Ten labels for each digit
# -------------------------
# The rest of the training samples keep no label: -1, scikit-learn's mark.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier

X, y = load_digits(return_X_y=True)
X = SampleNormalizer().fit_transform(X)


def split(seed):
    """Training samples, of which 100 have a label, and test samples."""
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=400, stratify=y, random_state=seed
    )
    labelled, _ = train_test_split(
        np.arange(len(y_train)), train_size=100, stratify=y_train, random_state=seed
    )
    known = np.full_like(y_train, -1)
    known[labelled] = y_train[labelled]
    return X_train, known, X_test, y_test


X_train, known, X_test, y_test = split(0)
print(f"{(known != -1).sum()} samples with a label, {(known == -1).sum()} without")

# %%
# Four ways
# ---------
# The classifier on the labelled samples alone; with the coding objective of the others, which
# keeps the dictionary close to one that represents all samples; a teacher that labels what it is
# sure of for a student (``SelfTrainingClassifier``); and label spreading among neighbours, without
# any dictionary. Three splits.


def task_driven(unlabeled_weight=0.0):
    """A small dictionary, quick to learn."""
    return TaskDrivenDictionaryClassifier(
        100, unlabeled_weight=unlabeled_weight, max_iter=200, random_state=0
    )


def fit(name, X, y):
    """A fitted model of this name."""
    labelled = y != -1
    match name:
        case "labelled samples alone":
            return task_driven().fit(X[labelled], y[labelled])
        case "coding objective":
            return task_driven(unlabeled_weight=0.1).fit(X, y)
        case "self-training":
            return SelfTrainingClassifier(task_driven(), threshold=0.9, max_iter=2).fit(X, y)
        case _:
            return LabelSpreading(kernel="rbf", gamma=20).fit(X, y)


names = ["labelled samples alone", "coding objective", "self-training", "label spreading"]
scores = pd.DataFrame(
    [
        {name: fit(name, X_train, known).score(X_test, y_test) for name in names}
        for X_train, known, X_test, y_test in map(split, range(3))
    ]
).rename_axis("split")
scores.round(3)

# %%
# Differences from the first, in points, and their standard error.

differences = 100 * scores[names[1:]].sub(scores[names[0]], axis=0)
differences.agg(["mean", "sem"]).round(2)

# %%

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for _, row in scores.iterrows():
    ax.plot(row.to_numpy(), range(len(names)), "o", color="0.6")
ax.plot(scores.mean(), range(len(names)), "D", color="C0", label="mean of three splits")
ax.set_yticks(range(len(names)), names)
ax.invert_yaxis()
ax.set(xlabel="accuracy on 400 test samples")
_ = ax.legend(frameon=False)

# %%
# When not to use it
# ------------------
# Where neighbours have the same class, as here, label spreading is as good, with nothing to train:
# try it first, if all samples fit into memory at once and their distances mean something. The
# coding objective gains little, since it knows nothing about classes. Self-training gains where
# the classifier knows when it is sure, and harms where it is wrong with confidence: look at
# labelled samples held out before you trust it.
