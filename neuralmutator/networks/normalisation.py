"""Policies that see observations with mean 0 and standard deviation 1."""

from typing import Any

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.networks.network import Network
from neuralmutator.networks.structure import Topology

MOMENTS = ("observation_count", "observation_sum", "observation_square")  # what an evaluation reports of them
LIMIT = 10.0  # standardised observations are clipped to [-LIMIT, LIMIT] (VecNormalize of Stable-Baselines3)
LEAST = 1e-6  # least standard deviation that an observation is divided by (brax)


def normalised(policy: Network, observation_size: int) -> Network:
    """A policy that sees ``clip((observation - mean) / std, -10, 10)``.

    The means and standard deviations are its last parameters: first those of `policy`, then the means, then the
    standard deviations, which start as 0 and 1. They are part of a genome, so a champion carries what it was evaluated
    with. `population.normalise_observations` keeps them up to date; without it they evolve like any other parameter.

    Args:
        policy: a policy of any kind that takes observations f32[observation_size].
        observation_size: length of an observation.

    Raises:
        ValueError: if the size is not a whole number of at least 1, or `policy` is normalised already.
    """
    check.whole(1, observation_size=observation_size)
    if policy.moments:
        raise ValueError("policy must not be normalised already")
    own = policy.num_params

    def see(params: jax.Array, x: jax.Array) -> jax.Array:
        mean, std = params[own : own + observation_size], params[own + observation_size :]
        return jnp.clip((x - mean) / jnp.maximum(std, LEAST), -LIMIT, LIMIT)

    def inputs(params: jax.Array, x: Any) -> Any:
        return see(params, x) if policy.initial_state is None else (x[0], see(params, x[1]))

    def init(key: jax.Array) -> jax.Array:
        params = policy.init(key)
        ends = jnp.repeat(jnp.arange(2, dtype=params.dtype), observation_size)
        return jnp.concatenate([params, ends])

    return Network(
        num_params=own + 2 * observation_size,
        init=init,
        apply=lambda params, x, *topology: policy.apply(params[:own], inputs(params, x), *topology),
        activations=lambda params, x, *topology: policy.activations(params[:own], inputs(params, x), *topology),
        topology=None if policy.topology is None else _longer(policy.topology, own, 2 * observation_size),
        initial_state=policy.initial_state,
        sizes=(*policy.sizes, observation_size, observation_size) if policy.sizes else (),
        moments=observation_size,
    )


def _longer(topology: Topology, own: int, extra: int) -> Topology:
    """A topology of parameters that `extra` active ones follow, which no structural mutation touches."""

    def mask(widths: jax.Array) -> jax.Array:
        return jnp.concatenate([topology.mask(widths), jnp.ones(extra, bool)])

    def mutate(key: jax.Array, params: jax.Array, widths: jax.Array) -> tuple[jax.Array, jax.Array]:
        changed, widths = topology.mutate(key, params[:own], widths)
        return jnp.concatenate([changed, params[own:]]), widths

    return topology._replace(mask=mask, mutate=mutate)
