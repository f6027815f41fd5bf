"""Networks as pure functions of flat parameters, so that a genome can hold any of them."""

from neuralmutator.networks.network import (
    CNN,
    MLP,
    Activation,
    Network,
    Recurrent,
    check_fit,
    cnn,
    flexible_mlp,
    from_flax,
    mlp,
    policy_step,
    recurrent,
)

__all__ = [
    "CNN",
    "MLP",
    "Activation",
    "Network",
    "Recurrent",
    "check_fit",
    "cnn",
    "flexible_mlp",
    "from_flax",
    "mlp",
    "policy_step",
    "recurrent",
]
