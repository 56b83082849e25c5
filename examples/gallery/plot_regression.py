"""
Regression on codes: the hidden half of a digit
===============================================

You learn to predict many numbers at once from sparse codes, with a
``TaskDrivenDictionaryRegressor``, and to judge it beside ridge regression, by R^2 and by eye.
"""

# %%
# The task: the lower half of a digit from its upper half, 32 numbers from 32.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor

from skddl import TaskDrivenDictionaryRegressor
from skddl.inspection import TrainingCurveDisplay

digits, _ = load_digits(return_X_y=True)
upper, lower = digits[:, :32], digits[:, 32:]
X_train, X_test, y_train, y_test = train_test_split(upper, lower, test_size=1 / 3, random_state=0)

# %%
# Fit --- Targets are standardised inside, one by one, and predictions are in their units. The
# *start* is a dictionary learned without the targets, under the best linear map to them: what is
# gained beyond it is what learning together gains.

models = {
    "ridge regression": RidgeCV(np.logspace(-1, 4, 11)),
    "nearest neighbours": KNeighborsRegressor(5),
    "task-driven, its start": TaskDrivenDictionaryRegressor(
        max_iter=1, learning_rate=1e-12, random_state=0
    ),
    "task-driven": TaskDrivenDictionaryRegressor(random_state=0),
}
from time import perf_counter

rows = []
for name, model in models.items():
    start = perf_counter()
    model.fit(X_train, y_train)
    rows.append(
        {
            "model": name,
            "R^2, training": model.score(X_train, y_train),
            "R^2, test": model.score(X_test, y_test),
            "fit, s": perf_counter() - start,
        }
    )
pd.DataFrame(rows).set_index("model").round(3)

# %%
# By eye
# ------
# Six digits that no model has seen. The line is where prediction begins.

shown = slice(0, 6)
fig, axes = plt.subplots(3, 6, figsize=(7, 4), layout="constrained")
images = {
    "true": y_test[shown],
    "ridge": models["ridge regression"].predict(X_test[shown]),
    "task-driven": models["task-driven"].predict(X_test[shown]),
}
for row, (name, halves) in zip(axes, images.items(), strict=True):
    row[0].set_ylabel(name)
    for ax, top, bottom in zip(row, X_test[shown], halves, strict=True):
        ax.imshow(np.concatenate([top, bottom]).reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.axhline(3.5, color="C3", linewidth=1)
        ax.set(xticks=[], yticks=[])

# %%
# How training went: the loss is that of standardised targets.

curve = TrainingCurveDisplay.from_estimator(models["task-driven"])

# %%
# A table with much noise
# -----------------------
# Diabetes: one number from ten columns, 442 patients. Who takes all steps there learns the noise.
# By default a fit looks first how many of them pay, on samples that it holds out.

from sklearn.datasets import load_diabetes
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_diabetes(return_X_y=True)
for name, model in {
    "ridge regression": RidgeCV(np.logspace(-1, 4, 11)),
    "task-driven": TaskDrivenDictionaryRegressor(random_state=0),
    "task-driven, all 500 steps": TaskDrivenDictionaryRegressor(max_iter=500, random_state=0),
}.items():
    scores = cross_val_score(make_pipeline(StandardScaler(), model), X, y, cv=3)
    print(f"{name:28} R^2 {scores.mean():.3f}")

# %%
# When not to use it
# ------------------
# Where ridge regression does: on diabetes it is better, and faster. A dictionary pays where targets
# are no linear functions of the samples, and where many numbers are predicted at once from a
# signal; also there compare with nearest neighbours.
