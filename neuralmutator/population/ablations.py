"""What the heredity of mutators is worth: evolutions in which it is broken, everything else being equal."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Genome, Info, check
from neuralmutator.population.types import Evolution, Generation, with_population

Kind = Literal["shuffled", "frozen", "mean"]


class Ablated(NamedTuple):
    """State of an evolution in which mutators are not inherited as they should be."""

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


def ablated(evolution: Evolution, kind: Kind) -> Evolution:
    """Wraps an evolution so that the next population's mutators are replaced in every generation.

    ========== ==================================================================
    shuffled   every member gets the mutator of another, drawn by a permutation
    frozen     every member gets the mutator that its founder began with
    mean       every member gets the mean of all mutators
    ========== ==================================================================

    What comes out worse by that was worth inheriting. The evolution within sees the same keys as without. It writes
    into the state within: wrap the evolution first with this and then with others.

    Args:
        evolution: what to wrap.
        kind: how heredity is broken.

    Raises:
        ValueError: if the kind is none of these.
    """
    check.one_of(("shuffled", "frozen", "mean"), kind=kind)
    replace = {"shuffled": _shuffled, "frozen": _frozen, "mean": _mean}[kind]

    def init(key: jax.Array) -> Ablated:
        state = evolution.init(key)
        mutators = state.population.mutator
        return Ablated(state, mutators, jnp.arange(mutators.shape[0], dtype=jnp.int32))

    update = partial(_update, replace)

    def step(key: jax.Array, state: Ablated) -> tuple[Ablated, Generation]:
        return update(key, state, *evolution.step(key, state.inner))

    def tell(
        key: jax.Array, state: Ablated, fitness: jax.Array, info: Info | None = None
    ) -> tuple[Ablated, Generation]:
        return update(key, state, *evolution.tell(key, state.inner, fitness, info))

    return Evolution(
        init,
        step,
        ask=lambda key, state: evolution.ask(key, state.inner),
        tell=tell,
        best=lambda state: evolution.best(state.inner),
    )


def _update(
    replace: Callable[[jax.Array, Ablated], jax.Array], key: jax.Array, old: Ablated, state: Any, seen: Generation
) -> tuple[Ablated, Generation]:
    new = old._replace(inner=state, founder=old.founder[seen.parents[:, 0]])
    # A key of its own: what happens within must not depend on the ablation.
    mutators = replace(jax.random.fold_in(key, 1), new)
    return new._replace(inner=with_population(state, state.population._replace(mutator=mutators))), seen


def _shuffled(key: jax.Array, state: Ablated) -> jax.Array:
    return jax.random.permutation(key, state.population.mutator, axis=0)


def _frozen(key: jax.Array, state: Ablated) -> jax.Array:
    return state.mutators[state.founder]


def _mean(key: jax.Array, state: Ablated) -> jax.Array:
    mutators = state.population.mutator
    return jnp.broadcast_to(jnp.mean(mutators, axis=0, dtype=mutators.dtype), mutators.shape)
