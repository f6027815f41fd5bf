"""Self-replication as a fitness function, so that quines can be evolved."""

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness
from neuralmutator.core.genome import Genome
from neuralmutator.quine.network import Quine


def fitness(quine: Quine) -> Fitness:
    """Minus the relative error with which a genome's policy replicates itself; higher is better, 0 is exact.

    It does not depend on the size of the weights, so shrinking them is not rewarded. It is not finite for the zero
    quine, which therefore ranks last.

    Args:
        quine: the network; the evolution's policy must be `quine.network`.
    """

    def score(key: jax.Array, genome: Genome) -> jax.Array:
        error = jnp.linalg.norm(quine.predict(genome.policy) - genome.policy)
        return -error / jnp.linalg.norm(genome.policy)

    return score
