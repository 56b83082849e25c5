"""Early stopping on a validation score."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass
class EarlyStopping:
    """Stop when the score has not improved by `tol` for `patience` epochs; keep the best state.

    Attributes
    ----------
    best_score : float
    best_state : dict of Tensors
        Parameters and buffers of the module when it had the best score.
    n_without_improvement : int
    """

    score: Callable[[], float]
    patience: int
    tol: float
    best_score: float = -math.inf
    best_state: dict[str, Tensor] = field(default_factory=dict)
    n_without_improvement: int = 0

    def update(self, module: nn.Module, score: float) -> bool:
        """Take note of the score of an epoch; whether to stop."""
        # As in scikit-learn's MLP: the best state is that of the best score, however small its
        # lead, while only a lead of more than `tol` buys more patience.
        if score > self.best_score + self.tol:
            self.n_without_improvement = 0
        else:
            self.n_without_improvement += 1
        if score > self.best_score:
            self.best_score = score
            self.best_state = {
                name: value.detach().clone() for name, value in module.state_dict().items()
            }
        return self.n_without_improvement >= self.patience
