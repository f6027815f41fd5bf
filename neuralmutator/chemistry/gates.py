"""Networks that compute: concentrations in, concentrations out after a while. A majority gate, and logic gates."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.chemistry.integration import integrate
from neuralmutator.chemistry.kinetics import Kinetics
from neuralmutator.chemistry.reactions import Reactions
from neuralmutator.chemistry.training import Loss
from neuralmutator.core import check


class Questions(NamedTuple):
    """Inputs of a gate with the answers that are wanted."""

    starts: jax.Array  # f32[B, S] concentrations to start from
    answers: jax.Array  # f32[B, S] concentrations wanted in the end; nan where any will do


Draw = Callable[[jax.Array, int], Questions]
"""``(key, count) -> questions``."""


def majority(reactions: Reactions, species: tuple[str, str] = ("X", "Y"), gap: float = 0.06) -> Draw:
    """Which of two species is more: all of the molecules are to become it, and none be left of any other.

    Both together start with a concentration of 1, others with 0.

    Args:
        reactions: of the network.
        species: the two.
        gap: by how much the larger exceeds the smaller at least.

    Raises:
        ValueError: if a species is unknown, both are the same, or `gap` is not in [0, 1).
    """
    check.one_of(reactions.species, first=species[0], second=species[1])
    check.number(0, 1, open_high=True, gap=gap)
    if species[0] == species[1]:
        raise ValueError(f"species must differ, got {species}")
    rows = jnp.eye(len(reactions.species))[jnp.array([reactions.species.index(name) for name in species])]

    def draw(key: jax.Array, count: int) -> Questions:
        share = jax.random.uniform(key, (count, 1), minval=-1.0, maxval=1.0)
        difference = jnp.sign(share) * (gap + (1 - gap) * jnp.abs(share))
        starts = (rows[0] * (1 + difference) + rows[1] * (1 - difference)) / 2
        return Questions(starts, jnp.where(difference > 0, rows[0], rows[1]))

    return draw


def logic(
    reactions: Reactions,
    truth: Sequence[int],
    inputs: Sequence[str] = ("A", "B"),
    output: str = "C",
    supplies: Mapping[str, float] | None = None,
    noise: float = 0.1,
) -> Draw:
    """A logic gate: inputs are about 0 or about 1, the output is to be 0 or 1; other species may become what they like.

    Args:
        reactions: of the network.
        truth: the output for every combination of the I inputs, the last one turning fastest: AND is (0, 0, 0, 1).
        inputs: species.
        output: species, 0 to start with.
        supplies: concentrations that other species start with, by default 0.
        noise: inputs are off by up to this, inwards.

    Raises:
        ValueError: if a species is unknown or named twice, `truth` has another length than 2^I or other values than 0
            and 1, or a number is out of range.
    """
    supplies = dict(supplies or {})
    named = [*inputs, output, *supplies]
    for name in named:
        check.one_of(reactions.species, species=name)
    if len(set(named)) < len(named):
        raise ValueError(f"species must be named once, got {', '.join(named)}")
    if len(truth) != 2 ** len(inputs) or not set(truth) <= {0, 1}:
        raise ValueError(f"truth must be {2 ** len(inputs)} values of 0 and 1, got {tuple(truth)}")
    for name, value in supplies.items():
        if not 0 <= value < np.inf:
            raise ValueError(f"supplies must be finite and at least 0, got {value!r} for {name}")
    check.number(0, 0.5, open_high=True, noise=noise)
    places = np.array([reactions.species.index(name) for name in inputs])
    basis = np.zeros(len(reactions.species), np.float32)
    for name, value in supplies.items():
        basis[reactions.species.index(name)] = value
    wanted = np.full((len(truth), len(reactions.species)), np.nan, np.float32)
    wanted[:, reactions.species.index(output)] = truth
    table = (np.arange(len(truth))[:, None] >> np.arange(len(inputs))[::-1]) & 1

    def draw(key: jax.Array, count: int) -> Questions:
        rows = jnp.arange(count) % len(truth)
        off = jax.random.uniform(key, (count, len(inputs)), maxval=noise) if noise else 0.0
        bits = jnp.asarray(table, jnp.float32)[rows]
        starts = jnp.broadcast_to(jnp.asarray(basis), (count, len(basis)))
        return Questions(starts.at[:, places].set(jnp.abs(bits - off)), jnp.asarray(wanted)[rows])

    return draw


def answers(kinetics: Kinetics, rates: jax.Array, starts: jax.Array, dt: float, steps: int) -> jax.Array:
    """The concentrations f32[B, S] that a network of rates f32[R] ends with, from starts f32[B, S]."""
    return jax.vmap(lambda start: integrate(kinetics, rates, start, dt, steps, steps).concentrations[0])(starts)


def answer_loss(kinetics: Kinetics, draw: Draw, dt: float = 0.2, steps: int = 150, count: int = 16) -> Loss:
    """The mean squared distance of the last concentrations from the answers, over questions drawn anew each time.

    The numbers that it takes begin with the rates f32[R].

    Args:
        kinetics: of the reactions.
        draw: `majority`, `logic`, or one's own.
        dt: length of a step.
        steps: before the answer is read.
        count: questions.

    Raises:
        ValueError: if a number is out of range.
    """
    check.number(0, open_low=True, dt=dt)
    check.whole(1, steps=steps, count=count)
    size = kinetics.stoichiometry.shape[1]

    def loss(key: jax.Array, numbers: jax.Array) -> jax.Array:
        questions = draw(key, count)
        asked = ~jnp.isnan(questions.answers)
        found = answers(kinetics, numbers[:size], questions.starts, dt, steps)
        off = jnp.where(asked, found - jnp.where(asked, questions.answers, 0.0), 0.0)
        return jnp.sum(off**2) / jnp.sum(asked)

    return loss


def accuracy(found: jax.Array, wanted: jax.Array, margin: float = 0.1) -> jax.Array:
    """Share f32[] of questions of which every concentration that is asked for is within a margin of its answer.

    Args:
        found: f32[B, S].
        wanted: f32[B, S], nan where any will do.
        margin: allowed.
    """
    return jnp.mean(jnp.all(jnp.isnan(wanted) | (jnp.abs(found - wanted) <= margin), axis=-1))
