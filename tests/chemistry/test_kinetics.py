import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import chemistry
from neuralmutator.chemistry import all_reactions, chambers, field, fluxes, integrate, mass_action, network


@pytest.mark.parametrize("order", [1, 2, 3])
def test_fluxes_are_rates_times_powers(order):
    reactions = all_reactions("ABC" if order < 3 else "AB", order)
    random = np.random.default_rng(0)
    rates = random.uniform(0, 2, len(reactions.texts))
    x = random.uniform(0, 2, len(reactions.species))
    wanted = rates * np.prod(x**reactions.reactants, axis=1)
    kinetics = mass_action(reactions)
    np.testing.assert_allclose(fluxes(kinetics, jnp.asarray(rates), jnp.asarray(x)), wanted, rtol=2e-6)
    slope = (reactions.products - reactions.reactants).T @ wanted
    np.testing.assert_allclose(field(kinetics, jnp.asarray(rates), jnp.asarray(x)), slope, rtol=1e-4, atol=1e-5)


def test_gradients_at_zero_are_finite():
    kinetics = mass_action(network("2 A -> B", "A + B -> C"))
    slopes = jax.jacobian(lambda x: fluxes(kinetics, jnp.ones(2), x))(jnp.array([0.0, 1.0, 0.0]))
    np.testing.assert_array_equal(slopes, [[0, 0, 0], [1, 0, 0]])


def test_a_membrane_flows_by_its_permeability():
    inner = network("A -> B", "B -> A")
    large = chambers(inner, ("left", "middle", "right"), [("left", "middle"), ("middle", "right")])
    assert large.reactions.species[:3] == ("A@left", "B@left", "A@middle")
    assert large.reactions.texts[6:8] == ("A@left -> A@middle", "A@middle -> A@left")
    random = np.random.default_rng(1)
    x, rates, p = random.uniform(size=(3, 2)), random.uniform(size=2), random.uniform(size=2)
    wanted = np.stack([rates[1] * x[:, 1] - rates[0] * x[:, 0], rates[0] * x[:, 0] - rates[1] * x[:, 1]], axis=1)
    for a, b in ((0, 1), (1, 2)):
        wanted[a] -= p * (x[a] - x[b])
        wanted[b] += p * (x[a] - x[b])
    known = large.rates(jnp.asarray(rates), jnp.asarray(p))
    got = field(mass_action(large.reactions), known, jnp.asarray(x.ravel(), jnp.float32))
    np.testing.assert_allclose(large.stack(got), wanted, atol=1e-6)


def test_chambers_may_differ_in_rates_and_membranes():
    large = chambers(network("A -> B"), ("one", "two"), [("one", "two")])
    rates = large.rates(jnp.array([[1.0], [2.0]]), jnp.array([[3.0, 4.0]]))
    assert rates.tolist() == [1, 2, 3, 3, 4, 4]


def test_two_chambers_even_out_by_the_closed_form():
    """Nothing reacts: the difference falls as exp(-2 p t), and the sum stays."""
    large = chambers(network("A -> B"), ("one", "two"), [("one", "two")])
    rates = large.rates(jnp.zeros(1), jnp.array([0.3, 0.0]))
    course = integrate(mass_action(large.reactions), rates, jnp.array([1.0, 0.5, 0.0, 0.0]), 0.05, 200)
    x = large.stack(course.concentrations)
    np.testing.assert_allclose(x[:, 0, 0] - x[:, 1, 0], np.exp(-0.6 * np.asarray(course.times)), atol=1e-5)
    np.testing.assert_allclose(x[:, :, 0].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(x[:, :, 1], np.broadcast_to([0.5, 0], (200, 2)))


@pytest.mark.parametrize(
    ("names", "edges", "said"),
    [
        (("a", "a"), [], "species must differ"),
        (("a", "b"), [("a", "c")], r"edges must join two of the chambers a, b, got \('a', 'c'\)"),
        (("a", "b"), [("a", "a")], "edges must join two of the chambers"),
        (("a", "b"), [("a", "b"), ("b", "a")], "edges must differ"),
    ],
)
def test_bad_chambers_are_refused(names, edges, said):
    with pytest.raises(ValueError, match=said):
        chemistry.chambers(network("A -> B"), names, edges)
