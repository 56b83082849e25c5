"""
One operator, three faces
=========================

You learn how the three methods of the package belong together: the exact sparse code, the steps
of Eq. (9) of paper 2 that converge to it, and the same steps in a metric that is learned instead
of computed.
"""

# %%
# A dictionary
# ------------
# Of digits, and non-negative codes, as in paper 2. All in float64, to see convergence to the end.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

from skddl import OnlineDictionaryLearning, SampleNormalizer
from skddl.nn import QMetricReLU, SparseCode

X, y = load_digits(return_X_y=True)
X = SampleNormalizer().fit_transform(X)
lambda1, alpha = 0.1, 0.1
learner = OnlineDictionaryLearning(
    50, lambda1=lambda1, lambda2=alpha, positive=True, random_state=0
).fit(X)
dictionary, x = torch.tensor(learner.components_), torch.tensor(X)

# %%
# First face: the exact code
# --------------------------

exact = SparseCode(64, 50, lambda1=lambda1, lambda2=alpha, positive=True).double()
with torch.no_grad():
    exact.dictionary.copy_(dictionary)
    codes = exact(x)
print(f"{(codes != 0).double().sum(dim=1).mean():.1f} of 50 atoms per code")

# %%
# Second face: steps of Eq. (9)
# -----------------------------
# Theorem 3.1: the code of x is a proximal operator of z = Q^-1 D'x in the metric Q = D'D + alpha
# I. Theorem 3.2 computes it by the steps U <- ReLU(h z + W (U - z) - b), and ``from_dictionary``
# has the W, h and b that the dictionary asks for. The distance to the exact code falls by a
# constant factor with each step, once the support is found.

metric = dictionary @ dictionary.T + alpha * torch.eye(50, dtype=torch.float64)
z = torch.linalg.solve(metric, dictionary @ x.T).T

numbers = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
distances, agreements = [], []
for n_steps in numbers:
    steps = QMetricReLU.from_dictionary(
        dictionary, lambda_=lambda1, alpha=alpha, beta=0.0, n_steps=n_steps
    )
    with torch.no_grad():
        u = steps(z)
    distances.append(((u - codes).norm(dim=1) / codes.norm(dim=1)).mean().item())
    agreements.append(((u > 0) == (codes > 0)).double().mean().item())
for n_steps, distance, agreement in zip(numbers, distances, agreements, strict=True):
    print(f"{n_steps:5} steps: distance {distance:.1e}, entries on the same side {agreement:.4f}")
print(f"damping {steps.damping:.3f}")

# %%
# Third face: a learned metric
# ----------------------------
# A few steps are far from the code, in the metric of the dictionary. But W, h and b may be
# learned, for just these steps: here from the exact codes of 1,200 digits, as regression on codes;
# the others judge. A ``DeTraMeClassifier`` learns the same parameters from labels. Beside it
# stands a ReLU, to which the same linear layer is learned: what metrics are to improve on.


def learn(activation, n_epochs=60):
    """Mean relative distance on held-out digits, with `activation` over a linear layer."""
    torch.manual_seed(0)
    linear = nn.Linear(64, 50).double()
    with torch.no_grad():
        linear.weight.copy_(torch.linalg.solve(metric, dictionary))
        linear.bias.zero_()
    network = nn.Sequential(linear, activation)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
    for _ in range(n_epochs):
        for batch in torch.randperm(1200).split(100):
            loss = (network(x[batch]) - codes[batch]).square().sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if isinstance(activation, QMetricReLU):
                activation.project_()
        scheduler.step()
    with torch.no_grad():
        u = network(x[1200:])
    return ((u - codes[1200:]).norm(dim=1) / codes[1200:].norm(dim=1)).mean().item()


few = [1, 2, 3, 5]
learned = {n: learn(QMetricReLU(50, n_steps=n).double()) for n in few}
relu = learn(nn.ReLU())
print(f"a ReLU over a learned layer: {relu:.3f}")
for n_steps in few:
    computed = distances[numbers.index(n_steps)]
    print(f"{n_steps} steps: computed metric {computed:.3f}, learned {learned[n_steps]:.3f}")

# %%

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
ax.loglog(numbers, distances, marker="o", label="metric of the dictionary")
ax.loglog(few, list(learned.values()), marker="s", label="learned metric")
ax.axhline(relu, color="0.5", linestyle="--", label="ReLU")
ax.set(xlabel="steps of Eq. (9)", ylabel="relative distance to the exact code")
_ = ax.legend(frameon=False)

# %%
# When not to use it
# ------------------
# Steps in a computed metric are no fast way to exact codes, which need hundreds of them here:
# ``sparse_encode`` is for that. Steps in a learned metric are no codes: they come near on samples
# like those of the training, and carry no certificate. They are an activation, which costs a few
# small matrix products; where it does not help, take a ReLU.
