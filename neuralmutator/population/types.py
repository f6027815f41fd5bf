"""What an evolution is, and the contract that every evolution and every wrapper of one keeps.

An `Evolution` is five pure functions of a key and a state. A *wrapper* takes one and returns one that does more:
`hall_of_fame`, `track_founders`. So wrappers can be stacked, and whatever runs an evolution runs a wrapped one.

**State.** Any pytree of arrays with three attributes (fields or properties):

*   ``population``: genomes [N] that are not evaluated yet.
*   ``births``: i32[N], their birth numbers. No two members have the same one; a member that goes on unchanged keeps it.
*   ``generation``: i32[], the number of generations that were told; a fitness that changes is asked for that one.

A wrapper keeps its own state beside the inner one, in a NamedTuple whose field ``inner`` is the inner state, and
gives these three of the inner state as properties. It does not write into the inner state; one
that must (`normalise_observations` writes what it has measured into the genomes) says so, and does it by
`with_population`. The state of `islands` holds many states, and says itself how that is done.

**ask** gives ``state.population``, whatever the key: sampling belongs into `init` and `tell`. **tell** takes the
fitness of that population and goes on to the next one. **step** evaluates and tells in one traceable function; it
draws the keys of both from its own. Where nothing is random, ``step(key, state)`` equals `tell` of the evaluated
population. **best** gives the genome that the evolution holds to be the best so far.

**Metrics.** ``Generation.metrics`` always has ``fitness_best``, ``fitness_mean``, ``fitness_worst``, ``fitness_std``
(f32[], over the members whose fitness and parameters are finite; NaN where there is none) and ``non_finite`` (i32[],
the number of the others). A wrapper hands on all metrics that it finds and adds its own by `metrics.add`, which refuses
a name that is taken.

**Everything else.** `init`, `step`, `tell` and `best` can be jitted and vmapped. A run that is cut after any generation
and goes on from the state is the same run, bit for bit. `tests/population/test_wrappers.py` holds every wrapper to all
of this: a new one is a new row of its table.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

from neuralmutator.core import Genome, Info


class State(NamedTuple):
    """All that the next generation needs; a checkpoint is this and the moment."""

    population: Genome  # [N] not evaluated yet
    births: jax.Array  # i32[N] birth numbers, generation · N + row; they wrap around after 2^32 births
    generation: jax.Array  # i32[]
    speciation: Any  # state of the speciation
    luckiest: Genome  # the member with the highest single evaluation so far
    luckiest_fitness: jax.Array  # f32[] that evaluation; -inf before the first


class Generation(NamedTuple):
    """What one may look at after a generation; never genomes."""

    fitness: jax.Array  # f32[N] as evaluated; not finite where the evaluation was not
    parents: jax.Array  # i32[N, 2] of each member of the *next* population; twice the same: one; -1: unknown
    metrics: dict[str, jax.Array]  # scalars f32[] or i32[]; what the fitness reports may have any shape


class Init(Protocol):
    """Draws the first population."""

    def __call__(self, key: jax.Array, /) -> Any:
        """The state of generation 0."""


class Step(Protocol):
    """One generation."""

    def __call__(self, key: jax.Array, state: Any, /) -> tuple[Any, Generation]:
        """Evaluates the population of a state; the next state, and what one may look at."""


class Ask(Protocol):
    """Gives the population, to be evaluated elsewhere."""

    def __call__(self, key: jax.Array, state: Any, /) -> Genome:
        """Genomes [N]."""


class Tell(Protocol):
    """The second half of a generation: selection and reproduction."""

    def __call__(
        self, key: jax.Array, state: Any, fitness: jax.Array, info: Info | None = None, /
    ) -> tuple[Any, Generation]:
        """The next state, and what one may look at.

        Args:
            key: random key.
            state: the state whose population was evaluated.
            fitness: [N] of its members, taken as f32; higher is better.
            info: metrics of the evaluation by name, already summed over the members.
        """


class Best(Protocol):
    """Names the champion."""

    def __call__(self, state: Any, /) -> tuple[Genome, jax.Array]:
        """The best genome so far and its estimated fitness f32[], NaN if nothing is known of it."""


class Evolution(NamedTuple):
    """A population that evolves; five pure functions. The contract stands in `population.types`.

    Where it is spread over devices it also says where each array of a state is.
    """

    init: Init  # (key) -> state
    step: Step  # (key, state) -> (state, generation)
    ask: Ask  # (key, state) -> population [N], to be evaluated elsewhere
    tell: Tell  # (key, state, fitness [N], info=None) -> (state, generation)
    best: Best  # (state) -> (champion, its estimated fitness f32[])
    shardings: Callable[[Any], Any] | None = None  # (state, may be abstract) -> the sharding of each of its arrays


def with_population(state: Any, population: Genome) -> Any:
    """A state with another population [N] of genomes that are not evaluated yet; a wrapper's is that within."""
    if hasattr(state, "with_population"):
        return state.with_population(population)
    if "inner" in state._fields:
        return state._replace(inner=with_population(state.inner, population))
    return state._replace(population=population)
