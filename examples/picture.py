"""The picture of README: atoms of digits, and why one of them is predicted as it is.

python examples/picture.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skddl import SampleNormalizer, TaskDrivenDictionaryClassifier
from skddl.inspection import DictionaryDisplay, ExplanationDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, random_state=0)
model = make_pipeline(SampleNormalizer(), TaskDrivenDictionaryClassifier(random_state=0))
print(model.fit(X_train, y_train).score(X_test, y_test))

shape = (8, 8)
widths = {"width_ratios": [1.3, 0.9, 0.5, 1.3]}
figure, axes = plt.subplots(1, 4, figsize=(9, 2.9), layout="constrained", gridspec_kw=widths)
DictionaryDisplay.from_estimator(model, ax=axes[0], max_atoms=100, image_shape=shape)
axes[0].set_title(f"100 of the {len(model[-1].components_)} atoms")
ExplanationDisplay.from_estimator(model, X_test[3], ax=axes[1:], max_atoms=6, image_shape=shape)
path = Path(__file__).parents[1] / "docs" / "figures" / "digits.png"
figure.savefig(path, dpi=110, metadata={"Software": None})
print(f"wrote {path}")
