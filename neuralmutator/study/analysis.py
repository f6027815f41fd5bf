"""What a genome's mutator has learnt: its changes beside the right nulls, what they are worth, and its lineage."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import measures
from neuralmutator.core import Fitness, Genome, check
from neuralmutator.core.genome import flatten
from neuralmutator.mutators import Mutator
from neuralmutator.networks import Network, groups_of

OWN, UNTRAINED, ANOTHERS, NULL, WHITE = "its own", "untrained", "another run's", "null", "white noise"
FACTORS = (1.0, 0.3, 0.1, 0.03)  # on changes whose worth is measured


class Analysis(NamedTuple):
    """What was found of one genome. Changes are those of its policy, of the weights in use [n]."""

    changed: np.ndarray  # f32[children, n] by its own mutator
    starts: np.ndarray  # i64[arrays] where each of the policy's arrays begins among these weights
    shapes: Mapping[str, measures.Shape]  # by what made the changes
    sizes: Mapping[str, np.ndarray]  # f64[factors] root mean square of the changes
    better: Mapping[str, np.ndarray]  # f32[factors] share of children that are better than the genome
    gain: Mapping[str, np.ndarray]  # f32[factors] mean of what children gain, a loss counted as nothing
    founders: np.ndarray  # i64[G + 1] founders of which descendants are left
    takeover: int | None  # generation from which on there is one


def analyse(
    key: jax.Array,
    genome: Genome,
    policy: Network,
    mutator: Mutator,
    fitness: Fitness,
    parents: np.ndarray,
    *,
    another: jax.Array | None = None,
    children: int = 64,
    evaluations: int = 4,
) -> Analysis:
    """Analyses the mutator of one genome, such as a champion's.

    It rewrites the genome `children` times. Beside it: an untrained mutator of the same kind; another genome's;
    Gaussian noise of the same size weight by weight and child by child, which knows all but directions; and white
    noise, of one size in all weights.

    Args:
        key: random key.
        genome: the genome.
        policy: the network that its policy belongs to.
        mutator: the operator that its mutator's parameters belong to.
        fitness: that children and the genome itself are evaluated by.
        parents: i32[G, N, 2] the pedigree of its population, see `measures.founders`.
        another: f32[M] parameters of another genome's mutator.
        children: changes that are drawn.
        evaluations: of each child, with common random numbers.

    Raises:
        ValueError: if `children` is below 2, or `evaluations` below 1.
    """
    check.whole(2, children=children)
    check.whole(1, evaluations=evaluations)
    key_changes, key_untrained, key_null, key_white, key_gains = jax.random.split(key, 5)
    used = np.ones(policy.num_params, bool)
    if policy.topology is not None:
        used = np.asarray(policy.topology.mask(genome.topology))
    changes = jax.jit(partial(measures.changes, mutator, count=children))

    def made_by(params: jax.Array) -> jax.Array:
        return changes(key_changes, genome._replace(mutator=params))[:, : policy.num_params][:, used]

    made = {OWN: made_by(genome.mutator), UNTRAINED: made_by(mutator.init(key_untrained))}
    if another is not None:
        made[ANOTHERS] = made_by(another)
    made[NULL] = measures.gaussian_null(key_null, made[OWN])
    made[WHITE] = jnp.sqrt(jnp.mean(made[OWN] ** 2)) * jax.random.normal(key_white, made[OWN].shape)
    scaled = jnp.stack([factor * x for x in made.values() for factor in FACTORS])  # [sources · factors, children, n]
    whole = jnp.zeros((scaled.shape[0] * children, flatten(genome).size))
    whole = whole.at[:, np.flatnonzero(used)].set(scaled.reshape(-1, used.sum()))
    gained = jax.jit(partial(measures.gains, fitness, evaluations=evaluations))(key_gains, genome, whole)
    worth = jax.device_get(jax.vmap(jax.vmap(measures.effects))(gained.reshape(len(made), len(FACTORS), children)))
    lines = measures.founders(jnp.asarray(np.asarray(parents)))
    founders = np.asarray(jnp.sum(measures.shares(lines) > 0, axis=1))
    takeover = int(measures.takeover(lines))
    return Analysis(
        np.asarray(made[OWN]),
        np.flatnonzero(np.diff(groups_of(policy)[used], prepend=-1)),
        {source: jax.device_get(jax.jit(measures.shape)(x)) for source, x in made.items()},
        {source: np.sqrt(np.mean(np.square(x), dtype=float)) * np.array(FACTORS) for source, x in made.items()},
        {source: worth.better[i] for i, source in enumerate(made)},
        {source: worth.expected_gain[i] for i, source in enumerate(made)},
        founders,
        takeover if takeover < len(founders) else None,
    )
