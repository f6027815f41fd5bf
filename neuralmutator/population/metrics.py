"""What a generation reports about itself."""

import jax
import jax.numpy as jnp

from neuralmutator.core import Genome, Info, is_finite
from neuralmutator.core.spreading import everywhere
from neuralmutator.population.speciation import Species
from neuralmutator.population.types import Generation


def add(generation: Generation, metrics: Info) -> Generation:
    """A generation with more metrics.

    Raises:
        ValueError: if a name is taken.
    """
    if clash := sorted(generation.metrics.keys() & metrics.keys()):
        raise ValueError(f"info of the fitness must not be named like a metric, got {', '.join(clash)}")
    return generation._replace(metrics=generation.metrics | metrics)


def are_finite(population: Genome, fitness: jax.Array) -> jax.Array:
    """Which members have a finite fitness and finite parameters, bool[N]."""
    return jnp.isfinite(fitness) & everywhere(is_finite(population))


def mean(values: jax.Array, counted: jax.Array) -> jax.Array:
    """Mean f32[] of the values [N] that are counted, bool[N]; of none NaN."""
    return jnp.sum(jnp.where(counted, values, 0.0)) / jnp.sum(counted)


def of_fitness(fitness: jax.Array, finite: jax.Array) -> Info:
    """Best, mean, worst and standard deviation of the finite fitness f32[N], NaN where there is none.

    Args:
        fitness: f32[N].
        finite: which members count, bool[N].
    """
    some = jnp.any(finite)
    average = mean(fitness, finite)
    return {
        "fitness_best": jnp.where(some, jnp.max(jnp.where(finite, fitness, -jnp.inf)), jnp.nan),
        "fitness_mean": average,
        "fitness_worst": jnp.where(some, jnp.min(jnp.where(finite, fitness, jnp.inf)), jnp.nan),
        "fitness_std": jnp.sqrt(mean((fitness - average) ** 2, finite)),
        "non_finite": jnp.sum(~finite),
    }


def of_species(species: Species) -> Info:
    """Number of species, and the entropy (in nats) of their shares of the population."""
    n = species.member_of.shape[0]
    shares = jnp.zeros(n, jnp.float32).at[species.member_of].add(1.0) / n
    return {
        "species": species.number,
        "species_entropy": -jnp.sum(jax.scipy.special.xlogy(shares, shares)),
    }


def of_births(errors: jax.Array, alone: jax.Array) -> Info:
    """Mean and least replication error of the children of one parent, NaN if there is none.

    Args:
        errors: f32[N], how far a mutator's rewriting of itself is from the parent's, before any decay.
        alone: which members are children of one parent, bool[N].
    """
    error = jnp.where(alone, errors, jnp.nan)
    return {"replication_error_mean": jnp.nanmean(error), "replication_error_best": jnp.nanmin(error)}


def of_topology(topology: jax.Array) -> Info:
    """Means of the numbers of hidden layers and neurons; nothing for policies of fixed structure.

    Args:
        topology: i32[N, L].
    """
    if topology.shape[1] == 0:
        return {}
    return {
        "layers_mean": jnp.mean(jnp.sum(topology > 0, axis=1), dtype=jnp.float32),
        "neurons_mean": jnp.mean(jnp.sum(topology, axis=1), dtype=jnp.float32),
    }
