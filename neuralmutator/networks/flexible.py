"""A perceptron whose layers and neurons evolve; `structure` says how."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check
from neuralmutator.networks import structure
from neuralmutator.networks.network import Network
from neuralmutator.networks.products import product


def flexible_mlp(
    obs: int,
    act: int,
    max_layers: int = 2,
    max_width: int = 64,
    initial_layers: Sequence[int] = (1, 2),
    initial_widths: Sequence[int] = (32, 48, 64),
) -> Network:
    """A perceptron (tanh, linear output) whose layers and neurons evolve, at static shapes; parameters are f32.

    Every layer that there is room for costs time, whether it is used or not. The original program allows 5 layers of
    256; its champions never passed 2 layers of 64, which is the default.

    Args:
        obs: number of inputs.
        act: number of outputs.
        max_layers: most hidden layers.
        max_width: most neurons in a hidden layer, at least 8.
        initial_layers: numbers of hidden layers; the first networks draw one, uniformly.
        initial_widths: widths; each layer of the first networks draws one, uniformly.

    Raises:
        ValueError: if a size is not a whole number of at least 1, or a choice lies out of range.
    """
    check.whole(1, obs=obs, act=act, max_layers=max_layers)
    check.whole(structure.MIN_WIDTH, max_width=max_width)
    for name, choices, low, high in (
        ("initial_layers", initial_layers, 1, max_layers),
        ("initial_widths", initial_widths, structure.MIN_WIDTH, max_width),
    ):
        if not choices or min(choices) < low or max(choices) > high:
            raise ValueError(f"{name} must lie between {low} and {high}, got {tuple(choices)}")
    room = structure.Room(obs, act, max_layers, max_width)

    def init(key: jax.Array) -> jax.Array:
        # Drawn as if every layer were as wide as it may become: `evolution` masks it to the topology.
        inputs = np.repeat([obs, max_width], [(obs + 1) * max_width, room.num_params - (obs + 1) * max_width])
        return jax.random.uniform(key, (room.num_params,), jnp.float32, minval=-1.0) * inputs.astype(np.float32) ** -0.5

    def activations(params: jax.Array, x: jax.Array, topology: jax.Array) -> tuple[jax.Array, ...]:
        layers = structure.split(room, params)
        x = jnp.tanh(product(x, layers.w_in) + layers.b_in)
        hidden = [x]
        for k in range(max_layers - 1):
            x = jnp.where(topology[k + 1] > 0, jnp.tanh(x @ layers.w[k] + layers.b[k]), x)
            hidden.append(x)
        return (*hidden, x @ layers.w_out + layers.b_out)

    def apply(params: jax.Array, x: jax.Array, topology: jax.Array) -> jax.Array:
        return activations(params, x, topology)[-1]

    def draw(key: jax.Array) -> jax.Array:
        return structure.init(key, room, tuple(initial_layers), tuple(initial_widths))

    shape = structure.Topology(
        max_layers,
        draw,
        lambda topology: structure.mask(room, topology),
        lambda key, params, topology: structure.mutate(room, key, params, topology),
    )
    sizes = tuple(int(np.prod(shape)) for shape in room.shapes)
    return Network(room.num_params, init, apply, activations, topology=shape, sizes=sizes)
