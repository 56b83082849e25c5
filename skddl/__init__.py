"""Supervised dictionary learning with a scikit-learn interface."""

from .preprocessing import SampleNormalizer

__version__ = "0.1.0"

__all__ = ["SampleNormalizer", "__version__"]
