"""Growth as a fitness: an automaton is a network like any other, and evolution needs no gradient through it."""

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness, check, rollout
from neuralmutator.core.genome import Genome
from neuralmutator.nca.cells import Automaton
from neuralmutator.nca.growth import growth_loss, seed_grid
from neuralmutator.networks import Network


def automaton_network(automaton: Automaton) -> Network:
    """An automaton as the policy of an evolution: ``(params, (grid, fires)) -> grid``."""

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
