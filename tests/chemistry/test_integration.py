"""The floors of the integrator, against closed forms, invariants and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import solve_ivp

from neuralmutator.chemistry import all_reactions, conservation_laws, field, integrate, mass_action, network, take

run = jax.jit(integrate, static_argnums=(3, 4, 5))


def test_a_reversible_reaction_follows_its_closed_form():
    kinetics = mass_action(network("A <-> B"))
    course = run(kinetics, jnp.array([2.0, 0.5]), jnp.array([1.0, 0.0]), 0.05, 400, 1)
    wanted = 0.2 + 0.8 * np.exp(-2.5 * np.asarray(course.times, np.float64))
    np.testing.assert_allclose(course.concentrations[:, 0], wanted, atol=1e-5)
    assert course.limited == 0


def test_lotka_and_volterra_stay_on_their_orbit_for_100_periods():
    kinetics = mass_action(network("A -> 2 A", "A + B -> 2 B", "B ->"))
    course = run(kinetics, jnp.ones(3), jnp.array([0.5, 1.0]), 0.05, 13_200, 1)
    x = np.asarray(course.concentrations, np.float64)
    cycles = np.sum((x[:-1, 0] < 1) & (x[1:, 0] >= 1))
    assert cycles >= 100 and course.limited == 0
    invariant = x.sum(axis=1) - np.log(x).sum(axis=1)
    assert np.ptp(invariant) < 1e-3 * (1.5 - np.log(0.5))


@pytest.mark.parametrize("dt", [0.02, 0.1, 3.0])
def test_conservation_laws_hold_over_long_runs(dt):
    """Three that eat each other in a circle and never rest, and a network with two laws; 3.0 is far too long a step."""
    for reactions, count in (
        (network("A + B -> 2 B", "B + C -> 2 C", "C + A -> 2 A"), 1),
        (network("A + B <-> C", "C -> 2 D + A", "2 D -> B", "A <-> E"), 2),
    ):
        laws = conservation_laws(reactions)
        assert len(laws) == count
        start = jnp.asarray(np.random.default_rng(0).uniform(0.2, 1, len(reactions.species)), jnp.float32)
        rates = jnp.asarray(np.random.default_rng(1).uniform(0.3, 2, len(reactions.texts)), jnp.float32)
        course = run(mass_action(reactions), rates, start, dt, 20_000, 100)
        sums = np.asarray(course.concentrations, np.float64) @ laws.T
        np.testing.assert_allclose(sums, np.broadcast_to(np.asarray(start, np.float64) @ laws.T, sums.shape), rtol=1e-6)


CANDIDATES = all_reactions("ABC")
WHOLE = mass_action(CANDIDATES)


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.sampled_from([0.01, 0.3, 5.0]))
def test_concentrations_are_never_negative(seed, decades, dt):
    """Random networks with rates of up to nine powers of ten, and species that are absent to begin with."""
    random = np.random.default_rng(seed)
    rates = 10.0 ** (decades + random.uniform(-3, 3, 90)) * (random.random(90) < random.choice([0.03, 0.1, 0.5]))
    start = random.exponential(size=3) * (random.random(3) < 0.7)
    course = run(WHOLE, jnp.asarray(rates, jnp.float32), jnp.asarray(start, jnp.float32), dt, 300, 1)
    x = np.asarray(course.concentrations)
    assert (x >= 0).all()  # false for nan, too; a network that explodes is inf from then on
    exploded = ~np.isfinite(x).all(axis=1)
    assert np.isinf(x[exploded]).all() and (np.diff(exploded.astype(int)) >= 0).all()


@given(st.integers(0, 2**32 - 1))
def test_networks_that_conserve_molecules_neither_explode_nor_leak(seed):
    random = np.random.default_rng(seed)
    conserving = np.flatnonzero(CANDIDATES.stoichiometry.sum(axis=0) == 0)
    rates = np.zeros(90, np.float32)
    chosen = random.choice(conserving, 6, replace=False)
    rates[chosen] = 10.0 ** random.uniform(-2, 4, 6)
    start = random.exponential(size=3).astype(np.float32) * [1, 1, random.random() < 0.5]
    course = run(WHOLE, jnp.asarray(rates), jnp.asarray(start, jnp.float32), 0.3, 300, 1)
    x = np.asarray(course.concentrations, np.float64)
    assert (x >= 0).all()
    laws = conservation_laws(take(CANDIDATES, chosen))
    for law in laws[(laws >= 0).all(axis=1)]:
        kept = law @ start.astype(np.float64)
        np.testing.assert_allclose(x @ law, kept, rtol=1e-6, atol=1e-30)


def test_a_step_that_is_too_long_is_shortened_and_its_time_is_told():
    kinetics = mass_action(network("A <-> B"))
    course = run(kinetics, jnp.array([300.0, 100.0]), jnp.array([1.0, 0.0]), 1.0, 40, 1)
    assert course.limited == 1 and 0 < course.times[-1] < 40 * 0.9 / 300 + 1e-5
    wanted = 0.25 + 0.75 * np.exp(-400 * np.asarray(course.times, np.float64))
    np.testing.assert_allclose(course.concentrations[:, 0], wanted, atol=0.02)  # at 1.2 of what changes, in a step
    np.testing.assert_allclose(course.concentrations[-1], [0.25, 0.75], rtol=1e-5)


def test_an_explosion_is_infinite_and_not_nan():
    course = run(mass_action(network("2 A -> 3 A")), jnp.ones(1), jnp.ones(1), 0.1, 100, 1)
    assert np.isinf(course.concentrations[-1]).all() and (course.concentrations > 0).all()


def test_scipy_agrees_and_steps_converge_with_the_fourth_order():
    reactions = network("A -> 2 A", "A + B -> B", "B ->", "A -> C", "C -> B")
    kinetics, rates = mass_action(reactions), np.array([3.05, 1, 1, 1, 1])
    wanted = solve_ivp(
        lambda _, x: reactions.stoichiometry @ (rates * np.prod(x**reactions.reactants, axis=1)),
        (0, 20),
        [1.0, 2.0, 1.0],
        rtol=1e-11,
        atol=1e-12,
    ).y[:, -1]
    errors = []
    for steps in (100, 200, 400):
        course = run(kinetics, jnp.asarray(rates, jnp.float32), jnp.array([1.0, 2.0, 1.0]), 20 / steps, steps, steps)
        errors.append(np.abs(course.concentrations[0] - wanted).max())
    assert errors[2] < 1e-5 and 8 < errors[0] / errors[1] < 32


def test_the_gradient_is_that_of_finite_differences():
    reactions = network("A + B -> 2 B", "B -> C", "C -> A", "2 C -> B")
    kinetics = mass_action(reactions)
    rates, start = jnp.array([1.5, 0.7, 0.4, 0.2]), jnp.array([0.8, 0.1, 0.0])

    def last(rates, start):
        return jnp.sum(integrate(kinetics, rates, start, 0.1, 100).concentrations[-1] * jnp.array([1.0, 2.0, 4.0]))

    slopes = jax.jit(jax.grad(last, (0, 1)))(rates, start)
    value = jax.jit(last)
    for which, (slope, values) in enumerate(zip(slopes, (rates, start), strict=True)):
        for i in range(values.size):
            d = 1e-2
            args = [[rates, start], [rates, start]]
            args[0][which], args[1][which] = values.at[i].add(2 * d), values.at[i].add(d)
            if which == 1 and i == 2:  # the edge of what is allowed: one-sided, second order
                measured = (4 * value(*args[1]) - value(*args[0]) - 3 * value(rates, start)) / (2 * d)
            else:
                args[0][which] = values.at[i].add(-d)
                measured = (value(*args[1]) - value(*args[0])) / (2 * d)
            np.testing.assert_allclose(slope[i], measured, atol=5e-3)


def test_the_gradient_of_a_limited_step_is_finite():
    rates = jnp.asarray(10.0 ** np.random.default_rng(0).uniform(-3, 4, 90), jnp.float32)
    conserving = jnp.asarray(CANDIDATES.stoichiometry.sum(axis=0) == 0)

    def total(rates):
        return jnp.sum(integrate(WHOLE, jnp.where(conserving, rates, 0), jnp.array([1.0, 0.0, 0.0]), 0.5, 50)[1])

    assert np.isfinite(jax.jit(jax.grad(total))(rates)).all()


def test_what_is_kept_is_every_nth():
    kinetics = mass_action(network("A -> B"))
    every = run(kinetics, jnp.ones(1), jnp.array([1.0, 0.0]), 0.1, 20, 1)
    fifth = run(kinetics, jnp.ones(1), jnp.array([1.0, 0.0]), 0.1, 20, 5)
    np.testing.assert_array_equal(fifth.concentrations, every.concentrations[4::5])
    np.testing.assert_allclose(fifth.times, every.times[4::5], rtol=1e-6)
    slope = field(kinetics, jnp.ones(1), jnp.array([1.0, 0.0]))
    np.testing.assert_array_equal(slope, [-1, 1])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dt": 0}, "dt must be a finite number above 0, got 0"),
        ({"dt": float("nan")}, "dt must be a finite number above 0, got nan"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"every": 3}, "steps must be a multiple of every = 3, got 10"),
        ({"rates": jnp.array([1.0])}, r"rates must have shape (2,), got (1,)"),
        ({"rates": jnp.array([1.0, -0.5])}, "rates must be finite and at least 0, got -0.5"),
        ({"rates": jnp.array([jnp.inf, 1.0])}, "rates must be finite and at least 0, got inf"),
        ({"start": jnp.array([jnp.nan, 1.0])}, "start must be finite and at least 0, got nan"),
        ({"start": jnp.ones(3)}, "start must have shape (2,), got (3,)"),
    ],
)
def test_bad_arguments_are_refused_in_a_line(changed, said):
    given = {"rates": jnp.ones(2), "start": jnp.ones(2), "dt": 0.1, "steps": 10, **changed}
    with pytest.raises(ValueError) as error:
        integrate(mass_action(network("A <-> B")), **given)
    assert str(error.value) == said
