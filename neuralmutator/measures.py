"""Three numbers of every substrate of replication; any one alone can be gamed.

*Fidelity* without *heredity* is cheap: where every start ends in the same network, all copies are perfect and nothing
is inherited. Heredity without *variation* cannot evolve.
"""

import jax
import jax.numpy as jnp


def fidelity(parents: jax.Array, children: jax.Array) -> jax.Array:
    """Share of a parent's size that its copy explains, f32[N]: 1 - |child - parent|² / |parent|²."""
    return 1 - jnp.sum((children - parents) ** 2, axis=1) / jnp.sum(parents**2, axis=1)


def heredity(parents: jax.Array, children: jax.Array) -> jax.Array:
    """Share of children f32[N, n] whose nearest network among the parents f32[N, n] is their own, f32[]."""
    products = children @ parents.T
    distances = jnp.sum(parents**2, axis=1) - 2 * products
    return jnp.mean(jnp.argmin(distances, axis=1) == jnp.arange(parents.shape[0]), dtype=jnp.float32)


def variation(siblings: jax.Array) -> jax.Array:
    """Spread of siblings f32[N, n] around their mean, relative to the mean's norm, f32[]."""
    mean = jnp.mean(siblings, axis=0)
    return jnp.sqrt(jnp.mean(jnp.sum((siblings - mean) ** 2, axis=1))) / jnp.linalg.norm(mean)
