"""A heritable mutation strength, mutated log-normally: evolution strategies' self-adaptation."""

from typing import Any

import jax
import jax.numpy as jnp

from neuralmutator.core import check, random
from neuralmutator.core.genome import Genome, cast
from neuralmutator.mutators.base import Mutator, Rewriting, base_of


def self_adaptive(std: float = 0.05, learning_rate: float = 0.3) -> Mutator:
    """One gene, the logarithm of a step size; the child's gene is mutated first and then used (Schwefel 1981).

        gene' = gene + learning_rate · N(0, 1);   child = base + std · exp(gene') · N(0, I)

    Args:
        std: step size of a fresh genome, whose gene is 0; may be traced.
        learning_rate: std of the gene's own mutation; may be traced.

    Raises:
        ValueError: if an argument is negative or not finite.
    """
    check.number(0, std=std, learning_rate=learning_rate)

    def mutate(key: jax.Array, genome: Genome, partner: Genome | None = None, crossing: Any = True) -> Rewriting:
        base = base_of(genome, partner, crossing)
        dtype = jnp.result_type(jnp.float32, base.policy)
        of_policy, of_compat, of_gene = random.normals(key, [base.policy.size, base.compat.size, 1], dtype)
        gene = base.mutator + learning_rate * of_gene
        step = std * jnp.exp(gene)
        policy, compat = base.policy + step * of_policy, base.compat + step * of_compat
        child = base._replace(policy=policy, mutator=gene, compat=compat)
        return Rewriting(base, cast(child, base))

    return Mutator(
        1, lambda key: jnp.zeros(1, jnp.float32), mutate, lambda params: {"step_size": std * jnp.exp(params[0])}
    )
