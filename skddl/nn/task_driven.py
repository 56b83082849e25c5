"""The network of task-driven dictionary learning."""

from torch import Tensor, nn

from skddl.sparse_coding._solution import Supports

from .sparse_code import SparseCode


class TaskDrivenNetwork(nn.Module):
    """Features, sparse code, linear classifier (paper 1, Fig. 1).

    Parameters
    ----------
    features : Module
        ``x -> x~``, paper 1, Eqs. (8) and (9); its output has shape (n_samples, n_features_out).
    code : SparseCode
        ``x~ -> alpha*(x~, D)``.
    n_outputs : int
        Number of classes, or of targets.
    bias : bool
        Whether the scores have an intercept; paper 1's have none.

    Attributes
    ----------
    classifier : Linear
        W, of shape (n_outputs, n_components), and its bias.
    """

    def __init__(
        self, features: nn.Module, code: SparseCode, n_outputs: int, *, bias: bool
    ) -> None:
        super().__init__()
        self.features = features
        self.code = code
        self.classifier = nn.Linear(len(code.dictionary), n_outputs, bias=bias)

    def encode(self, x: Tensor, supports: Supports | None = None) -> Tensor:
        """Codes of shape (n_samples, n_components); see :meth:`SparseCode.forward`."""
        codes: Tensor = self.code(self.features(x), supports)
        return codes

    def forward(self, x: Tensor) -> Tensor:
        """Scores of shape (n_samples, n_outputs)."""
        scores: Tensor = self.classifier(self.encode(x))
        return scores
