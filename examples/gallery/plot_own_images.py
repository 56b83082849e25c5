"""
From a folder of images to a tuned model
========================================

You learn the whole way from image files, sorted into a folder for each class, to a model that is
searched for, looked at, saved, and asked about an image that it has not seen.
"""

# %%
# Folders to start from
# ---------------------
# You have them. Ours are scikit-learn's digits, one ``.npy`` file for each image, 600 of them, in
# folders named ``zero`` to ``nine``. Everything below this cell can be copied: replace ``folder``.
# matplotlib and pandas are needed beside skddl.

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
made = tempfile.TemporaryDirectory()  # goes away at the end of the script
folder = Path(made.name)
names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
for i in range(600):
    (folder / names[digits.target[i]]).mkdir(exist_ok=True)
    image = (digits.images[i] * 255 / 16).astype(np.uint8)
    np.save(folder / names[digits.target[i]] / f"{i:04d}.npy", image)

# %%
# Read and split
# --------------
# Images are (n, channels, height, width), and the name of the folder is the label. Bytes stay
# bytes: skddl divides them by 255, batch by batch. Of images that do not fit into memory make a
# ``numpy.memmap`` of the same shape.
#
# - For PNG or JPEG files: ``folder.glob("*/*.png")``, and in place of ``np.load(file)``
#   ``np.asarray(PIL.Image.open(file))``.
# - For images in colour, which files have as (height, width, 3): ``.transpose(0, 3, 1, 2)`` in
#   place of ``[:, None]``.

from sklearn.model_selection import train_test_split

files = sorted(folder.glob("*/*.npy"))
X = np.stack([np.load(file) for file in files])[:, None]
y = np.array([file.parent.name for file in files])
print(X.shape, X.dtype, np.unique(y))
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=1 / 3, stratify=y, random_state=0
)

# %%
# Two ways to features
# --------------------
# ``features="lenet"`` learns two convolutions together with the dictionary, as paper 1 does. What
# we recommend trains a small network first and learns a dictionary over its features; settings of
# a preset can be changed. Images of four axes bring their shape along; for rows of pixels pass
# ``image_shape=(1, 8, 8)``. Should the accuracy stay at chance on images of yours, look at
# ``loss_curve_``: where it rises, try a tenth of the ``learning_rate`` first, which is 0.05.
# Which of the two is better depends on the images: go on below with the better one.

from time import perf_counter

from skddl import TaskDrivenDictionaryClassifier

together = TaskDrivenDictionaryClassifier(100, features="lenet", max_iter=200, random_state=0)
recommended = TaskDrivenDictionaryClassifier.from_preset("recommended", random_state=0)
for name, classifier in {"lenet": together, "recommended": recommended}.items():
    start = perf_counter()
    classifier.fit(X_train, y_train)
    seconds = perf_counter() - start
    print(f"{name}: accuracy {classifier.score(X_test, y_test):.3f}, fit in {seconds:.1f} s")

# %%
# Search
# ------
# GridSearchCV takes images of four axes, too. Here the features that are learned together, as they
# are fast; the search over the recommended model is the same, over its ``n_components`` and
# ``nu1``, and trains its network in each fit. Two folds and 50 mini-batches are enough to
# compare.

import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

search = GridSearchCV(
    clone(together).set_params(max_iter=50),
    {"n_components": [30, 200], "nu1": [1e-3, 1e-1]},
    cv=2,
    refit=False,
)
search.fit(X_train, y_train)
results = pd.DataFrame(search.cv_results_)
results.columns = results.columns.str.replace("param_", "")
results[["n_components", "nu1", "mean_test_score"]].sort_values(
    "mean_test_score", ascending=False
).round(3)

# %%
# Fit the best one for longer, and look at it.

best = clone(together).set_params(**search.best_params_).fit(X_train, y_train)
print(f"accuracy {best.score(X_test, y_test):.3f} of {len(y_test)} images")

# %%
# Look at it
# ----------
# Atoms under convolutions are no images. An atom is shown by the mean of the images that it codes,
# weighted by their coefficients; so samples must be handed over.

from skddl.inspection import (
    ClassifierWeightsDisplay,
    DictionaryDisplay,
    ExplanationDisplay,
    SparsityDisplay,
    TrainingCurveDisplay,
)

dictionary = DictionaryDisplay.from_estimator(best, X_train, max_atoms=50, n_cols=10)

# %%
# The weights of each class over the atoms. A dictionary that is learned class by class shows the
# blocks of its start.

weights = ClassifierWeightsDisplay.from_estimator(best)

# %%
# How sparse the codes are, and how training went.

sparsity = SparsityDisplay.from_estimator(best, X_test)

# %%

curve = TrainingCurveDisplay.from_estimator(best)

# %%
# An image that is labelled wrongly, if there is one, and why.

wrong = np.flatnonzero(best.predict(X_test) != y_test)
asked = wrong[0] if len(wrong) else 0
print(f"{len(wrong)} errors; this is a {y_test[asked]}")
explanation = ExplanationDisplay.from_estimator(best, X_test[asked], X_train, max_atoms=6)

# %%
# Save, load, and predict a file
# ------------------------------
# A saved model is a file of tensors and JSON, and no code is run when it is loaded. One image is a
# batch of one. It is of bytes, as those that the model was fitted on: their values are up to 255
# for it, and it has no way to see that others were meant.

import skddl

best.save(folder / "images.skddl")
loaded = skddl.load(folder / "images.skddl")

new_file = folder / "new.npy"
np.save(new_file, X_test[0])  # (channels, height, width)

image = np.load(new_file)[None]
probabilities = loaded.predict_proba(image)[0]
for i in probabilities.argsort()[:-4:-1]:
    print(f"{loaded.classes_[i]}: {probabilities[i]:.3f}")
print("it is a", y_test[0])

# %%
# When not to use it
# ------------------
# Where the classes of your images ask for features that 400 images cannot teach: take a network
# that was trained on millions of images, and put a dictionary, or just a linear classifier, on its
# features. On images as easy as these an RBF support vector machine on pixels is as good, in a
# fraction of a second.
