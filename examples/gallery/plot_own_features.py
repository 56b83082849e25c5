"""
Features of your own: time series
=================================

You learn to put a torch network of your own under the dictionary, by a callable that gets the
shape of a sample, and to search over its settings with ``GridSearchCV``.
"""

# %%
# Time series
# -----------
# 128 values of noise in which two short waves are hidden, at places drawn at random. The class is
# which wave comes first: no single value tells, and neither does the sum of what is there.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.svm import SVC
from torch import nn

from skddl import ConvNetClassifier, TaskDrivenDictionaryClassifier

rng = np.random.default_rng(0)
steps = np.arange(16)
waves = np.hanning(16) * [np.sin(2 * np.pi * steps / 8), np.sin(2 * np.pi * steps / 4)]
n_samples = 600
y = rng.integers(0, 2, n_samples)
X = 0.4 * rng.standard_normal((n_samples, 128))
for row, label in zip(X, y, strict=True):
    first, second = rng.integers(0, 48), rng.integers(64, 112)
    row[first : first + 16] += waves[label]
    row[second : second + 16] += waves[1 - label]
X = X.astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=200, random_state=0)

fig, axes = plt.subplots(2, 1, figsize=(7, 3), layout="constrained", sharex=True)
for label, ax in enumerate(axes):
    ax.plot(X_train[y_train == label][0], linewidth=1)
    ax.set(ylabel=f"class {label}")
_ = axes[1].set(xlabel="time")

# %%
# A network
# ---------
# The callable takes the shape of a sample, here (128,), and returns a module from batches of rows
# to batches of features. As a class with parameters of its own, which are compared and printed, it
# can be searched over and pickled; a lambda cannot be pickled.

from dataclasses import dataclass


@dataclass(frozen=True)
class Convolution:
    """One 1-D convolution, rectified, and the largest response in each of eight windows."""

    n_filters: int
    kernel_size: int

    def __call__(self, input_shape):
        """The network for samples of this shape."""
        return nn.Sequential(
            nn.Unflatten(1, (1, input_shape[0])),
            nn.Conv1d(1, self.n_filters, self.kernel_size, padding=self.kernel_size // 2),
            nn.ReLU(),
            nn.AdaptiveMaxPool1d(8),
            nn.Flatten(),
        )


classifier = TaskDrivenDictionaryClassifier(
    30, features=Convolution(8, 9), max_iter=100, random_state=0
)
print(f"accuracy {classifier.fit(X_train, y_train).score(X_test, y_test):.3f}")

# %%
# Beside the same network under a linear layer without a dictionary (25 passes are 100
# mini-batches, too), and beside models that see values at places:

others = {
    f"the network alone, {n_epochs} passes": ConvNetClassifier(
        architecture=Convolution(8, 9),
        optimizer="adam",
        learning_rate=5e-3,
        batch_size=100,
        max_epochs=n_epochs,
        random_state=0,
    )
    for n_epochs in (25, 100)
} | {
    "logistic regression": LogisticRegression(),
    "RBF SVM": SVC(),
}
for name, other in others.items():
    print(f"{name}: {other.fit(X_train, y_train).score(X_test, y_test):.3f}")

# %%
# Search
# ------
# Over filters, and over the dictionary on their responses, all at once.

search = GridSearchCV(
    classifier,
    {
        "features": [Convolution(n, size) for n in (4, 8) for size in (5, 15)],
        "n_components": [10, 30],
    },
    cv=2,
)
search.fit(X_train, y_train)
results = pd.DataFrame(search.cv_results_)
results.columns = results.columns.str.replace("param_", "")
results[["features", "n_components", "mean_test_score"]].sort_values(
    "mean_test_score", ascending=False
).round(3)

# %%
# On the test samples the best of the search need not beat the first guess: it was chosen on folds
# of 200 samples.

best = search.best_estimator_
print(f"accuracy {best.score(X_test, y_test):.3f}")

# %%
# What was learned
# ----------------
# The filters, which began as noise.

filters = best.module_.features[1].weight.detach().numpy()[:, 0]
fig, axes = plt.subplots(1, len(filters), figsize=(8, 1.6), layout="constrained", sharey=True)
for i, (ax, weights) in enumerate(zip(axes, filters, strict=True)):
    ax.plot(weights)
    ax.set(title=f"filter {i}", xticks=[])

# %%
# When not to use it
# ------------------
# The dictionary helps here because the network is small: it adds a non-linear layer to a single
# convolution. Where a network has layers enough, compare with the network alone before you put a
# dictionary on it, as above.
