"""Learned speciation: a net inside each genome decides which members are of its species.

A genome is summarised by a frozen random projection, ``summary = genome @ P / sqrt(n)``, f32[64]; its compatibility
net turns the summary into a *tag*, f32[16]. Two members may cross when each one's own net places their tags within
``threshold · sqrt(16)``; species are clusters of tags with the same radius.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from neuralmutator.core import check, default_block_size, in_blocks
from neuralmutator.core.genome import Genome, flatten, take
from neuralmutator.core.spreading import by_device, everywhere

__all__ = [
    "Classify",
    "Compatible",
    "Speciation",
    "SpeciationState",
    "Species",
    "cluster",
    "init_compat",
    "learned",
    "no_sharing",
    "none",
    "share_fitness",
    "share_ranks",
    "summarise",
    "tag",
    "warm_start",
]

SUMMARY, CODE, TAG, SCORE = 64, 32, 16, 16  # widths: summary, encoder, tag, scorer
# Encoder 64→32→16, scorer 32→16→1. The scorer is carried and evolves, as in the original program, unread.
NUM_PARAMS = (SUMMARY + 1) * CODE + (CODE + 1) * TAG + (2 * TAG + 1) * SCORE + (SCORE + 1)


class SpeciationState(NamedTuple):
    """What speciation carries from generation to generation."""

    projection: jax.Array  # f32[n, 64]
    threshold: jax.Array  # f32[]


class Species(NamedTuple):
    """The species of every member."""

    member_of: jax.Array  # i32[N] species of each member, 0 is the species of the best one
    size: jax.Array  # i32[N] number of members of each member's species
    number: jax.Array  # i32[] number of species
    summaries: jax.Array  # f32[N, 64]


class Classify(Protocol):
    """Divides a population into species."""

    def __call__(self, state: Any, population: Genome, fitness: jax.Array) -> tuple[Species, Any, dict[str, jax.Array]]:
        """The species, the next state, and the speciation's own metrics, scalars by name.

        Args:
            state: of the speciation.
            population: genomes [N].
            fitness: f32[N]; -inf for a member that must not reproduce.
        """


class Compatible(Protocol):
    """Decides which pairs may cross."""

    def __call__(self, state: Any, population: Genome, species: Species, pairs: jax.Array) -> jax.Array:
        """Whether each pair may cross, bool[M].

        Args:
            state: of the speciation, the one that `Classify` took.
            population: genomes [N].
            species: of this population.
            pairs: members i32[M, 2].
        """


class Speciation(NamedTuple):
    """Decides species, mates and shared fitness; pure functions."""

    num_params: int  # C, parameters in each genome
    init: Callable[[jax.Array, Genome], tuple[Genome, Any]]  # (key, population) -> (population, state)
    classify: Classify  # (state, population, fitness [N]) -> (species, state, metrics)
    compatible: Compatible  # (state, population, species, pairs i32[M, 2]) -> bool[M]
    share: "Sharing"  # (fitness [N], species) -> fitness [N]


Sharing = Callable[[jax.Array, Species], jax.Array]


def no_sharing(fitness: jax.Array, species: Species) -> jax.Array:
    """Fitness as it is."""
    return fitness


def share_fitness(fitness: jax.Array, species: Species) -> jax.Array:
    """Fitness / sqrt(species size), as the original has it. It rewards crowding where fitness is negative."""
    return fitness / jnp.sqrt(species.size)


def share_ranks(fitness: jax.Array, species: Species) -> jax.Array:
    """Rank (worst 1 … best N, equals alike, non-finite -inf) / sqrt(species size): right for any sign and scale."""
    ranks = jnp.searchsorted(jnp.sort(fitness), fitness, side="right").astype(jnp.float32)
    return jnp.where(jnp.isfinite(fitness), ranks, -jnp.inf) / jnp.sqrt(species.size)


def none() -> Speciation:
    """One species, everyone may cross with everyone; no parameters, no cost, no metrics."""

    def classify(state: tuple, population: Genome, fitness: jax.Array) -> tuple[Species, tuple, dict[str, jax.Array]]:
        n = fitness.shape[0]
        everyone = jnp.zeros(n, jnp.int32)
        return Species(everyone, everyone + n, jnp.int32(1), jnp.zeros((n, 0), jnp.float32)), state, {}

    return Speciation(
        0,
        lambda key, population: (population, ()),
        classify,
        lambda state, population, species, pairs: jnp.ones(pairs.shape[0], bool),
        no_sharing,
    )


def tag(compat: jax.Array, summary: jax.Array) -> jax.Array:
    """Tag f32[16] that a compatibility net f32[3153] gives to a summary f32[64]."""
    w1, b1, w2, b2 = _encoder(compat)
    return jnp.tanh(summary @ w1 + b1) @ w2 + b2


def _encoder(compat: jax.Array) -> tuple[jax.Array, ...]:
    parts, start = [], 0
    for shape in ((SUMMARY, CODE), (CODE,), (CODE, TAG), (TAG,)):
        size = shape[0] * (shape[1] if len(shape) == 2 else 1)
        parts.append(compat[start : start + size].reshape(shape))
        start += size
    return tuple(parts)


def init_compat(key: jax.Array) -> jax.Array:
    """A fresh compatibility net f32[3153], every layer U(±1/sqrt(fan_in))."""
    fan_in = np.array([SUMMARY, CODE, 2 * TAG, SCORE])
    sizes = (fan_in + 1) * [CODE, TAG, SCORE, 1]
    bound = np.repeat(fan_in, sizes).astype(np.float32) ** -0.5
    return jax.random.uniform(key, (NUM_PARAMS,), jnp.float32, -1.0) * bound


def summarise(projection: jax.Array, population: Genome) -> jax.Array:
    """Summaries f32[N, 64] of a population; the projection is f32[P + M + C, 64]."""
    sizes = [x.shape[1] for x in (population.policy, population.mutator, population.compat)]
    policy, mutator, compat = jnp.split(projection, [sizes[0], sizes[0] + sizes[1]])
    total = population.policy @ policy + population.mutator @ mutator + population.compat @ compat
    return (total / jnp.sqrt(projection.shape[0])).astype(jnp.float32)


def cluster(tags: jax.Array, order: jax.Array, radius: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Greedy leader clustering: in the given order, a member joins the first leader within the radius, or leads.

    Args:
        tags: f32[N, D].
        order: i32[N], who comes when.
        radius: f32[], exclusive.

    Returns:
        The cluster of each member i32[N], counted from 0, and the number of clusters i32[].
    """
    n = tags.shape[0]
    place = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32))

    def lead(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        member_of, count = carry
        leader = jnp.argmin(jnp.where(member_of < 0, place, n))
        near = jnp.sum((tags - tags[leader]) ** 2, axis=1) < radius**2
        joins = (member_of < 0) & (near | (jnp.arange(n) == leader))
        return jnp.where(joins, count, member_of), count + 1

    start = (jnp.full(n, -1, jnp.int32), jnp.int32(0))
    return jax.lax.while_loop(lambda carry: jnp.any(carry[0] < 0), lead, start)


def warm_start(
    key: jax.Array,
    compat: jax.Array,
    projection: jax.Array,
    population: Genome,
    steps: int = 300,
    learning_rate: float = 0.01,
) -> jax.Array:
    """Trains one compatibility net on random pairs of a population (Adam), so that tags mean something at the start.

    A pair that is closer than the median distance of two genomes costs d², any other max(0, 2 - d)², with d the
    distance of its tags. 1,024 pairs are drawn; each step sees 64 of them.

    Args:
        key: random key.
        compat: the net to start from, f32[3153].
        projection: f32[P + M + C, 64].
        population: genomes [N].
        steps: of Adam.
        learning_rate: of Adam.

    Returns:
        Trained parameters f32[3153].
    """
    key_pairs, key_batches = jax.random.split(key)
    n = population.policy.shape[0]
    draw = jax.random.uniform(key_pairs, (2, 1024), jnp.float32)
    a = (draw[0] * n).astype(jnp.int32)
    b = (a + 1 + (draw[1] * (n - 1)).astype(jnp.int32)) % n

    def distance(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        i, j = pair
        return jnp.linalg.norm(flatten(take(population, i)) - flatten(take(population, j)))

    distances = jax.lax.map(distance, (a, b))
    close = distances < jnp.median(distances)
    summaries = summarise(projection, population)
    optimiser = optax.adam(learning_rate)

    def loss(compat: jax.Array, batch: jax.Array) -> jax.Array:
        apart = tag(compat, summaries[a[batch]]) - tag(compat, summaries[b[batch]])
        square = jnp.sum(apart**2, axis=1)
        d = jnp.sqrt(square + 1e-12)
        return jnp.mean(jnp.where(close[batch], square, jnp.maximum(0.0, 2.0 - d) ** 2))

    def train(carry: tuple, batch: jax.Array) -> tuple[tuple, None]:
        compat, state = carry
        gradient = jax.grad(loss)(compat, batch)
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(compat, updates), state), None

    batches = jax.random.randint(key_batches, (steps, 64), 0, 1024, jnp.int32)
    return jax.lax.scan(train, (compat, optimiser.init(compat)), batches)[0][0]


def _neighbour_distance(tags: jax.Array) -> jax.Array:
    """Mean distance f32[] of tags f32[N, 16] that are neighbours in the array; of no finite ones NaN."""
    known = jnp.all(jnp.isfinite(tags), axis=1)  # a broken genome has no place in a mean
    between = jnp.linalg.norm(tags - jnp.roll(tags, 1, axis=0), axis=1)
    both = known & jnp.roll(known, 1)
    return jnp.sum(jnp.where(both, between, 0.0)) / jnp.sum(both)


def learned(
    threshold: float = 0.5,
    target_species: int | None = None,
    sharing: Sharing = share_ranks,
    warm_start_steps: int = 300,
) -> Speciation:
    """Speciation by the compatibility net in each genome; 3,153 parameters.

    Metrics: ``tag_distance``, the mean distance of tags that are neighbours in the array; ``species_threshold``.

    Args:
        threshold: two tags are alike when they are closer than ``threshold · sqrt(16)``; may be traced.
        target_species: wanted number of species; the threshold then moves by up to 10 % a generation towards it.
            None keeps the threshold where it is.
        sharing: what crowding costs: `share_ranks`, `share_fitness` or `no_sharing`.
        warm_start_steps: Adam steps of the first net; 0 leaves it random.

    Raises:
        ValueError: if the threshold is not positive, or a number is below its least value.
    """
    check.number(0, open_low=True, threshold=threshold)
    if target_species is not None:
        check.number(1, target_species=target_species)
    check.whole(0, warm_start_steps=warm_start_steps)

    def init(key: jax.Array, population: Genome) -> tuple[Genome, SpeciationState]:
        key_projection, key_net, key_train = jax.random.split(key, 3)
        n = population.policy.shape[0]
        net = init_compat(key_net)
        population = population._replace(compat=jnp.tile(net, (n, 1)))
        size = sum(x.shape[1] for x in (population.policy, population.mutator, population.compat))
        projection = jax.random.normal(key_projection, (size, SUMMARY), jnp.float32)
        if warm_start_steps:
            net = warm_start(key_train, net, projection, population, warm_start_steps)
            population = population._replace(compat=jnp.tile(net, (n, 1)))
        return population, SpeciationState(projection, jnp.float32(threshold))

    def describe(population: Genome, projection: jax.Array) -> tuple[jax.Array, jax.Array]:
        summaries = summarise(projection, population)
        return summaries, jax.vmap(tag)(population.compat, summaries)

    def radius(state: SpeciationState) -> jax.Array:
        return state.threshold * TAG**0.5

    def classify(
        state: SpeciationState, population: Genome, fitness: jax.Array
    ) -> tuple[Species, SpeciationState, dict[str, jax.Array]]:
        n = fitness.shape[0]
        summaries, tags = everywhere(by_device(describe, population, state.projection))
        member_of, count = cluster(tags, jnp.argsort(-fitness), radius(state))
        size = jnp.zeros(n, jnp.int32).at[member_of].add(1)[member_of]
        metrics = {"tag_distance": _neighbour_distance(tags), "species_threshold": state.threshold}
        if target_species is not None:
            excess = jnp.log(count / target_species)
            change = jnp.exp(jnp.clip(0.1 * excess, -0.1, 0.1)).astype(jnp.float32)
            state = state._replace(threshold=state.threshold * change)
        return Species(member_of, size, count, summaries), state, metrics

    def compatible(state: SpeciationState, population: Genome, species: Species, pairs: jax.Array) -> jax.Array:
        near = radius(state)

        def judge(summaries: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
            def alike(compat: jax.Array) -> jax.Array:
                tags = jax.vmap(tag, (None, 0))(compat, summaries)
                return jnp.linalg.norm(tags[0] - tags[1]) < near

            return alike(a) & alike(b)

        judges = [(population.compat, pairs[:, i]) for i in range(2)]
        return everywhere(in_blocks(judge, default_block_size(), species.summaries[pairs], lookups=judges))

    return Speciation(NUM_PARAMS, init, classify, compatible, sharing)
