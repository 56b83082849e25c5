"""Torch modules: sparse codes, the ReLU in a learned metric, and networks with it."""

from .conv_net import ConvNet
from .deep_dictionary import PatchSparseCode
from .features import LeNetFeatures, LinearFeatures
from .lenet import LeNet
from .mlp import MLP
from .plain_net import PlainNet
from .q_metric import QMetricReLU
from .res_net import ResNet
from .sparse_code import SparseCode

__all__ = [
    "MLP",
    "ConvNet",
    "LeNet",
    "LeNetFeatures",
    "LinearFeatures",
    "PatchSparseCode",
    "PlainNet",
    "QMetricReLU",
    "ResNet",
    "SparseCode",
]
