"""Observations normalised by running moments, which live in the state of an evolution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import PyTree
from neuralmutator.core.genome import Genome
from neuralmutator.networks import Network
from neuralmutator.networks.normalisation import LEAST, MOMENTS
from neuralmutator.population.types import Evolution, Generation, with_population


class Moments(NamedTuple):
    """Running moments of all observations so far."""

    number: jax.Array  # f32[] of them
    mean: jax.Array  # f32[obs]
    m2: jax.Array  # f32[obs] sum of squared distances from the mean

    @property
    def std(self) -> jax.Array:
        """Standard deviation f32[obs]; 1 before anything was observed."""
        return jnp.where(self.number > 0, jnp.sqrt(self.m2 / jnp.maximum(self.number, 1.0)), 1.0)


class Normalised(NamedTuple):
    """State of an evolution whose observations are normalised."""

    inner: Any  # state of the evolution within
    moments: Moments

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


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of two sets of observations together (Chan, Golub & LeVeque 1983); either may be empty."""
    count = a.number + b.number
    share, distance = b.number / jnp.maximum(count, 1.0), b.mean - a.mean
    return Moments(count, a.mean + share * distance, a.m2 + b.m2 + share * a.number * distance**2)


def moments_of(count: jax.Array, total: jax.Array, square: jax.Array) -> Moments:
    """Moments from a number of observations, their sums and their sums of squares f32[obs].

    A sum that is not finite, as that of a simulation that has exploded, makes the moments those of an empty set.
    """
    sound = jnp.all(jnp.isfinite(total) & jnp.isfinite(square))
    count = jnp.where(sound, count, 0.0)
    mean = jnp.where(sound, total / jnp.maximum(count, 1.0), 0.0)
    return Moments(count, mean, jnp.where(sound, jnp.maximum(square - count * mean**2, 0.0), 0.0))


def normalise_observations(evolution: Evolution, policy: Network) -> Evolution:
    """Wraps an evolution so that its policies see observations of mean 0 and standard deviation 1.

    The state holds running moments of all observations that the population has acted on, and every member of the next
    population carries their mean and standard deviation as its last parameters. Whatever mutation has made of those
    is written over. A champion thus acts as it was evaluated, wherever it is used. The first generation sees
    observations as they are.

    It writes into the state within: into its population. Wrap the evolution first with this
    and then with others, such as `hall_of_fame`, whose members then keep the moments that they were evaluated with.

    Args:
        evolution: what to wrap. Its fitness must report the moments of observations, as `fitness.episodes` does.
        policy: the policy that it evolves, made by `networks.normalised`.

    Raises:
        ValueError: if the policy is not normalised.
    """
    if not policy.moments:
        raise ValueError("policy must be made by networks.normalised, got one that is not")

    def written(state: PyTree, moments: Moments) -> PyTree:
        """The state of the evolution within, whose members carry the moments."""
        population = state.population
        params = population.policy
        ends = jnp.concatenate([moments.mean, jnp.maximum(moments.std, LEAST)]).astype(params.dtype)
        params = params.at[:, policy.num_params - ends.size :].set(ends)
        return with_population(state, population._replace(policy=params))

    def init(key: jax.Array) -> Normalised:
        nothing = jnp.zeros(policy.moments, jnp.float32)
        moments = Moments(jnp.float32(0), nothing, nothing)
        return Normalised(written(evolution.init(key), moments), moments)

    def update(old: Normalised, state: PyTree, generation: Generation) -> tuple[Normalised, Generation]:
        metrics = dict(generation.metrics)
        if missing := [name for name in MOMENTS if name not in metrics]:
            raise ValueError(
                f"fitness must report {', '.join(missing)}, as fitness.episodes of a normalised policy does"
            )
        moments = merge(old.moments, moments_of(*(metrics.pop(name) for name in MOMENTS)))
        return Normalised(written(state, moments), moments), generation._replace(metrics=metrics)

    def step(key: jax.Array, state: Normalised) -> tuple[Normalised, Generation]:
        return update(state, *evolution.step(key, state.inner))

    def tell(
        key: jax.Array, state: Normalised, values: jax.Array, info: dict[str, jax.Array] | None = None
    ) -> tuple[Normalised, Generation]:
        return update(state, *evolution.tell(key, state.inner, values, info))

    return Evolution(
        init,
        step,
        ask=lambda key, state: evolution.ask(key, state.inner),
        tell=tell,
        best=lambda state: evolution.best(state.inner),
    )
