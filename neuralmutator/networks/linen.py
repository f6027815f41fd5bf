"""Modules of flax.linen as networks of flat parameters: any of them, perceptrons, and one with memory."""

from collections.abc import Sequence
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check
from neuralmutator.networks.functions import from_functions
from neuralmutator.networks.network import Activation, Network
from neuralmutator.networks.products import product


def from_flax(module: nn.Module, sample_input: Any, initial_state: Any = None) -> Network:
    """A flax.linen module as a network of flat parameters; `from_nnx` takes those of flax.nnx.

    Parameters may have any floating-point dtype; see `from_functions`.

    Args:
        module: any module that has only parameters (no batch norm) and draws no random numbers when it is called (no
            active dropout). It maps one input, not a batch, to one output.
        sample_input: an input of the right shape and dtype, e.g. ``jnp.zeros(4)``. For a module with memory: the input
            alone, without the state.
        initial_state: state that a module with memory starts an episode with. Its ``__call__`` then takes
            ``(state, x)`` and returns ``(state, y)``.

    Raises:
        ValueError: if the module is not one of flax.linen, has variables other than parameters, draws random numbers,
            or has parameters that are not floating-point.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"module must be a flax.linen module (from_nnx takes flax.nnx's), got {type(module).__name__}")
    inputs = sample_input if initial_state is None else (initial_state, sample_input)
    variables = jax.eval_shape(module.init, jax.random.key(0), inputs)
    if extra := sorted(set(variables) - {"params"}):
        raise ValueError(f"module must have no variables but parameters (no batch norm), got {', '.join(extra)}")
    try:
        jax.eval_shape(module.apply, variables, inputs)
    except flax.errors.InvalidRngError as error:
        raise ValueError("module must draw no random numbers in a call (dropout: deterministic=True)") from error

    def activations(params: Any, x: Any) -> tuple[jax.Array, ...]:
        if hasattr(module, "activations"):
            layers: Any = module.apply({"params": params}, x, method="activations")
            return layers

        def inner(part: nn.Module, method: str) -> bool:
            return method == "__call__" and part.path != ()

        answer: Any = module.apply({"params": params}, x, capture_intermediates=inner)
        output, seen = answer
        return (*jax.tree.leaves(seen.get("intermediates", {})), output if initial_state is None else output[1])

    return from_functions(
        lambda key: module.init(key, inputs).get("params", {}),
        lambda params, x: module.apply({"params": params}, x),
        initial_state=initial_state,
        activations=activations,
    )


def uniform_start(
    network: Network, module: nn.Module, inputs: Any, conv: float = 1, dense: float = 1, bias: float = 1
) -> Network:
    """`network` with first parameters f32 drawn from U(-1, 1) / sqrt(fan_in), times factors.

    Weights and biases are one draw: XLA takes seconds to compile a dozen.

    Args:
        network: the network; only its `init` is replaced.
        module: its dense and convolutional layers.
        inputs: a sample input.
        conv: factor on convolutional layers.
        dense: factor on dense layers.
        bias: further factor on biases.
    """
    layers = jax.eval_shape(module.init, jax.random.key(0), inputs)["params"]
    fan_in = [np.full(x.size, np.prod(layer["kernel"].shape[:-1])) for _, layer, x in _leaves(layers)]
    factor = [
        np.full(x.size, (conv if name.startswith("conv") else dense) * (bias if x.ndim == 1 else 1))
        for name, _, x in _leaves(layers)
    ]
    bound = np.concatenate(fan_in).astype(np.float32) ** -0.5 * np.concatenate(factor).astype(np.float32)
    return network._replace(init=lambda key: jax.random.uniform(key, bound.shape, jnp.float32, minval=-1.0) * bound)


def _leaves(layers: dict) -> list[tuple[str, dict, Any]]:
    """Every array in the order of the flat parameters, with the name and the arrays of its layer."""
    return [(name, layers[name], x) for name in sorted(layers) for x in jax.tree.leaves(layers[name])]


def _dot_general(x: jax.Array, kernel: jax.Array, dimension_numbers: Any, **options: Any) -> jax.Array:
    """`lax.dot_general` as a dense layer asks for it, by `product` where that is what is meant."""
    if x.ndim == 1:
        return product(x, kernel)
    return jax.lax.dot_general(x, kernel, dimension_numbers, **options)


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
            x = nn.Dense(features, self.bias, dot_general=_dot_general, name=f"dense_{i}")(x)
            if i < len(self.sizes) - 2:
                x = self.activation(x)
            outputs.append(x)
        return tuple(outputs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Output f32[act] for an observation f32[obs]."""
        return self.activations(x)[-1]


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
    """A multi-layer perceptron obs → hidden … → act with linear output; parameters are f32.

    Raises:
        ValueError: if a size is not a whole number of at least 1.
    """
    for width in hidden:
        check.whole(1, hidden=width)
    check.whole(1, obs=obs, act=act)
    module, x = MLP((obs, *hidden, act), activation, bias), jnp.zeros(obs, jnp.float32)
    return uniform_start(from_flax(module, x), module, x)


def recurrent(obs: int, act: int, hidden: int = 32) -> Network:
    """A network with memory: its hidden state f32[hidden] starts at zero and is carried through an episode.

    Raises:
        ValueError: if a size is not a whole number of at least 1.
    """
    check.whole(1, obs=obs, act=act, hidden=hidden)
    module, x, state = Recurrent(act, hidden), jnp.zeros(obs, jnp.float32), jnp.zeros(hidden, jnp.float32)
    return uniform_start(from_flax(module, x, state), module, (state, x))
