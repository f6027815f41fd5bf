"""Policies whose outputs come in another order: the same network that has to act with its hands crossed."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check
from neuralmutator.networks.network import Network


def permuted(policy: Network, order: Sequence[int] | jax.Array) -> Network:
    """A policy whose output i is output ``order[i]`` of another; the parameters are the same.

    With `fitness.switching` it makes a task in which the meaning of the actions changes.

    Args:
        policy: any policy.
        order: a permutation of its outputs, i32[act]; may be traced.

    Raises:
        ValueError: if the order is not a permutation.
    """
    if not check.is_traced(order):
        found = np.asarray(order)
        if found.ndim != 1 or sorted(found.tolist()) != list(range(found.size)):
            raise ValueError(f"order must be a permutation of 0 to {found.size - 1}, got {order!r}")
    index = jnp.asarray(order)

    def reordered(outputs: jax.Array) -> jax.Array:
        return outputs[index]

    if policy.initial_state is None:
        return policy._replace(apply=lambda *inputs: reordered(policy.apply(*inputs)))

    def remember(*inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        memory, outputs = policy.apply(*inputs)
        return memory, reordered(outputs)

    return policy._replace(apply=remember)
