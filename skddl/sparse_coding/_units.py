"""Units in which no square of a sample or an atom is beyond the float type."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ._finite import all_finite, largest
from ._problem import ElasticNetProblem
from ._solvers import PROMISED_RESIDUAL

# Exponents, of the largest entry of the atoms and of lambda1, that every solver takes as they are.
_USUAL_ATOMS, _USUAL_LAMBDA1 = 8, 30


@dataclass(frozen=True)
class Units:
    """Powers of two by which samples and atoms are divided, which rounds nothing.

    The code of ``x / s`` in the atoms ``D / t``, with the weights ``lambda1 / (s t)`` and
    ``lambda2 / t^2``, is the code of ``x`` in ``D`` times ``t / s``. They follow from lambda1 and
    the atoms alone: what a sample gets does not depend on its neighbours.

    Attributes
    ----------
    sample, atom : int
        Exponents of s and t; 0 for problems of usual size.
    """

    sample: int = 0
    atom: int = 0

    @classmethod
    def of(cls, problem: ElasticNetProblem, dictionary: Tensor) -> "Units":
        """Those of a problem."""
        atom = math.frexp(largest(dictionary))[1]
        atom = atom if abs(atom) > _USUAL_ATOMS else 0
        sample = math.frexp(problem.lambda1)[1] - atom
        return cls(sample if abs(sample) > _USUAL_LAMBDA1 else 0, atom)

    def problem(self, problem: ElasticNetProblem, dtype: torch.dtype) -> ElasticNetProblem:
        """The problem in these units, for solvers that compute in `dtype`.

        Raises
        ------
        ValueError
            If lambda2 is beyond that.
        """
        if not (self.sample or self.atom):
            return problem
        try:
            lambda2 = math.ldexp(problem.lambda2, -2 * self.atom)
        except OverflowError:
            lambda2 = math.inf
        if lambda2 > torch.finfo(dtype).max:
            raise ValueError(
                f"lambda2={problem.lambda2:g} is too large beside the atoms: scale them."
            )
        lambda1 = math.ldexp(problem.lambda1, -self.sample - self.atom)
        return ElasticNetProblem(lambda1, lambda2, problem.positive)

    def samples(self, X: Tensor) -> Tensor:
        """Samples in these units.

        Raises
        ------
        ValueError
            If they are so large beside lambda1 that their type cannot hold both.
        """
        samples = _times_power_of_two(X, -self.sample)
        if self.sample and not all_finite(samples):
            raise ValueError("lambda1 is too small beside the samples: increase it.")
        return samples

    def atoms(self, dictionary: Tensor) -> Tensor:
        """Atoms in these units."""
        return _times_power_of_two(dictionary, -self.atom)

    def codes(self, codes: Tensor) -> Tensor:
        """Codes in these units."""
        return _times_power_of_two(codes, self.atom - self.sample)

    def usual_codes(self, codes: Tensor, problem: ElasticNetProblem, dictionary: Tensor) -> Tensor:
        """Codes of a problem and atoms that are in these units, as they are without.

        Raises
        ------
        ValueError
            If their type cannot hold them.
        """
        shift = self.sample - self.atom
        codes, in_units = _times_power_of_two(codes, shift), codes
        is_lost = False
        if shift < 0:
            moved = _times_power_of_two(codes, -shift).sub_(in_units)  # by underflow
            moved = moved[moved.any(1)]
            none = moved.new_zeros((len(moved), dictionary.shape[1]))
            violation = problem.correlation(none, dictionary, moved).abs_()
            allowed = PROMISED_RESIDUAL[codes.dtype] * problem.lambda1
            is_lost = not bool((violation <= allowed).all())
        if is_lost or not all_finite(codes):
            dtype = str(codes.dtype).removeprefix("torch.")
            raise ValueError(
                f"Some codes, or what they are computed from, are beyond {dtype}: scale the "
                "samples or the atoms."
            )
        return codes


def _times_power_of_two(values: Tensor, exponent: int) -> Tensor:
    # In parts: the power itself may be beyond the type of the values.
    while exponent:
        part = max(-100, min(100, exponent))
        values, exponent = values * 2.0**part, exponent - part
    return values
