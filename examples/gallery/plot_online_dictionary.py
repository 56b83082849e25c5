"""
A dictionary from a stream of patches
=====================================

You learn to learn a dictionary without labels from data that come batch by batch, with
``partial_fit``; to compare it with scikit-learn's ``MiniBatchDictionaryLearning`` at equal time;
and to remove noise from an image with it.
"""

# %%
# Patches of a photograph
# -----------------------
# Of the right half of scikit-learn's picture of a flower, in grey; the left half is for later.
# Each patch of 8x8 pixels has its mean subtracted.

# sphinx_gallery_thumbnail_number = 3
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d

from skddl import OnlineDictionaryLearning
from skddl.inspection import DictionaryDisplay
from skddl.sparse_coding import sparse_encode

image = load_sample_image("flower.jpg").mean(axis=2)[::3, ::3] / 255
left, right = np.array_split(image, 2, axis=1)


def patches_of(picture, max_patches=None, seed=0):
    """Patches as rows, and their means."""
    patches = extract_patches_2d(picture, (8, 8), max_patches=max_patches, random_state=seed)
    patches = patches.reshape(len(patches), -1)
    means = patches.mean(axis=1, keepdims=True)
    return patches - means, means


held_out, _ = patches_of(right, 2000, seed=1)
lambda1 = 0.1


def objective(dictionary):
    """Mean coding objective of patches that were not learned from."""
    codes = sparse_encode(held_out, dictionary, lambda1=lambda1)
    residuals = held_out - codes @ dictionary
    return ((residuals**2).sum(axis=1) / 2 + lambda1 * np.abs(codes).sum(axis=1)).mean()


# %%
# The stream
# ----------
# 40 batches of 256 patches, each seen once and then gone. Both learners get the same batches and
# the same first atoms; the clock runs while they learn, not while they are judged.

batches = [patches_of(right, 256, seed=100 + i)[0] for i in range(40)]
start_atoms = batches[0][np.argsort(-np.linalg.norm(batches[0], axis=1))[:100]]
start_atoms = start_atoms / np.linalg.norm(start_atoms, axis=1, keepdims=True)

learners = {
    "skddl": OnlineDictionaryLearning(100, lambda1=lambda1, init=start_atoms, random_state=0),
    "scikit-learn": MiniBatchDictionaryLearning(
        100,
        alpha=lambda1,
        batch_size=256,
        dict_init=start_atoms,
        fit_algorithm="cd",
        random_state=0,
    ),
}

curves = {}
for name, learner in learners.items():
    seconds, points = 0.0, []
    for batch in batches:
        start = perf_counter()
        learner.partial_fit(batch)
        seconds += perf_counter() - start
        points.append((seconds, objective(learner.components_)))
    curves[name] = np.array(points)
    print(f"{name:12} {seconds:6.2f} s, objective {points[-1][1]:.4f}")

# %%

fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, curve in curves.items():
    ax.plot(*curve.T, marker=".", label=name)
ax.set(xscale="log", xlabel="seconds of learning", ylabel="objective of other patches")
_ = ax.legend(frameon=False)

# %%
# Where scikit-learn ended, and where skddl was at that time or at its end, if that came before:

budget = curves["scikit-learn"][-1, 0]
within = curves["skddl"][curves["skddl"][:, 0] <= budget]
print(f"after {budget:.2f} s: scikit-learn {curves['scikit-learn'][-1, 1]:.4f}")
print(f"after {within[-1, 0]:.2f} s: skddl {within[-1, 1]:.4f}, {len(within)} of 40 batches")

# %%
# Atoms: edges and textures.

display = DictionaryDisplay.from_estimator(learners["skddl"], image_shape=(8, 8))

# %%
# Denoising
# ---------
# The left half of the picture gets noise, each of its patches a code, and what the codes stand for
# is averaged where patches overlap. lambda1 follows the noise, here twice its standard deviation.

sigma = 0.08
noisy = left + sigma * np.random.default_rng(0).standard_normal(left.shape)
patches, means = patches_of(noisy)
codes = sparse_encode(patches, learners["skddl"].components_, lambda1=2 * sigma)
cleaned = codes @ learners["skddl"].components_ + means
denoised = reconstruct_from_patches_2d(cleaned.reshape(-1, 8, 8), left.shape)


def psnr(picture):
    """Peak signal-to-noise ratio in decibels."""
    return -10 * np.log10(((picture - left) ** 2).mean())


blurred = max((gaussian_filter(noisy, width) for width in (0.5, 0.7, 1, 1.4)), key=psnr)
pictures = {"original": left, "noisy": noisy, "best Gaussian filter": blurred, "codes": denoised}
fig, axes = plt.subplots(1, 4, figsize=(9, 3.2), layout="constrained")
for ax, (title, picture) in zip(axes, pictures.items(), strict=True):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    quality = "" if picture is left else f"\n{psnr(picture):.1f} dB"
    ax.set(title=title + quality, xticks=[], yticks=[])

# %%
# When not to use it
# ------------------
# When the data fit into memory and are read more than once: ``fit`` draws its batches from all of
# them and re-draws atoms that nothing uses. For denoising alone there are methods made for it,
# which look for similar patches or are trained on pairs of images. And where a plain basis does,
# take ``sklearn.decomposition.PCA``.
