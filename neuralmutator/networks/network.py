"""Networks as pure functions of flat parameters, so that a genome can hold any of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from neuralmutator.core.genome import Genome
from neuralmutator.networks import structure

Activation = Callable[[jax.Array], jax.Array]


class Network(NamedTuple):
    """A network of flat parameters.

    A network of variable structure (`topology` is set) takes its topology i32[L] as a third argument of `apply`; a
    stateful one (`initial_state` is set) takes ``(state, x)`` as its input and gives ``(state, y)``. `policy_step`
    hides the difference.
    """

    num_params: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> f32[P]
    apply: Callable[..., Any]  # (f32[P], x) -> y
    activations: Callable[..., tuple[jax.Array, ...]]  # as apply, gives the output of every layer; for pictures
    topology: structure.Topology | None = None
    initial_state: Any = None


def policy_step(network: Network, genome: Genome) -> Callable[[Any, jax.Array], tuple[Any, jax.Array]]:
    """The policy of one genome as ``(carry, observation) -> (carry, output)``, whatever its kind.

    The carry starts as ``network.initial_state``, which is None for a network without memory.

    Raises:
        ValueError: if the genome's policy is that of another network; cut up wrongly, it would still run.
    """
    if genome.policy.shape != (network.num_params,):
        raise ValueError(f"genome must hold the policy's {network.num_params} parameters, got {genome.policy.shape}")
    if network.initial_state is not None:
        return lambda carry, x: network.apply(genome.policy, (carry, x))
    if network.topology is not None:
        return lambda carry, x: (carry, network.apply(genome.policy, x, genome.topology))
    return lambda carry, x: (carry, network.apply(genome.policy, x))


def check_fit(network: Network, name: str, shape: tuple[int, ...], outputs: int, dtype: Any = jnp.float32) -> None:
    """Sees whether a policy fits an environment, without computing anything.

    Args:
        network: the policy.
        name: of the environment, for the message.
        shape: of an observation.
        outputs: numbers that an action needs.
        dtype: of an observation.

    Raises:
        ValueError: if it does not.
    """
    nothing, layers = jnp.zeros(0), network.topology.max_layers if network.topology else 0
    genome = Genome(jnp.zeros(network.num_params), nothing, nothing, jnp.zeros(layers, jnp.int32), jnp.float32(0))

    def act(genome: Genome, observation: jax.Array) -> jax.Array:
        return policy_step(network, genome)(network.initial_state, observation)[1]

    try:
        output = jax.eval_shape(act, genome, jax.ShapeDtypeStruct(shape, dtype))
    except Exception as error:
        raise ValueError(f"policy cannot take the observations of {name}, which have shape {shape}") from error
    if output.shape != (outputs,):
        raise ValueError(f"policy must give {outputs} outputs for {name}, got shape {output.shape}")


def _positive(**sizes: int) -> None:
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def from_flax(module: nn.Module, sample_input: Any, initial_state: Any = None) -> Network:
    """Any flax.linen module as a network of flat parameters.

    Args:
        module: a module without mutable collections (no batch norm) and without random streams (no dropout).
        sample_input: an input of the right shape and dtype, e.g. ``jnp.zeros(4)``; the module must map one unbatched
            observation to one output. For a module with memory: the input alone, without the state.
        initial_state: state that a module with memory starts an episode with. Its ``__call__`` then takes
            ``(state, x)`` and returns ``(state, y)``.

    Raises:
        ValueError: if the module has variables other than parameters.
    """
    inputs = sample_input if initial_state is None else (initial_state, sample_input)
    variables = jax.eval_shape(module.init, jax.random.key(0), inputs)
    if extra := sorted(set(variables) - {"params"}):
        raise ValueError(f"module: variable collections other than 'params' are not supported, got {extra}")
    template = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), variables.get("params", {}))
    flat, unravel = ravel_pytree(template)

    def init(key: jax.Array) -> jax.Array:
        return ravel_pytree(module.init(key, inputs).get("params", {}))[0]

    def apply(params: jax.Array, x: Any) -> Any:
        return module.apply({"params": unravel(params)}, x)

    def activations(params: jax.Array, x: Any) -> Any:
        if hasattr(module, "activations"):
            return module.apply({"params": unravel(params)}, x, method="activations")

        def inner(part: nn.Module, method: str) -> bool:
            return method == "__call__" and part.path != ()

        answer: Any = module.apply({"params": unravel(params)}, x, capture_intermediates=inner)
        output, seen = answer
        return (*jax.tree.leaves(seen.get("intermediates", {})), output if initial_state is None else output[1])

    return Network(flat.size, init, apply, activations, initial_state=initial_state)


def _uniform(
    network: Network, module: nn.Module, inputs: Any, conv: float = 1, dense: float = 1, bias: float = 1
) -> Network:
    """`network` with parameters drawn from U(-1, 1) / sqrt(fan_in), times factors.

    Weights and biases alike, in one draw: XLA takes seconds to compile a dozen.

    Args:
        network: of which everything else is kept.
        module: dense and convolutional layers.
        inputs: a sample.
        conv: factor on convolutional layers.
        dense: factor on dense layers.
        bias: further factor on biases.
    """
    layers = jax.eval_shape(module.init, jax.random.key(0), inputs)["params"]
    fan_in = [np.full(x.size, np.prod(layer["kernel"].shape[:-1])) for layer, x in _leaves(layers)]
    factor = [
        np.full(x.size, (dense if layer["kernel"].ndim == 2 else conv) * (bias if x.ndim == 1 else 1))
        for layer, x in _leaves(layers)
    ]
    bound = np.concatenate(fan_in).astype(np.float32) ** -0.5 * np.concatenate(factor).astype(np.float32)
    return network._replace(init=lambda key: jax.random.uniform(key, bound.shape, minval=-1.0) * bound)


def _leaves(layers: dict) -> list[tuple[dict, Any]]:
    """Every array in the order of the flat parameters, with the layer that it belongs to."""
    return [(layers[name], x) for name in sorted(layers) for x in jax.tree.leaves(layers[name])]


class MLP(nn.Module):
    """Dense layers with an activation between them; linear output."""

    sizes: tuple[int, ...]  # inputs, hidden layers …, outputs
    activation: Activation = nn.tanh
    bias: bool = True

    @nn.compact
    def activations(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """Outputs of every layer, the network's own output last."""
        outputs = []
        for i, features in enumerate(self.sizes[1:]):
            x = nn.Dense(features, self.bias, name=f"dense_{i}")(x)
            if i < len(self.sizes) - 2:
                x = self.activation(x)
            outputs.append(x)
        return tuple(outputs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Output f32[act] for an observation f32[obs]."""
        return self.activations(x)[-1]


class CNN(nn.Module):
    """The original's driver: four stride-2 convolutions (3→8→16→16→8, ReLU), then 288→32 (tanh)→act (tanh).

    It sees every channel of every image with mean 0 and variance 1; see `cnn`.
    """

    act: int

    @nn.compact
    def activations(self, image: jax.Array) -> tuple[jax.Array, ...]:
        """Outputs of every layer, the network's own output last."""
        x = image.astype(jnp.float32)
        # Rows first: a CPU adds rows of pixels as vectors, single pixels it does not.
        mean, square = (jnp.mean(jnp.mean(y, axis=0), axis=0) for y in (x, x**2))
        x = (x - mean) / (jnp.sqrt(jnp.maximum(square - mean**2, 0.0)) + 1)
        outputs = []
        for i, features in enumerate((8, 16, 16, 8)):
            x = nn.relu(nn.Conv(features, (4, 4), 2, 1, name=f"conv_{i}")(x))
            outputs.append(x)
        x = x.reshape(-1)
        for i, features in enumerate((32, self.act)):
            x = nn.tanh(nn.Dense(features, name=f"dense_{i}")(x))
            outputs.append(x)
        return tuple(outputs)

    def __call__(self, image: jax.Array) -> jax.Array:
        """Output f32[act] for an image u8[height, width, channels] of 0 to 255."""
        return self.activations(image)[-1]


class Recurrent(nn.Module):
    """An Elman network: h' = tanh(W x + U h + b), linear read-out."""

    act: int
    hidden: int

    @nn.compact
    def activations(self, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        """Hidden state f32[hidden] and output f32[act]."""
        state, x = inputs
        x = jnp.concatenate([x, state])
        state = nn.tanh(nn.Dense(self.hidden, name="dense_0")(x))
        return state, nn.Dense(self.act, name="dense_1")(state)

    def __call__(self, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        """New hidden state and output."""
        return self.activations(inputs)


def mlp(
    obs: int, act: int, hidden: Sequence[int] = (64, 64), activation: Activation = nn.tanh, bias: bool = True
) -> Network:
    """A multi-layer perceptron obs → hidden … → act, linear output.

    Raises:
        ValueError: if a size is not a whole number of at least 1.
    """
    for width in hidden:
        _positive(hidden=width)
    _positive(obs=obs, act=act)
    module, x = MLP((obs, *hidden, act), activation, bias), jnp.zeros(obs)
    return _uniform(from_flax(module, x), module, x)


def cnn(act: int = 3, image: tuple[int, int, int] = (96, 96, 3)) -> Network:
    """The pixel policy of the original program; 17,971 parameters at its defaults (CarRacing-v3).

    Unlike the original's, it starts with open eyes. Each channel of an image is standardised (less its mean, over its
    standard deviation + 1, in units of 255ths); weights are uniform of variance 2 / fan_in before a ReLU (He et al.
    2015, arXiv:1502.01852) and 1 / fan_in before a tanh, biases 0. With an image / 255 and U(-1, 1) / sqrt(fan_in),
    outputs of a fresh network have a std of 0.0007 over the frames of a drive, 0.14 with these; such drivers evolve to
    turn in circles, blindly.

    Args:
        act: number of outputs, each in [-1, 1].
        image: height, width and channels of the observation, u8.

    Raises:
        ValueError: if a size is not a whole number of at least 1, or the image is smaller than 16 pixels.
    """
    _positive(act=act, height=image[0], width=image[1], channels=image[2])
    if min(image[:2]) < 16:
        raise ValueError(f"image must measure at least 16 x 16 pixels, got {image}")
    module, x = CNN(act), jnp.zeros(image, jnp.uint8)
    return _uniform(from_flax(module, x), module, x, conv=6**0.5, dense=3**0.5, bias=0)


def recurrent(obs: int, act: int, hidden: int = 32) -> Network:
    """A network with memory: its hidden state f32[hidden] starts at zero and is carried through an episode.

    Raises:
        ValueError: if a size is not a whole number of at least 1.
    """
    _positive(obs=obs, act=act, hidden=hidden)
    module, x, state = Recurrent(act, hidden), jnp.zeros(obs), jnp.zeros(hidden)
    return _uniform(from_flax(module, x, state), module, (state, x))


def flexible_mlp(
    obs: int,
    act: int,
    max_layers: int = 2,
    max_width: int = 64,
    initial_layers: Sequence[int] = (1, 2),
    initial_widths: Sequence[int] = (32, 48, 64),
) -> Network:
    """A perceptron (tanh, linear output) whose layers and neurons evolve, at static shapes.

    Every layer there is room for costs time, used or not. The original program allows 5 layers of 256; its champions
    never passed 2 layers of 64, which is the default.

    Args:
        obs: number of inputs.
        act: number of outputs.
        max_layers: most hidden layers.
        max_width: most neurons in a hidden layer, at least 8.
        initial_layers: numbers of hidden layers that the first networks are drawn from, uniformly.
        initial_widths: widths of a layer that the first networks are drawn from, uniformly.

    Raises:
        ValueError: if a size is not a whole number of at least 1, or a choice exceeds the room.
    """
    _positive(obs=obs, act=act, max_layers=max_layers, max_width=max_width)
    if max_width < structure.MIN_WIDTH:
        raise ValueError(f"max_width must be at least {structure.MIN_WIDTH}, got {max_width}")
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
        return jax.random.uniform(key, (room.num_params,), minval=-1.0) * inputs.astype(np.float32) ** -0.5

    def activations(params: jax.Array, x: jax.Array, topology: jax.Array) -> tuple[jax.Array, ...]:
        layers = structure.split(room, params)
        x = jnp.tanh(x @ layers.w_in + layers.b_in)
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
    return Network(room.num_params, init, apply, activations, topology=shape)
