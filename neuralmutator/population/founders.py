"""How far mutators have come from the first ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Genome, Info, default_block_size, in_blocks
from neuralmutator.core.spreading import everywhere
from neuralmutator.population import metrics
from neuralmutator.population.types import Evolution, Generation


class Founders(NamedTuple):
    """State of an evolution that knows its founders."""

    inner: Any  # state of the evolution within
    mutators: jax.Array  # f32[N, M] mutators of generation 0
    founder: jax.Array  # i32[N] the founder that each member descends from in the line of first parents

    @property
    def population(self) -> Genome:
        """The population, not evaluated yet."""
        return self.inner.population

    @property
    def births(self) -> jax.Array:
        """Birth numbers of the population, i32[N]."""
        return self.inner.births

    @property
    def generation(self) -> jax.Array:
        """Generations so far, i32[]."""
        return self.inner.generation


def track_founders(evolution: Evolution) -> Evolution:
    """Wraps an evolution so that it measures how far mutators drift from those of their founders.

    It draws nothing, so the evolution within is the same, bit for bit. Metrics: ``mutator_drift_mean`` and
    ``mutator_drift_max``, the Euclidean distances of the evaluated members' mutators from their founders', over the
    members whose fitness and parameters are finite; NaN where there is none.

    Args:
        evolution: what to wrap.
    """

    def init(key: jax.Array) -> Founders:
        state = evolution.init(key)
        mutators = state.population.mutator
        return Founders(state, mutators, jnp.arange(mutators.shape[0], dtype=jnp.int32))

    def update(old: Founders, state: Any, generation: Generation) -> tuple[Founders, Generation]:
        new = old._replace(inner=state, founder=old.founder[generation.parents[:, 0]])
        return new, metrics.add(generation, _drift(old, generation.fitness))

    def step(key: jax.Array, state: Founders) -> tuple[Founders, Generation]:
        return update(state, *evolution.step(key, state.inner))

    def tell(
        key: jax.Array, state: Founders, fitness: jax.Array, info: Info | None = None
    ) -> tuple[Founders, Generation]:
        return update(state, *evolution.tell(key, state.inner, fitness, info))

    return Evolution(
        init,
        step,
        ask=lambda key, state: evolution.ask(key, state.inner),
        tell=tell,
        best=lambda state: evolution.best(state.inner),
    )


def _drift(state: Founders, fitness: jax.Array) -> Info:
    mutators, finite = state.population.mutator, metrics.are_finite(state.population, fitness)

    def distance(mutator: jax.Array, first: jax.Array) -> jax.Array:
        return jnp.linalg.norm(mutator - first)

    drift = in_blocks(distance, default_block_size(), mutators, lookups=[(state.mutators, state.founder)])
    drift = everywhere(drift)
    largest = jnp.max(jnp.where(finite, drift, 0.0))
    return {
        "mutator_drift_mean": metrics.mean(drift, finite),
        "mutator_drift_max": jnp.where(jnp.any(finite), largest, jnp.nan),
    }
