"""Automata as fitness: an automaton is a network like any other, and evolution needs no gradient through it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness, Info, PopulationFitness, PyTree, check, each, in_blocks, rollout
from neuralmutator.core.genome import Genome
from neuralmutator.nca import textures
from neuralmutator.nca.cells import Automaton
from neuralmutator.nca.growth import growth_loss, seed_grid
from neuralmutator.networks import Network


def automaton_network(automaton: Automaton) -> Network:
    """An automaton as the policy of an evolution: ``(params, (cells, fires)) -> cells``."""

    def apply(params: jax.Array, x: tuple[jax.Array, jax.Array]) -> jax.Array:
        return automaton.move(params, *x)

    return Network(automaton.num_params, automaton.init, apply, lambda params, x: (apply(params, x),))


def growth_fitness(automaton: Automaton, target: jax.Array, steps: int = 64, trials: int = 4) -> Fitness:
    """Higher is better, 0 is perfect: minus the mean loss of what a genome's policy grows from the seed.

    Args:
        automaton: what grows; the evolution's policy must be ``nca.automaton_network(automaton)``.
        target: f32[H, W, 4].
        steps: updates before it is judged.
        trials: growths that are averaged. Which cells fire decides whether a young automaton dies: with one growth for
            all members of a generation, a bad one tells them nothing about each other.

    Raises:
        ValueError: if a number is not a whole number of at least 1.
    """
    check.whole(1, steps=steps, trials=trials)
    start = seed_grid(target.shape[:2], automaton.channels)

    def score(key: jax.Array, genome: Genome) -> jax.Array:
        def grow(key: jax.Array) -> jax.Array:
            grid, _ = rollout(automaton.step(genome.policy), key, start, steps)
            return growth_loss(grid, target)

        return -jnp.mean(jax.vmap(grow)(jax.random.split(key, trials)))

    return score


def texture_fitness(
    automaton: Automaton,
    target: jax.Array | textures.Texture,
    shape: Sequence[int] = (48, 48),
    steps: int = 64,
    shock: float = 4.0,
    calms: int = 192,
    bound: float = 20.0,
    projections: int = 32,
    samples: int = 1024,
) -> PopulationFitness:
    """Higher is better, 0 is perfect: minus how far what a genome's policy paints is from a texture.

    It is judged after some updates. Then all that its cells hold is multiplied by a shock, and it is judged again when
    they have had time to calm down, with the square of the most that anything in them is beyond ±1. Without the shock,
    evolution finds automata whose cells explode here and there after hundreds of updates, and without the second
    judgement some whose texture fades. What explodes has a finite fitness, too: what cells hold is bounded.

    Args:
        automaton: what paints; the evolution's policy must be ``nca.automaton_network(automaton)``.
        target: f32[H, W, 3] of 0 to 1, or what `textures.describe` made of it.
        shape: of the grid.
        steps: updates after which it is judged.
        shock: what cells are multiplied by after these.
        calms: updates between the shock and the second judgement.
        bound: of what cells hold, ±.
        projections: see `textures.distance`.
        samples: see `textures.distance`.

    Raises:
        ValueError: if a number is out of range, or the target is no texture.
    """
    check.whole(1, steps=steps, calms=calms)
    check.number(1, bound=bound, shock=shock)
    images_loss = textures.loss(target, projections, samples)

    def paint(key: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(key: jax.Array, cells: jax.Array) -> tuple[jax.Array, None]:
            return jnp.clip(automaton.update(key, params, cells), -bound, bound), None

        key_start, key_run = jax.random.split(key)
        painted, _ = rollout(step, key_run, automaton.start(key_start, shape), steps)
        calm, _ = rollout(step, key_run, shock * painted, calms, start=steps)
        return painted, calm

    def score(key: jax.Array, cells: tuple[jax.Array, jax.Array]) -> jax.Array:
        painted, calm = cells
        distances = images_loss(key, automaton.look(painted)), images_loss(key, automaton.look(calm))
        beyond = jnp.maximum(jnp.max(jnp.abs(calm)) - 1, 0)
        return -jnp.nan_to_num(sum(distances) / 2 + textures.overflow(painted) + beyond**2, nan=bound**2)

    return _Painted(paint, score)


@dataclass(frozen=True, eq=False)
class _Painted:
    """A fitness in two parts: cells are updated for one member after another on a CPU, and judged for all at once."""

    paint: Callable[[jax.Array, jax.Array], PyTree]  # (key, params) -> cells at some moments
    score: Callable[[jax.Array, PyTree], jax.Array]  # (key, cells at these moments) -> f32[]

    def __call__(self, key: jax.Array, genome: Genome) -> jax.Array:
        """Fitness f32[] of one genome."""
        key_paint, key_score = jax.random.split(key)
        return self.score(key_score, self.paint(key_paint, genome.policy))

    def many(self, keys: jax.Array, population: Genome, block_size: int | None) -> tuple[jax.Array, Info]:
        """Fitness f32[N] of a population; see `PopulationFitness`."""
        params = population.policy
        keys = keys if keys.ndim else jnp.broadcast_to(keys, len(params))

        def block(keys: jax.Array, params: jax.Array) -> jax.Array:
            split = jax.vmap(jax.random.split)(keys)
            return jax.vmap(self.score)(split[:, 1], each(self.paint, split[:, 0], params))

        return in_blocks(block, block_size, keys, params, whole=True), {}
