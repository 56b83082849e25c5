"""Deep dictionary learning: sparse codes of the patches of sparse codes."""

from collections.abc import Sequence

from torch import Tensor, nn

from ._inputs import require_size, require_tensor
from .sparse_code import SparseCode


class PatchSparseCode(nn.Module):
    """A layer of deep dictionary learning, ``P o M_D`` of paper 2, Eq. (1).

    Each patch of the maps, with all their channels, becomes its sparse code (paper 2, Eq. 2, with d
    = 0), and the codes, in the places of their patches, are the next maps: what a convolution
    does, with a code instead of a product. It is differentiated exactly, as
    :class:`skddl.nn.SparseCode` is.

    Parameters
    ----------
    in_channels : int
        Channels of the maps.
    n_components : int
        Number of atoms, and of channels of the next maps.
    patch_size : int
        Height and width of the patches.
    stride : int, default=1
        Distance of neighbouring patches.
    padding : int, default=0
        Zeros around the maps.
    lambda1 : float
        Weight of the l1 norm, > 0.
    lambda2 : float, default=0.0
        Weight of half the squared l2 norm, >= 0.
    positive : bool, default=True
        Whether the codes are constrained to be non-negative, as paper 2 has them.
    solver : {"auto", "active-set", "spams", "fista"}, default="auto"
        As in :func:`skddl.sparse_coding.sparse_encode`.
    positive_dict : bool, default=False
        Whether the atoms are kept non-negative.

    Attributes
    ----------
    code : SparseCode
        Of patches as vectors, channel by channel: its dictionary has the shape (n_components,
        in_channels * patch_size^2).

    Raises
    ------
    ValueError
        If a size or a weight is out of range, the solver is unknown, or an input has another shape.
    TypeError
        If a weight is not a real number, a flag is not a bool, or an input is complex.

    Examples
    --------
    >>> import torch
    >>> from skddl.nn import PatchSparseCode
    >>> layer = PatchSparseCode(3, 16, patch_size=5, stride=2, padding=2, lambda1=0.1)
    >>> layer(torch.rand(10, 3, 32, 32)).shape
    torch.Size([10, 16, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        n_components: int,
        *,
        patch_size: int,
        stride: int = 1,
        padding: int = 0,
        lambda1: float,
        lambda2: float = 0.0,
        positive: bool = True,
        solver: str = "auto",
        positive_dict: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = require_size("in_channels", in_channels)
        self.patch_size = require_size("patch_size", patch_size)
        self.stride = require_size("stride", stride)
        self.padding = require_size("padding", padding, 0)
        self.code = SparseCode(
            self.in_channels * self.patch_size**2,
            n_components,
            lambda1=lambda1,
            lambda2=lambda2,
            positive=positive,
            solver=solver,
            positive_dict=positive_dict,
        )

    def patches(self, maps: Tensor) -> Tensor:
        """Patches of shape (n_samples, n_patches, in_channels * patch_size^2)."""
        patches = nn.functional.unfold(
            maps, self.patch_size, stride=self.stride, padding=self.padding
        )
        return patches.transpose(1, 2)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (n_samples, n_components, H', W') of maps (n_samples, in_channels, H, W)."""
        require_tensor(self, maps)
        if maps.ndim != 4 or maps.shape[1] != self.in_channels:
            raise ValueError(
                f"Inputs must have the shape (n, {self.in_channels}, H, W), got "
                f"{tuple(maps.shape)}."
            )
        height, width = (
            (size + 2 * self.padding - self.patch_size) // self.stride + 1
            for size in maps.shape[-2:]
        )
        codes = self.code(self.patches(maps))
        return codes.transpose(1, 2).unflatten(2, (height, width))

    def extra_repr(self) -> str:
        """The geometry, for ``repr``."""
        return f"patch_size={self.patch_size}, stride={self.stride}, padding={self.padding}"


class DeepDictionaryNetwork(nn.Module):
    """Layers of sparse codes under a linear classifier (paper 2, Eq. 1).

    Parameters
    ----------
    layers : sequence of Modules
        From rows of samples to codes (n_samples, n_codes). Those that code are
        :class:`PatchSparseCode` or :class:`skddl.nn.SparseCode`; the others reshape, or scale.
    n_codes : int
        Number of codes per sample of the last layer.
    n_outputs : int
        Number of classes.
    bias : bool
        Whether the scores have an intercept; paper 2's have none.

    Attributes
    ----------
    layers : Sequential
    classifier : Linear
        C, of shape (n_outputs, n_codes), and its bias.
    """

    def __init__(
        self, layers: Sequence[nn.Module], n_codes: int, n_outputs: int, *, bias: bool
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(n_codes, n_outputs, bias=bias)

    @property
    def codes(self) -> list[SparseCode]:
        """What codes in each layer, from the first to the last."""
        return [module for module in self.modules() if isinstance(module, SparseCode)]

    def encode(self, x: Tensor) -> Tensor:
        """Codes of the last layer, (n_samples, n_codes)."""
        codes: Tensor = self.layers(x)
        return codes

    def forward(self, x: Tensor) -> Tensor:
        """Scores of shape (n_samples, n_outputs)."""
        scores: Tensor = self.classifier(self.encode(x))
        return scores
