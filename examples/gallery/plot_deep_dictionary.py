"""
Codes of codes: a deep dictionary of patches
============================================

You learn to stack exact codes of patches with a ``DeepDictionaryClassifier``, to look at its
layers, and what a second layer brings, and costs.
"""

# %%
# Digits, of which 600 are for training: each patch of each image is a problem of its own, and that
# takes time.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from skddl import ConvNetClassifier, DeepDictionaryClassifier
from skddl.inspection import DictionaryDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, train_size=600, stratify=y, random_state=0
)

# %%
# One layer, two layers
# ---------------------
# The first layer codes patches of 3x3 pixels in 16 atoms. The second codes patches of 3x3 codes,
# every other one. A linear classifier reads all codes of the last layer. As many iterations for
# all; beside them the convolutional network of the same layers.

from time import perf_counter
from typing import Any


def convolutions(input_shape):
    """The layers of the deep dictionary with two layers, as convolutions under ReLUs."""
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
    )


settings: dict[str, Any] = {"image_shape": (1, 8, 8), "max_iter": 100, "random_state": 0}
models = {
    "dense, 100 atoms": DeepDictionaryClassifier(100, **settings),
    "one layer of patches": DeepDictionaryClassifier(16, patch_size=3, **settings),
    "two layers of patches": DeepDictionaryClassifier(
        (16, 32), patch_size=3, stride=(1, 2), **settings
    ),
    "two layers of convolutions": ConvNetClassifier(
        architecture=convolutions, image_shape=(1, 8, 8), max_epochs=30, random_state=0
    ),
}
rows = []
for name, model in models.items():
    start = perf_counter()
    model.fit(X_train, y_train)
    fitted = perf_counter()
    accuracy = model.score(X_test, y_test)
    rows.append(
        {
            "model": name,
            "accuracy": accuracy,
            "codes or features": model.transform(X_test).shape[1],
            "non-zeros": (model.transform(X_test) != 0).sum(axis=1).mean(),
            "fit, s": fitted - start,
            "prediction, ms per image": 1e3 * (perf_counter() - fitted) / len(X_test),
        }
    )
table = pd.DataFrame(rows).set_index("model")
table.round(3)

# %%
# Layers
# ------
# Atoms of the first layer are patches, 3x3 pixels. Those of the second are patches of codes: drawn
# as curves, since they have no picture of their own.

two = models["two layers of patches"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", width_ratios=(1, 1.6))
DictionaryDisplay.from_estimator(two, ax=axes[0])
DictionaryDisplay.from_estimator(two, layer=1, max_atoms=10, ax=axes[1])
axes[0].set_title("first layer")
_ = axes[1].set_title("second layer, ten of 32 atoms")

# %%
# The first layer at work: one digit, and where each of the atoms codes it.

import torch

# Images out of rows, their scale, and the codes of patches.
first = nn.Sequential(*list(two.module_.get_submodule("layers").children())[:3])
with torch.no_grad():
    maps = first(torch.tensor(X_test[:1], dtype=torch.float32))[0].numpy()
print(f"maps of codes: {maps.shape}, {(maps != 0).mean():.2f} of them not zero")
fig, axes = plt.subplots(2, 9, figsize=(9, 2.2), layout="constrained")
axes[0, 0].imshow(X_test[0].reshape(8, 8), cmap="gray_r")
axes[0, 0].set_title("digit", fontsize="small")
axes[1, 0].set_visible(False)
for i, ax in enumerate(axes[:, 1:].flat):
    ax.imshow(maps[i], cmap="gray_r", vmin=0, vmax=maps.max())
    ax.set_title(f"atom {i}", fontsize="small")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])

# %%
# When not to use it
# ------------------
# To classify: here a second layer loses accuracy and takes longer, and convolutions of the same
# sizes are as accurate as it in a fraction of the time. It is a baseline, and a way to look at
# codes of patches. ``DeTraMeClassifier`` was made to have such layers without the cost.
