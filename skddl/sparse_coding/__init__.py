"""Elastic-net sparse coding: the problem, its solvers and the derivative of its solution."""

from ._encode import kkt_residual, sparse_encode

__all__ = ["kkt_residual", "sparse_encode"]
