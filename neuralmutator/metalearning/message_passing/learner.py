"""The network that learns: its layers, its agents' memories, its loss."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check
from neuralmutator.metalearning.message_passing.layout import Layers, Plan, Start

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}
LEAST_PROBABILITY = 1e-7  # the published code's 10e-8, within which a cross-entropy is clipped


class Learner(NamedTuple):
    """A network that learns, with the memories of its agents."""

    weights: tuple[jax.Array, ...]  # f32[in, out] of every layer
    biases: tuple[jax.Array, ...]  # f32[out]
    memories: dict[str, jax.Array]  # f32[B, ..., memory] by agent; the first is the change, the last are the message


def begin(plan: Plan, key: jax.Array, batch: int) -> Learner:
    """A learner that knows nothing: weights and biases as the plan starts, memories f32[batch, ..., memory] of 0."""
    check.whole(1, batch=batch)
    weights, biases = plan.start(key)
    memories = {}
    for name, size in plan.memory.items():
        kind, _, layer = name.partition(" ")
        width = plan.sizes[int(layer) + 1] if layer else plan.sizes[-1]
        places = (plan.sizes[int(layer)], width) if kind == "weights" else (width,)
        memories[name] = jnp.zeros((batch, *places, size))
    return Learner(weights, biases, memories)


def forward(plan: Plan, learner: Learner, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Outputs f32[n, out] before a softmax, and what every agent sees of it."""
    seen = {}
    last = len(learner.weights) - 1
    for layer, (weights, biases) in enumerate(zip(learner.weights, learner.biases, strict=True)):
        seen[f"weights {layer}"] = x
        x = x @ weights
        seen[f"biases {layer}"] = x
        x = x + biases
        if layer < last:
            seen[f"activation {layer}"] = x
            x = ACTIVATIONS[plan.activation](x)
    return x, seen


def predict(plan: Plan, learner: Learner, x: jax.Array) -> jax.Array:
    """What a learner says, f32[n, out]; probabilities of classes where it has a softmax."""
    y, _ = forward(plan, learner, x)
    return y if plan.loss == "squared" else jax.nn.softmax(y)


def losses_of(plan: Plan, prediction: jax.Array, y: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """The loss of every output f32[n, out], and what its agent sees."""
    if plan.loss == "squared":
        error = y - prediction
        return error**2 / 2, (prediction, y, error)
    probability = jnp.clip(prediction, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    log = jnp.log(probability)
    return -y * log, (probability, y, log)


def mean_loss(plan: Plan, prediction: jax.Array, y: jax.Array) -> jax.Array:
    """Half the square of the error, mean over examples and outputs; or the cross-entropy in nats, mean over examples.

    Args:
        plan: of the agents.
        prediction: f32[n, out].
        y: f32[n, out].

    Returns:
        f32[].
    """
    losses, _ = losses_of(plan, prediction, y)
    return jnp.mean(losses) if plan.loss == "squared" else jnp.mean(jnp.sum(losses, axis=-1))


def narrow_start(sizes: tuple[int, ...], std: float, key: jax.Array) -> tuple[Layers, Layers]:
    """Small normal weights f32[in, out] of every layer, biases f32[out] of 0: the paper's start."""
    pairs = list(itertools.pairwise(sizes))
    noise = std * jax.random.normal(key, (sum(i * o for i, o in pairs),))
    parts = jnp.split(noise, np.cumsum([i * o for i, o in pairs])[:-1])
    weights = tuple(part.reshape(pair) for part, pair in zip(parts, pairs, strict=True))
    return weights, tuple(jnp.zeros(o) for _, o in pairs)


def spread_start(
    sizes: Sequence[int], slope: float | jax.Array = 1.0, reach: float | jax.Array = 2.5, std: float | jax.Array = 0.05
) -> Start:
    """A start whose first layer looks at all of its input at once: ours, for rules that are trained for minutes.

    The paper's narrow start leaves it to the rules to spread the units of the first layer over the input.

    Args:
        sizes: of the layers, input first.
        slope: std of the first layer's weights.
        reach: std of its biases.
        std: of the other layers' weights; their biases are 0.

    Raises:
        ValueError: if there are no two layers, or a number is negative.
    """
    sizes = tuple(sizes)
    if len(sizes) < 3:
        raise ValueError(f"sizes must hold an input, a hidden layer and an output at least, got {sizes}")
    check.number(0, slope=slope, reach=reach, std=std)

    def start(key: jax.Array) -> tuple[Layers, Layers]:
        key_weights, key_biases = jax.random.split(key)
        weights, biases = narrow_start(sizes, 1.0, key_weights)
        first = reach * jax.random.normal(key_biases, biases[0].shape)
        return (slope * weights[0], *(std * w for w in weights[1:])), (first, *biases[1:])

    return start
