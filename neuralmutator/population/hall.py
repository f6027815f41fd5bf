"""An honest hall of fame: champions are evaluated again, on fresh draws, before and after they are kept."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness, evaluate
from neuralmutator.core.genome import Genome, take
from neuralmutator.population.generation import Evolution, Generation

SIGNATURE = 64  # policy parameters that two members are told apart by
PRIOR = 4.0  # evaluations' worth of belief that a member is as good as the mean of the hall


class Hall(NamedTuple):
    """State of an evolution with a hall of fame of K members."""

    evolution: Any  # state of the evolution within
    members: Genome  # [K]
    total: jax.Array  # f32[K] sum of each member's evaluations since it entered
    evaluations: jax.Array  # f32[K] number of them; 0 for the candidate that entered last

    @property
    def population(self) -> Genome:
        """The population, not evaluated yet."""
        return self.evolution.population

    @property
    def estimates(self) -> jax.Array:
        """What each member is worth, f32[K]: its mean, shrunk towards the mean of the hall; -inf if unevaluated."""
        sound = jnp.isfinite(self.total)
        everyone = jnp.sum(jnp.where(sound, self.total, 0.0)) / jnp.maximum(jnp.sum(sound * self.evaluations), 1.0)
        shrunk = (self.total + PRIOR * everyone) / (self.evaluations + PRIOR)
        return jnp.where(sound & (self.evaluations > 0), shrunk, -jnp.inf)

    @property
    def champion(self) -> Genome:
        """The member with the highest estimate; of equal ones the most tested."""
        return take(self.members, jnp.lexsort((self.evaluations, self.estimates))[-1])

    @property
    def champion_fitness(self) -> jax.Array:
        """The champion's estimate, f32[]; the largest of K, so still optimistic: only fresh episodes are fair."""
        return jnp.max(self.estimates)


def hall_of_fame(evolution: Evolution, fitness: Fitness, size: int = 8) -> Evolution:
    """Wraps an evolution so that ``state.champion`` is what re-evaluations say, not one lucky evaluation.

    Each generation all members of the hall are evaluated once more with fresh draws, each with its own; the worst then
    makes room for the best newcomer of the generation, whose own evaluation (the luckiest of many) is forgotten.

    Args:
        evolution: what to wrap; its state must have a `population`.
        fitness: the fitness to re-evaluate with.
        size: number of members K, at least 2.

    Raises:
        ValueError: if `size` is not a whole number of at least 2.
    """
    if not isinstance(size, int) or size < 2:
        raise ValueError(f"hall size must be a whole number of at least 2, got {size!r}")

    def init(key: jax.Array) -> Hall:
        state = evolution.init(key)
        return Hall(
            state,
            jax.tree.map(lambda x: jnp.repeat(x[:1], size, axis=0), state.population),
            jnp.zeros(size),
            jnp.zeros(size),
        )

    def update(key: jax.Array, old: Hall, state: Any, generation: Generation) -> tuple[Hall, Generation]:
        values, _ = evaluate(fitness, jax.random.split(key, size), old.members)
        hall = Hall(state, old.members, old.total + jnp.where(jnp.isnan(values), -jnp.inf, values), old.evaluations + 1)
        # A rewriting changes every weight, so that a few of them tell whether a member is in the hall already.
        known = jnp.any(
            jnp.all(old.population.policy[:, None, :SIGNATURE] == hall.members.policy[:, :SIGNATURE], axis=2), axis=1
        )
        chances = jnp.where(jnp.isfinite(generation.fitness) & ~known, generation.fitness, -jnp.inf)
        best = jnp.argmax(chances)
        candidate = take(old.population, best)
        # The worst leaves; of equal ones the least tested.
        worst = jnp.lexsort((hall.evaluations, hall.estimates))[0]
        leaves = (jnp.arange(size) == worst) & jnp.isfinite(chances[best])
        metrics = generation.metrics | {"champion_fitness": hall.champion_fitness}
        hall = hall._replace(
            members=jax.tree.map(
                lambda old, new: jnp.where(leaves.reshape(-1, *[1] * new.ndim), new, old), hall.members, candidate
            ),
            total=jnp.where(leaves, 0.0, hall.total),
            evaluations=jnp.where(leaves, 0.0, hall.evaluations),
        )
        return hall, generation._replace(metrics=metrics)

    def step(key: jax.Array, hall: Hall) -> tuple[Hall, Generation]:
        key_step, key_hall = jax.random.split(key)
        return update(key_hall, hall, *evolution.step(key_step, hall.evolution))

    def tell(
        key: jax.Array, hall: Hall, values: jax.Array, info: dict[str, jax.Array] | None = None
    ) -> tuple[Hall, Generation]:
        key_tell, key_hall = jax.random.split(key)
        return update(key_hall, hall, *evolution.tell(key_tell, hall.evolution, values, info))

    return Evolution(
        init,
        step,
        ask=lambda key, hall: evolution.ask(key, hall.evolution),
        tell=tell,
        best=lambda hall: (hall.champion, hall.champion_fitness),
    )
