"""Networks that learn while they run.

Their forward pass is gradient descent, a layer of them solves least squares, or their weights are agents.

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
