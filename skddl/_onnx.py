"""Fitted networks as ONNX files, for where there is neither skddl nor torch."""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .nn.q_metric import QMetricReLU
from .nn.sparse_code import SparseCode


def write_onnx(
    path: str | os.PathLike[str],
    network: nn.Module,
    outputs: "Outputs",
    n_features: int,
    metadata: dict[str, Any],
    n_steps: int = 1,
) -> None:
    """Export `outputs` of `network`, for any number of rows of samples in float32.

    `metadata` is written as JSON; codes are computed by `n_steps`.
    """
    path = Path(path)  # or raise: a number would be taken for an open file
    try:
        if torch.__version__ < "2.9":
            raise ImportError(f"torch is {torch.__version__}")
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "to_onnx needs onnx, onnxscript and torch 2.9 or newer: pip install 'skddl[onnx]'."
        ) from error
    outputs.network = _exportable(network, n_steps).float()
    outputs.eval().requires_grad_(False)
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            outputs,
            # Not a single one, which would be taken for a constant.
            (torch.zeros(2, n_features),),
            dynamo=True,
            verbose=False,
            input_names=["X"],
            output_names=outputs.names,
            dynamic_shapes=({0: torch.export.Dim("n_samples")},),
        )
    assert program is not None
    for name, value in metadata.items():
        program.model.metadata_props[name] = json.dumps(value)
    program.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that torch has about itself while it exports."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class Outputs(nn.Module):
    """What a file gives for samples; `network` is to be set."""

    names: list[str]
    network: Any

    def __init__(self, divisor: float) -> None:
        super().__init__()
        self.divisor = divisor


class ClassOutputs(Outputs):
    """Features or codes, scores of the classes, and where they have them their probabilities."""

    def __init__(self, divisor: float, name: str, *, softmax: bool) -> None:
        super().__init__(divisor)
        self.names = [name, "scores"] + softmax * ["probabilities"]
        self.softmax = softmax

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """For rows of samples."""
        network, x = self.network, x / self.divisor
        features = network.encode(x) if hasattr(network, "encode") else network.features(x)
        scores = network.classifier(features)
        return (features, scores, scores.softmax(1)) if self.softmax else (features, scores)


class TargetOutputs(Outputs):
    """Codes and predicted targets, these in float64, which their units may need."""

    def __init__(self, divisor: float, mean: Tensor, scale: Tensor) -> None:
        super().__init__(divisor)
        self.names = ["codes", "targets"]
        self.register_buffer("mean", mean.double())
        self.register_buffer("scale", scale.double())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """For rows of samples."""
        codes = self.network.encode(x / self.divisor)
        return codes, self.network.classifier(codes).double() * self.scale + self.mean


class FixedSteps(nn.Module):
    """Codes by a fixed number of steps of FISTA (Beck and Teboulle, 2009), from zero.

    Parameters
    ----------
    code : SparseCode
        What they come near to.
    n_steps : int
    """

    dictionary: Tensor
    gram: Tensor
    momentum: Tensor

    def __init__(self, code: SparseCode, n_steps: int) -> None:
        super().__init__()
        self.problem = code.problem
        dictionary = code.dictionary.detach()
        gram = dictionary.double() @ dictionary.double().T
        self.rate = 1 / (float(torch.linalg.matrix_norm(gram, ord=2)) + self.problem.lambda2)
        self.register_buffer("dictionary", dictionary)
        self.register_buffer("gram", gram)
        momentum, t = [], 1.0
        for _ in range(n_steps):
            t_next = (1 + (1 + 4 * t * t) ** 0.5) / 2
            momentum.append((t - 1) / t_next)
            t = t_next
        self.register_buffer("momentum", torch.tensor(momentum))

    def forward(self, x: Tensor, supports: None = None) -> Tensor:
        """Codes of shape (..., n_components)."""
        # It becomes one operator of the file; a loop would become `n_steps` times as many.
        from torch._higher_order_ops.scan import scan

        correlations = x @ self.dictionary.T
        lambda1, lambda2, rate = self.problem.lambda1, self.problem.lambda2, self.rate

        def step(codes: tuple[Tensor, Tensor], momentum: Tensor) -> tuple[Any, Tensor]:
            before, moved = codes
            gradient = moved @ self.gram + lambda2 * moved - correlations
            after = moved - rate * gradient
            if self.problem.positive:
                after = (after - rate * lambda1).relu()
            else:
                after = nn.functional.softshrink(after, rate * lambda1)
            return (after, after + momentum * (after - before)), momentum.clone()

        zeros = torch.zeros_like(correlations)
        (codes, _), _ = scan(step, (zeros, zeros.clone()), self.momentum)
        return codes


def _exportable(network: nn.Module, n_steps: int) -> nn.Module:
    """A copy whose forward pass is all that there is to it, and has no end that depends on data."""
    network = deepcopy(network)
    for module in list(network.modules()):
        if isinstance(module, QMetricReLU):
            if module.tol is not None:
                raise ValueError(
                    "to_onnx needs a fixed number of steps, but a QMetricReLU of this network "
                    f"ends them by tol={module.tol:g}: build it with tol=None."
                )
            module.memory_efficient = False
        for name, child in list(module.named_children()):
            if isinstance(child, SparseCode):
                setattr(module, name, FixedSteps(child, n_steps))
    return network
