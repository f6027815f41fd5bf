"""The genome: flat parameters of a policy, of the mutator that rewrites all of it, and of a compatibility net."""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")


class Genome(NamedTuple):
    """One genome, or with a leading axis ``[N]`` on every field a population of them.

    A policy may have parameters of another floating dtype (bf16, f16; f64 where JAX is told so); children keep it.
    """

    policy: jax.Array  # f32[P] parameters of the policy; inactive ones of a flexible policy are zero
    mutator: jax.Array  # f32[M] parameters of the mutator
    compat: jax.Array  # f32[C] parameters of the compatibility net, C = 0 without speciation
    topology: jax.Array  # i32[L] active width of each hidden layer, 0 = absent; L = 0 when the policy is fixed
    structural_rate: jax.Array  # f32[] probability of a structural mutation


def flatten(genome: Genome) -> jax.Array:
    """All evolved parameters as one vector f32[P + M + C], in the order policy, mutator, compat.

    Parameters of lower precision (bf16, f16) become f32; f64 stays f64, and then the whole vector is.
    """
    parts = genome.policy, genome.mutator, genome.compat
    dtype = jnp.result_type(jnp.float32, *parts)
    return jnp.concatenate([x.astype(dtype) for x in parts])


def unflatten(flat: jax.Array, genome: Genome) -> Genome:
    """`genome` with its parameters replaced by those of the vector `flat` [P + M + C]; inverse of `flatten`.

    Every part keeps the dtype that it has in `genome`.
    """
    ends = (genome.policy.size, genome.policy.size + genome.mutator.size)
    policy, mutator, compat = jnp.split(flat, ends)
    return genome._replace(
        policy=policy.astype(genome.policy.dtype),
        mutator=mutator.astype(genome.mutator.dtype),
        compat=compat.astype(genome.compat.dtype),
    )


def cast(genome: Genome, like: Genome) -> Genome:
    """`genome` with the dtypes that `like` has, field by field."""
    return jax.tree.map(lambda x, y: jnp.asarray(x, y.dtype), genome, like)


def is_finite(genome: Genome) -> jax.Array:
    """Whether all parameters of a genome are finite, bool[]; of a population, bool[N]."""
    parts = genome.policy, genome.mutator, genome.compat
    # Nothing times what is not finite is NaN. XLA would keep a bool of every parameter for `all(isfinite(x))`.
    policy, mutator, compat = (jnp.sum(0 * x, axis=-1) == 0 for x in parts)
    return policy & mutator & compat


def chunks(flat: jax.Array, chunk_size: int) -> jax.Array:
    """Cuts f32[n] into f32[ceil(n / chunk_size), chunk_size], zero-padded at the end."""
    return jnp.pad(flat, (0, -flat.size % chunk_size)).reshape(-1, chunk_size)


def take(population: T, index: jax.Array) -> T:
    """The members of a population at the indices i32[...]; any pytree with a leading axis will do."""
    return jax.tree.map(lambda x: x[index], population)
