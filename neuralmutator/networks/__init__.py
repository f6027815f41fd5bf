"""Networks as pure functions of flat parameters, so that a genome can hold any of them."""

from neuralmutator.networks.flexible import flexible_mlp
from neuralmutator.networks.functions import from_functions
from neuralmutator.networks.images import CNN, SmallCNN, cnn
from neuralmutator.networks.linen import MLP, Recurrent, from_flax, mlp, recurrent
from neuralmutator.networks.network import (
    Activation,
    Network,
    check_fit,
    convolves,
    groups_of,
    layer_outputs,
    policy_step,
)
from neuralmutator.networks.nnx import from_nnx
from neuralmutator.networks.normalisation import normalised
from neuralmutator.networks.permutation import permuted

__all__ = [
    "CNN",
    "MLP",
    "Activation",
    "Network",
    "Recurrent",
    "SmallCNN",
    "check_fit",
    "cnn",
    "convolves",
    "flexible_mlp",
    "from_flax",
    "from_functions",
    "from_nnx",
    "groups_of",
    "layer_outputs",
    "mlp",
    "normalised",
    "permuted",
    "policy_step",
    "recurrent",
]
