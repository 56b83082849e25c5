"""
What lambda1 does
=================

You learn to choose ``lambda1``, the weight of the l1 norm: what it does to sparsity, accuracy and
time, and how to read the curves of scikit-learn's ``validation_curve``.
"""

# %%
# ``lambda1`` is in the units of ``features @ atoms``. Atoms have at most unit norm, so that it
# compares with the norms of the features, and no code is left where it exceeds all of their
# products with atoms. "auto" takes 0.05 times the mean norm of the features. The range below spans
# two orders of magnitude around it.

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split, validation_curve
from sklearn.pipeline import make_pipeline

from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=600, random_state=0)
model = make_pipeline(
    SampleNormalizer(), TaskDrivenDictionaryClassifier(100, max_iter=50, random_state=0)
)
auto = model.fit(X_train, y_train)[-1].lambda1_
print(f'lambda1="auto" means {auto:.3f} here')

# %%
# Accuracy
# --------
# Of each value, by three-fold cross-validation.

factors = np.array([0.1, 0.3, 1, 3, 10])
train_scores, validation_scores = validation_curve(
    model,
    X_train,
    y_train,
    param_name="taskdrivendictionaryclassifier__lambda1",
    param_range=factors * auto,
    cv=3,
)

# %%
# Sparsity and time
# -----------------
# Fitted once more to all 600 samples: non-zeros per code of the others, and the time it takes to
# code them.

rows = []
for factor, train_score, validation_score in zip(
    factors, train_scores.mean(axis=1), validation_scores.mean(axis=1), strict=True
):
    model.set_params(taskdrivendictionaryclassifier__lambda1=factor * auto)
    start = perf_counter()
    model.fit(X_train, y_train)
    fitted = perf_counter()
    codes = model.transform(X_test)
    coded = perf_counter()
    rows.append(
        {
            "lambda1 / auto": factor,
            "training accuracy": train_score,
            "validation accuracy": validation_score,
            "non-zeros": (codes != 0).sum(axis=1).mean(),
            "fit, s": fitted - start,
            "coding, us per sample": 1e6 * (coded - fitted) / len(codes),
        }
    )
table = pd.DataFrame(rows).set_index("lambda1 / auto")
table.round(3)

# %%

fig, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
table[["training accuracy", "validation accuracy"]].plot(ax=axes[0], logx=True, marker="o")
axes[0].set(ylabel="accuracy")
table["non-zeros"].plot(ax=axes[1], logx=True, marker="o", ylabel="non-zeros per code")
times = table["coding, us per sample"]
times.plot(ax=axes[2], logx=True, marker="o", ylabel="coding, us per sample")
axes[0].legend(["training", "validation"], frameon=False, loc="center right")
for ax in axes[1:]:
    ax.set_ylim(0, None)

# %%
# What to take from it
# --------------------
# Sparsity follows lambda1 over the whole range. Codes get faster with it until what is left is not
# the solver. Accuracy depends on it little: within a factor of three around "auto" it changes by
# about a point. So choose lambda1 for codes as sparse as you want them to look at, or as fast as
# you need them, and let a search confirm it.
#
# When not to search for lambda1: when accuracy is all that you want. Try the number of atoms and
# ``nu1`` first.
