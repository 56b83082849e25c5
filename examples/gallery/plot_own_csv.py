"""
From your own CSV to a tuned model
==================================

You learn the whole way from a table in a file, with numbers, a category and missing values, to a
model that is searched for, looked at, saved and loaded again. Everything below the first cell can
be copied: replace the path, the name of the column with the labels, and that of the category.
"""

# %%
# A file to start from
# --------------------
# You have one. Ours is made of scikit-learn's wines: the cultivar as a string, the colour cut into
# a category, and one number in twenty missing. matplotlib and pandas are needed beside skddl.

# sphinx_gallery_thumbnail_number = 4
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine

wine = load_wine(as_frame=True)
made = wine.data.mask(np.random.default_rng(0).random(wine.data.shape) < 0.05)
made["color_intensity"] = pd.cut(
    wine.data["color_intensity"], [0, 4, 6, 20], labels=["pale", "medium", "deep"]
)
made["cultivar"] = wine.target.map(lambda i: ["Barolo", "Grignolino", "Barbera"][i])
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "wine.csv"
made.to_csv(path, index=False)

# %%
# Read and split
# --------------
# The labels are strings and stay strings.

from sklearn.model_selection import train_test_split

table = pd.read_csv(path)
X, y = table.drop(columns="cultivar"), table["cultivar"]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
table.iloc[:5, [0, 1, 9, 12, 13]]

# %%
# A pipeline for mixed columns
# ----------------------------
# Numbers are filled in and scaled, categories become indicators. The columns are coded as they come
# out of that. ``max_iter`` is given, so that all candidates of the search below take as many steps.

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skddl import TaskDrivenDictionaryClassifier

categories = ["color_intensity"]
numbers = [name for name in X.columns if name not in categories]
columns = ColumnTransformer(
    [
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
    ],
    verbose_feature_names_out=False,
)
classifier = TaskDrivenDictionaryClassifier(max_iter=100, random_state=0)
model = make_pipeline(columns, classifier)
model

# %%
# Search
# ------
# Eight settings, three folds. ``n_components`` is the number of atoms, ``nu1`` the penalty on the
# weights of the classifier. Search on training data alone, and look at the test samples once.

from sklearn.model_selection import GridSearchCV

search = GridSearchCV(
    model,
    {
        "taskdrivendictionaryclassifier__n_components": [6, 24],
        "taskdrivendictionaryclassifier__lambda1": [0.1, 0.5],
        "taskdrivendictionaryclassifier__nu1": ["auto", 1e-2],
    },
    cv=3,
)
search.fit(X_train, y_train)
results = pd.DataFrame(search.cv_results_)
results.columns = results.columns.str.replace("param_taskdrivendictionaryclassifier__", "")
results[["n_components", "lambda1", "nu1", "mean_test_score", "std_test_score"]].sort_values(
    "mean_test_score", ascending=False
).round(3)

# %%
# Score
# -----
# On the samples that the search has not seen, beside logistic regression after the same
# preparation.

from sklearn.linear_model import LogisticRegression

best = search.best_estimator_
linear = make_pipeline(columns, LogisticRegression()).fit(X_train, y_train)
print(f"dictionary: {best.score(X_test, y_test):.3f} of {len(y_test)} samples")
print(f"logistic regression: {linear.score(X_test, y_test):.3f}")
print(best.predict(X_test[:3]), "expected:", y_test[:3].to_list())

# %%
# Look at it
# ----------
# How sparse codes are: how many atoms a sample takes, and how many samples take an atom. A
# dictionary with many atoms that nothing uses is too large, or lambda1 is.

from skddl.inspection import (
    ClassifierWeightsDisplay,
    ExplanationDisplay,
    SparsityDisplay,
    TrainingCurveDisplay,
)

sparsity = SparsityDisplay.from_estimator(best, X_test)

# %%
# Whether training was long enough. A loss that still falls at the end asks for more iterations,
# one that jumps for a smaller learning rate.

curve = TrainingCurveDisplay.from_estimator(best)

# %%
# What each class makes of each atom.

weights = ClassifierWeightsDisplay.from_estimator(best)

# %%
# And why one sample is predicted as it is. Samples and atoms are curves over the columns that the
# preparation makes.

explanation = ExplanationDisplay.from_estimator(best, X_test.iloc[0], max_atoms=6)

# %%
# Save and load
# -------------
# A pipeline goes into a file by joblib, as all of scikit-learn's. Such a file runs code when it is
# loaded: load none from people whom you do not trust.

import joblib

joblib.dump(best, Path(folder.name) / "pipeline.joblib")
again = joblib.load(Path(folder.name) / "pipeline.joblib")
print("same predictions:", (again.predict(X_test) == best.predict(X_test)).all())

# %%
# The classifier alone can be saved without code, as tensors and JSON: a file that may be passed
# on. It then takes what the preparation gives.

import skddl

best[-1].save(Path(folder.name) / "classifier.skddl")
loaded = skddl.load(Path(folder.name) / "classifier.skddl")
print(
    "same predictions:", (loaded.predict(best[:-1].transform(X_test)) == best.predict(X_test)).all()
)

# %%
# The temporary folder goes away. Yours stays.

folder.cleanup()

# %%
# When not to use it
# ------------------
# For a small table with a few columns. Logistic regression is about as good here (two of 54
# samples say little), learns in milliseconds, and its weights are those of columns rather than of
# atoms; boosted trees need neither filling in nor scaling. A dictionary pays where a sample is a
# signal, with tens or hundreds of columns that belong together.
