"""Torch modules: the sparse code and the feature maps under it."""

from .features import LeNetFeatures, LinearFeatures
from .sparse_code import SparseCode

__all__ = ["LeNetFeatures", "LinearFeatures", "SparseCode"]
