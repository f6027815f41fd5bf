import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator import chemistry
from neuralmutator.chemistry import integrate, mass_action, network, reaction_network

REACTIONS = network("A + B -> C", "C -> A", "C -> D")


def test_a_network_of_reactions_is_a_network():
    policy = reaction_network(REACTIONS, inputs=("B", "A"), outputs=("D", "C"), dt=0.1, steps=30)
    params = policy.init(jax.random.key(0))
    assert params.shape == (policy.num_params,) == (3,)
    got = policy.apply(params, jnp.array([0.5, 2.0]))
    course = integrate(mass_action(REACTIONS), jnp.exp(params), jnp.array([2.0, 0.5, 0.0, 0.0]), 0.1, 30)
    np.testing.assert_array_equal(got, course.concentrations[-1, jnp.array([3, 2])])
    whole = reaction_network(REACTIONS)
    assert whole.apply(params, jnp.ones(4)).shape == (4,)


def test_a_population_of_them_evolves():
    """The input is to become twice the output of B: 2 A -> B must win over A -> B."""
    reactions = network("A -> B", "2 A -> B")
    policy = reaction_network(reactions, inputs=("A",), outputs=("B",), rate=0.3)
    x = jnp.linspace(0.5, 2, 4)[:, None]

    def fitness(key, genome):
        return -jnp.mean((jax.vmap(policy.apply, (None, 0))(genome.policy, x) - x / 2) ** 2)

    evolution = nm.evolution(policy, nm.mutators.self_adaptive(0.3), fitness, population_size=32)
    state, history = nm.run(evolution, jax.random.key(0), generations=40)
    first, last = (history.metrics["fitness_best"][i] for i in (0, -1))
    assert last > 0.2 * first and last > -5e-3
    champion, _ = evolution.best(state)
    rates = np.asarray(chemistry.positive(champion.policy))
    assert rates[1] > 3 * rates[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"inputs": ("E",)}, "species must be one of A, B, C, D, got 'E'"),
        ({"outputs": ("A", "A")}, "species must differ, got A twice"),
        ({"dt": 0}, "dt must be a finite number above 0, got 0"),
        ({"rate": -1}, "rate must be a finite number above 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(changed, said):
    with pytest.raises(ValueError) as error:
        reaction_network(REACTIONS, **changed)
    assert str(error.value) == said
