"""Growth as a fitness: an automaton is a network like any other, and evolution needs no gradient through it."""

import jax

from neuralmutator.core import rollout
from neuralmutator.evolution import Fitness
from neuralmutator.genome import Genome
from neuralmutator.nca.automaton import Automaton, seed
from neuralmutator.nca.training import loss
from neuralmutator.networks import Network


def network(automaton: Automaton) -> Network:
    """An automaton as the policy of an evolution: ``(params, (grid, fires)) -> grid``."""

    def apply(params: jax.Array, x: tuple[jax.Array, jax.Array]) -> jax.Array:
        return automaton.move(params, *x)

    return Network(automaton.num_params, automaton.init, apply, lambda params, x: (apply(params, x),))


def growth_fitness(automaton: Automaton, target: jax.Array, steps: int = 64) -> Fitness:
    """Higher is better, 0 is perfect: minus the loss of what a genome's policy grows from the seed.

    Args:
        automaton: what grows; the evolution's policy must be ``nca.network(automaton)``.
        target: f32[H, W, 4].
        steps: updates before it is judged.

    Raises:
        ValueError: if `steps` is not a whole number of at least 1.
    """
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
    start = seed(target.shape[:2], automaton.channels)

    def score(key: jax.Array, genome: Genome) -> jax.Array:
        grid, _ = rollout(automaton.step(genome.policy), key, start, steps)
        return -loss(grid, target)

    return score
