"""
First steps: digits
===================

You learn to fit a task-driven dictionary, to watch it learn, and to look at it. It is compared with
logistic regression on pixels, and with logistic regression on the codes of a dictionary that was
learned without the labels.
"""

# %%
# Digits of 8x8 pixels, brought to zero mean and unit norm, sample by sample, as in paper 1.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline

from skddl import OnlineDictionaryLearning, SampleNormalizer, TaskDrivenDictionaryClassifier
from skddl.inspection import DictionaryDisplay, ExplanationDisplay, TrainingCurveDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=1 / 3, stratify=y, random_state=0
)

# %%
# Fit and score
# -------------
# A classifier of skddl is a classifier of scikit-learn. Here are 20 atoms, two for each digit; the
# default is up to 40 for each.

model = make_pipeline(SampleNormalizer(), TaskDrivenDictionaryClassifier(20, random_state=0))
model.fit(X_train, y_train)
print(f"accuracy {model.score(X_test, y_test):.3f}")

# %%
# Watch it learn
# --------------
# Training starts from a dictionary that is learned from each class apart, without a thought of the
# others, and the best linear classifier for its codes. Then dictionary and classifier learn
# together. ``early_stopping=True`` holds samples out, and says after each pass how many of them are
# predicted well; here it does not stop, since it is told to be patient.

watched = TaskDrivenDictionaryClassifier(
    20, early_stopping=True, validation_fraction=0.3, n_iter_no_change=1000, random_state=0
)
watched.fit(SampleNormalizer().fit_transform(X_train), y_train)
curve = TrainingCurveDisplay.from_estimator(watched)

start, *_, end = (100 * (1 - entry["validation_score"]) for entry in watched.history_)
print(f"held-out error: {start:.1f} % at the start, {end:.1f} % at the end")

# %%
# Codes
# -----
# The classifier decides on codes: few of the atoms, each with its coefficient, that add up to the
# sample's features.

codes = model.transform(X_test)
print(f"{codes.shape[1]} atoms, {(codes != 0).sum(axis=1).mean():.1f} of them in the mean code")
print(codes[0].round(2))

# %%
# Beside what one would do otherwise
# ----------------------------------
# A linear classifier on pixels, the same on codes of a dictionary learned without the labels, and
# the task-driven one. Accuracy by two-fold cross-validation.


def on_codes(n_atoms):
    """Logistic regression on the codes of an unsupervised dictionary."""
    return make_pipeline(
        SampleNormalizer(),
        OnlineDictionaryLearning(n_atoms, random_state=0),
        LogisticRegression(C=10, max_iter=1000),
    )


def task_driven(n_atoms):
    """Everything together."""
    return make_pipeline(
        SampleNormalizer(), TaskDrivenDictionaryClassifier(n_atoms, random_state=0)
    )


folds = StratifiedKFold(2, shuffle=True, random_state=0)
accuracies = pd.DataFrame(
    {
        n_atoms: {
            "pixels": make_pipeline(SampleNormalizer(), LogisticRegression(C=10, max_iter=1000)),
            "dictionary without labels": on_codes(n_atoms),
            "task-driven": task_driven(n_atoms),
        }
        for n_atoms in (10, 20, 100)
    }
).map(lambda each: cross_val_score(each, X, y, cv=folds).mean())
accuracies.columns.name = "atoms"
accuracies.round(3)

# %%
# Atoms
# -----
# Blue and red are the two signs. Above the dictionary that knows no labels, below the one that was
# learned for the classes.

fig, axes = plt.subplots(2, 1, figsize=(7, 3.6), layout="constrained")
unsupervised = on_codes(20).fit(X_train, y_train)[:-1]
for ax, estimator, title in zip(
    axes, (unsupervised, model), ("without labels", "task-driven"), strict=True
):
    DictionaryDisplay.from_estimator(estimator, image_shape=(8, 8), n_cols=10, ax=ax)
    ax.set_title(title)

# %%
# Why one sample is predicted as it is: the atoms of its code, and what each adds to the score of
# the class that is predicted, less that of the next one.

explanation = ExplanationDisplay.from_estimator(model, X_test[0], image_shape=(8, 8))

# %%
# When not to use it
# ------------------
# Learning together gains most where the dictionary is small. With ten atoms or more for each class
# there is little left to gain on data as easy as these, and an RBF support vector machine is as
# good (``make demo`` has its row). Take a dictionary if you want to look at atoms and codes, or
# have signals that are sparse in one.
