"""Networks that learn while they run: a forward pass that is gradient descent, a layer that solves least squares, weights
that are agents.

Everything is a `Network` of flat parameters, so mutators, evolution and optax take it; a training is a step for
`core.rollout`.
"""

from neuralmutator.metalearning import in_context, mesa, message_passing
from neuralmutator.metalearning.training import Loss, Trainer, TrainInfo, TrainState, clipped_adam, training

__all__ = [
    "Loss",
    "TrainInfo",
    "TrainState",
    "Trainer",
    "clipped_adam",
    "in_context",
    "mesa",
    "message_passing",
    "training",
]
