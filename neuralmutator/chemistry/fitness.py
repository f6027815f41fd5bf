"""A reaction network as the policy of an evolution: no gradient is needed, and a genome is the logarithms of rates."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from neuralmutator.chemistry.integration import integrate
from neuralmutator.chemistry.kinetics import mass_action
from neuralmutator.chemistry.reactions import Reactions, check_species
from neuralmutator.chemistry.training import positive
from neuralmutator.core import check
from neuralmutator.networks import Network


def reaction_network(
    reactions: Reactions,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    dt: float = 0.2,
    steps: int = 100,
    rate: float = 0.05,
) -> Network:
    """Concentrations in, concentrations out: a network like any other, of R parameters.

    A fitness over it is three lines::

        policy = chemistry.reaction_network(reactions, inputs=("A", "B"), outputs=("C",))

        def fitness(key, genome):
            return -jnp.mean((jax.vmap(policy.apply, (None, 0))(genome.policy, questions) - answers) ** 2)

        evolution = nm.evolution(policy, nm.mutators.self_adaptive(0.1), fitness, population_size=64)

    Args:
        reactions: the candidates; the parameters are the logarithms of their rates.
        inputs: species that start with the concentrations of the input, the others with 0; by default all.
        outputs: species whose last concentrations are the output; by default all.
        dt: length of a step.
        steps: before the output is read; a network too fast for them covers less time, see `integrate`.
        rate: of a fresh network's reactions, the median; they differ by a factor of e in the standard deviation.

    Raises:
        ValueError: if a species is unknown or named twice, or a number is out of range.
    """
    check.number(0, open_low=True, dt=dt, rate=rate)
    check.whole(1, steps=steps)
    ends = []
    for names in (inputs, outputs):
        names = check_species(reactions.species if names is None else names)
        for name in names:
            check.one_of(reactions.species, species=name)
        ends.append(jnp.array([reactions.species.index(name) for name in names]))
    kinetics, size = mass_action(reactions), len(reactions.reactants)

    def init(key: jax.Array) -> jax.Array:
        return jnp.log(rate) + jax.random.normal(key, (size,), jnp.float32)

    def apply(params: jax.Array, x: jax.Array) -> jax.Array:
        start = jnp.zeros(len(reactions.species), jnp.float32).at[ends[0]].set(x)
        return integrate(kinetics, positive(params), start, dt, steps, steps).concentrations[0, ends[1]]

    return Network(size, init, apply, lambda params, x: (apply(params, x),), sizes=(size,))
