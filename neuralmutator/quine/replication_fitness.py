"""Self-replication as a fitness: evolution instead of gradients, and quines as citizens of the Neural Mutator."""

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness
from neuralmutator.core.genome import Genome
from neuralmutator.quine.network import Quine


def fitness(quine: Quine) -> Fitness:
    """Higher is better, 0 is exact: minus the relative error of a genome's policy as a network of the quine.

    Free of scale, so that shrinking earns nothing; not finite for the zero quine, which ranks last.

    Args:
        quine: the network; the evolution's policy must be `quine.network`.
    """

    def score(key: jax.Array, genome: Genome) -> jax.Array:
        error = jnp.linalg.norm(quine.predict(genome.policy) - genome.policy)
        return -error / jnp.linalg.norm(genome.policy)

    return score
