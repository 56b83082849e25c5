"""DeTraMe networks (paper 2) as a scikit-learn estimator."""

from collections.abc import Callable, Sequence
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from ._network_classifier import NetworkClassifier
from .nn._network import ActivationFactory


class DeTraMeClassifier(NetworkClassifier):
    """X."""

    _parameters_of_network = (
        *NetworkClassifier._parameters_of_network,
        "activation",
        "n_steps",
        "memory_efficient",
    )

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **NetworkClassifier._parameter_constraints,
        "activation": [StrOptions({"q-metric", "relu"}), callable],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "memory_efficient": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] | int = (100,),
        *,
        architecture: str | Callable[[tuple[int, ...]], nn.Module] = "dense",
        activation: str | ActivationFactory = "q-metric",
        n_steps: int = 3,
        image_shape: tuple[int, int, int] | None = None,
        width: float = 1.0,
        dropout: float | tuple[float, float] = 0.0,
        batch_norm: bool = True,
        standardize: bool = True,
        augment: str | Callable[[Tensor], Tensor] | None = None,
        max_epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float = 0.1,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 5e-4,
        decay_all: bool = False,
        lr_schedule: str | Callable[[float], float] = "cosine",
        label_smoothing: float = 0.0,
        optimizer: str = "sgd",
        mixed_precision: bool = False,
        compile: bool = False,
        memory_efficient: bool = False,
        class_weight: dict[Any, float] | str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        dtype: str = "float32",
        checkpoint: str | PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            architecture=architecture,
            image_shape=image_shape,
            width=width,
            dropout=dropout,
            batch_norm=batch_norm,
            standardize=standardize,
            augment=augment,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            decay_all=decay_all,
            lr_schedule=lr_schedule,
            label_smoothing=label_smoothing,
            optimizer=optimizer,
            mixed_precision=mixed_precision,
            compile=compile,
            class_weight=class_weight,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            device=device,
            dtype=dtype,
            checkpoint=checkpoint,
            random_state=random_state,
            verbose=verbose,
        )
        self.activation = activation
        self.n_steps = n_steps
        self.memory_efficient = memory_efficient

    def _activation(self) -> dict[str, Any]:
        return {
            "activation": self.activation,
            "n_steps": self.n_steps,
            "memory_efficient": self.memory_efficient,
        }
