"""
Exact codes, and a sparse layer in a network of your own
========================================================

You learn to code samples in a given dictionary with ``sparse_encode``, to check by
``kkt_residual`` that codes are exact, to save time with a warm start, and to put the code as a
layer into a torch network.
"""

# %%
# A dictionary and samples
# ------------------------
# Digits of unit norm in a dictionary of 200 atoms. How it was learned plays no role.

from time import perf_counter

import numpy as np
import pandas as pd
import sklearn.decomposition
from sklearn.datasets import load_digits

from skddl import OnlineDictionaryLearning, SampleNormalizer
from skddl.sparse_coding import kkt_residual, sparse_encode

X, y = load_digits(return_X_y=True)
X = SampleNormalizer().fit_transform(X)
dictionary = OnlineDictionaryLearning(200, lambda1=0.05, random_state=0).fit(X).components_
lambda1 = 0.05

# %%
# Five ways to the same codes
# ---------------------------
# The code of a sample is the minimum of a convex problem, so all solvers give the same, if they
# finish. The residual is the largest violation of the optimality conditions, in units of
# ``lambda1``: it proves that a code is exact without another to compare with. The time is that of
# a second call.

few = X[:500]
coders = {
    "skddl, active-set": lambda: sparse_encode(few, dictionary, lambda1=lambda1),
    "skddl, spams": lambda: sparse_encode(few, dictionary, lambda1=lambda1, solver="spams"),
    "skddl, fista": lambda: sparse_encode(few, dictionary, lambda1=lambda1, solver="fista"),
    "scikit-learn, lasso_lars": lambda: sklearn.decomposition.sparse_encode(
        few, dictionary, algorithm="lasso_lars", alpha=lambda1
    ),
    "scikit-learn, lasso_cd": lambda: sklearn.decomposition.sparse_encode(
        few, dictionary, algorithm="lasso_cd", alpha=lambda1
    ),
}
codes, rows = {}, []
for name, code in coders.items():
    code()
    start = perf_counter()
    codes[name] = code()
    seconds = perf_counter() - start
    rows.append(
        {
            "coder": name,
            "seconds": seconds,
            "largest difference": np.abs(codes[name] - codes["skddl, active-set"]).max(),
            "largest residual": kkt_residual(few, dictionary, codes[name], lambda1=lambda1).max(),
            "non-zeros": (codes[name] != 0).sum(axis=1).mean(),
        }
    )
table = pd.DataFrame(rows).set_index("coder")
table.style.format(
    {
        "seconds": "{:.3f}",
        "largest difference": "{:.1e}",
        "largest residual": "{:.1e}",
        "non-zeros": "{:.1f}",
    }
)

# %%
# lasso_lars has residuals of 2 although its codes are as good: some of its zeros are entries of
# 1e-17 with the wrong sign, and count as used. A small residual proves that a code is exact; a
# large one does not prove the contrary.
#
# Warm start
# ----------
# When the dictionary has moved a little, as it does in learning, the codes of before are the place
# to start from. The result is the same; what changes is the time.

moved = dictionary + 0.01 * np.random.default_rng(0).standard_normal(dictionary.shape) / 8
before = sparse_encode(X, dictionary, lambda1=lambda1)


def seconds_of(init):
    """The shortest of five codings from `init`."""
    times = []
    for _ in range(5):
        start = perf_counter()
        sparse_encode(X, moved, lambda1=lambda1, init=init)
        times.append(perf_counter() - start)
    return min(times)


from_zero = sparse_encode(X, moved, lambda1=lambda1)
from_before = sparse_encode(X, moved, lambda1=lambda1, init=before)
print(f"largest difference {np.abs(from_zero - from_before).max():.1e}")
print(f"from zero {1e3 * seconds_of(None):.1f} ms, from before {1e3 * seconds_of(before):.1f} ms")

# %%
# A layer in your own network
# ---------------------------
# ``SparseCode`` is the same code as a torch module, differentiable in its input and in its
# dictionary. Between two linear layers it takes ten lines; atoms go back to the unit ball after
# each step.

import torch
from torch import nn

from skddl.nn import SparseCode

torch.manual_seed(0)
code_layer = SparseCode(32, 100, lambda1=0.1)
network = nn.Sequential(nn.Linear(64, 32), code_layer, nn.Linear(100, 10))
inputs, targets = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
losses = []
for _ in range(20):
    for batch in torch.randperm(1200).split(100):
        loss = nn.functional.cross_entropy(network(inputs[batch]), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        code_layer.project_()
        losses.append(loss.item())
with torch.no_grad():
    accuracy = (network(inputs[1200:]).argmax(dim=1) == targets[1200:]).double().mean()
    hidden = network[:2](inputs[1200:])
print(
    f"accuracy {accuracy:.3f}, {(hidden != 0).double().sum(dim=1).mean():.1f} of 100 atoms in use"
)

# %%
# Loss over the steps, and the hidden layer of some digits: few entries, most of them exactly zero.

import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained", width_ratios=(1, 2))
axes[0].plot(losses)
axes[0].set(xlabel="step", ylabel="loss", yscale="log")
largest = hidden.abs().max()
image = axes[1].imshow(hidden[:40], cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
axes[1].set(xlabel="atom", ylabel="sample")
fig.colorbar(image, ax=axes[1], label="coefficient")

# %%
# When not to use it
# ------------------
# Where a ReLU would do: an exact code is a small optimisation problem for each sample, in training
# and in prediction. And for one coding of few samples in scikit-learn,
# ``sklearn.decomposition.sparse_encode`` is there already.
