"""A network as a pure function of flat parameters, so that a genome can hold any network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core.genome import Genome
from neuralmutator.networks.structure import Topology

Activation = Callable[[jax.Array], jax.Array]


class Network(NamedTuple):
    """A network of flat parameters.

    `init` gives the flat vector in the dtype of the network's parameters. `apply` and `activations` take one input, not
    a batch of them (``vmap`` does that), and have one call convention:

    ==============================  =======================================  ================
    kind of network                 call                                     gives
    ==============================  =======================================  ================
    without memory                  ``apply(params, x)``                     ``y``
    with memory                     ``apply(params, (state, x))``            ``(state, y)``
    of variable structure           ``apply(params, x, topology)``           ``y``
    ==============================  =======================================  ================

    A network with memory has an `initial_state`, one of variable structure a `topology`. `policy_step` and
    `layer_outputs` hide the differences.
    """

    num_params: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> [P]
    apply: Callable[..., Any]  # (params [P], x) -> y
    activations: Callable[..., tuple[jax.Array, ...]]  # as apply, gives the output of every layer; for pictures
    topology: Topology | None = None
    initial_state: Any = None
    sizes: tuple[int, ...] = ()  # lengths of the arrays that the parameters are made of, in their order
    moments: int = 0  # entries of an observation whose mean and std end the parameters; see `normalised`


def groups_of(network: Network) -> np.ndarray:
    """The array that each parameter belongs to (a layer's weights or its biases), i64[P] from 0.

    Raises:
        ValueError: if the network does not say.
    """
    if sum(network.sizes) != network.num_params:
        raise ValueError(f"network must say the sizes of its {network.num_params} parameters' arrays")
    return np.repeat(np.arange(len(network.sizes)), network.sizes)


def policy_step(network: Network, genome: Genome) -> Callable[[Any, jax.Array], tuple[Any, jax.Array]]:
    """The policy of one genome as ``(carry, observation) -> (carry, output)``, whatever its kind.

    The carry starts as ``network.initial_state``, which is None for a network without memory.

    Raises:
        ValueError: if the genome's policy has another length than the network.
    """
    call = _caller(network, genome)
    if network.initial_state is not None:
        return lambda carry, x: call(network.apply, carry, x)
    return lambda carry, x: (carry, call(network.apply, carry, x))


def layer_outputs(network: Network, genome: Genome) -> Callable[[Any, jax.Array], tuple[jax.Array, ...]]:
    """What every layer of one genome's policy gives, as ``(carry, observation) -> (layer, …, output)``.

    Raises:
        ValueError: if the genome's policy has another length than the network.
    """
    call = _caller(network, genome)
    return lambda carry, x: call(network.activations, carry, x)


def _caller(network: Network, genome: Genome) -> Callable[[Callable[..., Any], Any, jax.Array], Any]:
    """``(function, carry, x) -> function(params, …)`` by the convention of the network's kind."""
    if genome.policy.shape != (network.num_params,):
        raise ValueError(f"genome must hold the policy's {network.num_params} parameters, got {genome.policy.shape}")
    if network.initial_state is not None:
        return lambda function, carry, x: function(genome.policy, (carry, x))
    if network.topology is not None:
        return lambda function, carry, x: function(genome.policy, x, genome.topology)
    return lambda function, carry, x: function(genome.policy, x)


def check_fit(network: Network, name: str, shape: tuple[int, ...], outputs: int, dtype: Any = jnp.float32) -> None:
    """Checks that a policy fits an environment, without computing anything.

    Args:
        network: the policy.
        name: name of the environment, for the message.
        shape: shape of an observation.
        outputs: numbers that an action needs.
        dtype: dtype of an observation.

    Raises:
        ValueError: if the policy cannot take the observation, gives another number of outputs, or returns a memory of
            another structure than it starts with.
    """
    try:
        carry, output = jax.eval_shape(*_one_call(network), jax.ShapeDtypeStruct(shape, dtype))
    except Exception as error:
        raise ValueError(f"policy cannot take the observations of {name}, which have shape {shape}") from error
    if getattr(output, "shape", None) != (outputs,):
        raise ValueError(f"policy must give {outputs} outputs for {name}, got shape {getattr(output, 'shape', output)}")
    before, after = (
        jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x).name), memory)
        for memory in (network.initial_state, carry)
    )
    if before != after:
        raise ValueError(f"policy must return a memory like its initial_state {before}, got {after}")


def _one_call(network: Network) -> tuple[Callable[[Genome, jax.Array], tuple[Any, jax.Array]], Genome]:
    """A function of (genome, observation), and the shapes of a genome."""
    layers = network.topology.max_layers if network.topology else 0

    def first(key: jax.Array) -> Genome:
        nothing = jnp.zeros(0, jnp.float32)
        return Genome(network.init(key), nothing, nothing, jnp.zeros(layers, jnp.int32), jnp.float32(0))

    genome = jax.eval_shape(first, jax.random.key(0))
    return lambda genome, x: policy_step(network, genome)(network.initial_state, x), genome


def convolves(network: Network, shape: tuple[int, ...], dtype: Any) -> bool:
    """Whether a policy contains a convolution; it must fit observations of that shape and dtype."""
    call, genome = _one_call(network)
    program = jax.make_jaxpr(call)(genome, jax.ShapeDtypeStruct(shape, dtype))
    return "conv_general_dilated" in str(program)
